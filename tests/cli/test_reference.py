"""docs/reference.md says what `--help` says of every command, and names every token, metric and exit code.

What the documentation names exists, too. Run as a program, this writes the commands' part, docs/schema.json and the man
pages again: python tests/cli/test_reference.py
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from clockstep.agent.metrics import HELP as OF_AGENT
from clockstep.cli import man
from clockstep.cli.exits import MEANING, Exit
from clockstep.cli.root import root
from clockstep.model import HostClock
from clockstep.render.schema import schema
from clockstep.render.words import CAUSES
from clockstep.sinks.metrics import Metrics
from clockstep_lab.cli import lab

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference.md"
MAN = ROOT / "docs" / "man"
BEGIN = "<!-- begin of the commands: written by tests/cli/test_reference.py -->\n"
END = "<!-- end of the commands -->\n"
WIDTH = 78
"""What click makes of a terminal with 80 columns."""


def helps(command: click.Command, called: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the full name and the help text of a command and of all below it; `clockstep lab` is the lab's own."""
    settings = {"terminal_width": WIDTH, **command.context_settings}
    context = click.Context(command, info_name=called, parent=parent, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            if context.command_path == "clockstep" and name == "lab":
                yield from helps(lab, "clockstep lab")
            else:
                yield from helps(below, name, context)


COMMANDS = dict(helps(root, "clockstep"))
SCHEMAS: dict[str, dict[str, Any]] = msgspec.json.decode(schema())["$defs"]
SCHEMA = REFERENCE.parent / "schema.json"


def section(path: str, text: str) -> str:
    """Return what the reference has of one command."""
    return f"### `{path}`\n\n```text\n{text}\n```\n"


def written(reference: str) -> str:
    """Return the reference with the commands' part as it should be."""
    before, _, rest = reference.partition(BEGIN)
    after = rest.partition(END)[2]
    commands = "\n".join(section(path, text) for path, text in COMMANDS.items())
    return f"{before}{BEGIN}\n{commands}\n{END}{after}"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_commands_help_is_in_the_reference(path: str) -> None:
    assert section(path, COMMANDS[path]) in REFERENCE.read_text()


def test_the_reference_has_no_command_that_is_gone() -> None:
    reference = REFERENCE.read_text()
    assert reference == written(reference), "run: python tests/cli/test_reference.py"


@pytest.mark.parametrize("record", SCHEMAS)
def test_everything_that_json_can_have_is_in_the_reference(record: str) -> None:
    reference = REFERENCE.read_text()
    words = [*SCHEMAS[record].get("properties", ()), *SCHEMAS[record].get("enum", ())]
    assert [word for word in words if f"`{word}`" not in reference] == []
    assert record in reference or "enum" in SCHEMAS[record]


def test_the_published_schema_is_what_the_records_are() -> None:
    assert SCHEMA.read_text() == f"{schema()}\n", "run: python tests/cli/test_reference.py"


def options(command: click.Command, parent: click.Context | None = None) -> Iterator[str]:
    """Yield every option of a command and of all below it."""
    context = click.Context(command, info_name=command.name, parent=parent, **command.context_settings)
    for param in command.get_params(context):
        yield from (word for word in (*param.opts, *param.secondary_opts) if word.startswith("-"))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below, context)


OPTIONS = {*options(root), *options(lab)}
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/kubernetes/README.md"]
WORDS = {"null", "proof", "saved", "ssh", "systemd-timesyncd", "phc", "vmclock", "fork", "tick", "clock-set", "local"}
"""Values that are no token of ours: JSON's, libvirt's, the name of a check, of a daemon, of a way, of a signal."""
THEIRS = (
    "script/",
    "bench/",
    "virsh",
    "chronyc",
    "systemctl",
    "journalctl",
    "hwclock",
    "timedatectl",
    "vmware",
    "semanage",
    "pip",
    "curl",
    "kubectl",
)
"""Other programs, whose lines have options of their own."""


def test_every_exit_code_is_in_the_reference_and_none_that_there_is_not() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", REFERENCE.read_text().partition("## Exit codes")[2], re.MULTILINE)
    assert set(MEANING) == set(Exit)
    own = rows[: len(MEANING)]
    assert own == [(str(int(code)), meaning) for code, meaning in MEANING.items()]


def test_every_metric_is_in_the_reference_and_none_that_there_is_not() -> None:
    metrics = Metrics(lambda: HostClock(synchronised=True, max_error_ns=1), lambda: True)
    metrics.surveyed([])
    names = set()
    for family in metrics.registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names.add(family.name + suffix)
    exported = {name for name in names if name.startswith("clockstep_")}
    table = REFERENCE.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(clockstep_\w+)`", table)) == exported | set(OF_AGENT)


def test_every_token_that_the_reference_names_is_one_and_every_one_is_named() -> None:
    reference = REFERENCE.read_text()
    assert [cause for cause in CAUSES if f"`{cause}`" not in reference] == []
    records = reference.partition("\n## JSON\n")[2].partition("\n## Environment variables")[0]
    named = set(re.findall(r"`([a-z][a-z_-]*)`", records))
    known = {word for one in SCHEMAS.values() for word in (*one.get("properties", ()), *one.get("enum", ()))}
    commands = {word for path in COMMANDS for word in path.split()}
    assert sorted(named - known - commands - set(CAUSES) - WORDS) == []


def test_every_check_that_the_reference_names_is_one() -> None:
    table = REFERENCE.read_text().partition("\nThe checks:\n")[2].partition("\n## ")[0]
    source = "".join(file.read_text() for file in (ROOT / "src/clockstep").rglob("*.py"))
    made = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    assert sorted(set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) - made) == []


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_every_option_and_command_that_the_documentation_names_is_there(file: Path) -> None:
    text = file.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = [*(line for block in fenced for line in block.splitlines()), *re.findall(r"`([^`\n]+)`", text)]
    ours = [line for line in code if not any(program in line for program in THEIRS)]
    named = {word for line in ours for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert sorted(named - OPTIONS) == []
    words = [re.match(r"(?:\$ )?clockstep ((?:[a-z][a-z-]+ ?)+)", line) for line in code]
    commands = {found[1] for found in words if found}
    known = {path.removeprefix("clockstep ") for path in COMMANDS}
    assert sorted(words for words in commands if words.split()[0] not in known) == []
    groups = {path.split()[0] for path in known if " " in path} - {"lab"}
    below = {" ".join(words.split()[:2]) for words in commands if words.split()[0] in groups and " " in words.strip()}
    assert sorted(below - known) == []


def lines(file: Path) -> Iterator[str]:
    """Yield each command line of ours in the code blocks of a page, as a shell would run it."""
    for language, block in re.findall(r"^ *```(sh|console)\n(.*?)^ *```", file.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if language == "console" and not line.startswith("$ "):
                continue
            for part in re.split(r"&&|\|\||[|;#>]", line.removeprefix("$ ")):
                if found := re.match(r"(?:sudo )?(?:\S*/)?clockstep (.*)", part.strip()):
                    yield found[1]


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_every_command_line_in_the_documentation_parses(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nodes.ssh", "lab.ssh", "kubeconfig", "admin.conf"):
        (tmp_path / name).touch()
    for line in lines(file):
        words = shlex.split(line.replace("/etc/clockstep/", f"{tmp_path}/"))
        if words[0] == "--version":
            continue
        context: click.Context | None = None
        command: click.Command = root
        while True:
            context = command.make_context(command.name or "clockstep", words, parent=context, resilient_parsing=False)
            if not isinstance(command, click.Group):
                break
            rest = [*context._protected_args, *context.args]
            assert rest, line
            name, words = rest[0], rest[1:]
            below = lab if command is root and name == "lab" else command.get_command(context, name)
            assert below is not None, line
            command = below


@pytest.mark.parametrize("path", [path for path in COMMANDS if not path.startswith("clockstep lab ")])
def test_every_command_has_a_man_page_that_says_what_its_help_says(path: str) -> None:
    name = f"{path.replace(' ', '-')}.1"
    assert (MAN / name).read_text() == man.pages()[name], "run: python tests/cli/test_reference.py"


def test_there_is_no_man_page_of_a_command_that_is_gone(tmp_path: Path) -> None:
    assert {file.name for file in MAN.iterdir()} == set(man.pages())
    (tmp_path / "clockstep-gone.1").write_text("")
    subprocess.run([sys.executable, "-m", "clockstep.cli.man", tmp_path], check=True)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == man.pages()


def test_a_man_page_has_no_line_that_roff_would_take_for_something_else() -> None:
    requests = {"TH", "SH", "B", "BR", "TP", "PP", "nf", "fi"}
    for text in man.pages().values():
        assert {line.split()[0][1:] for line in text.splitlines() if line.startswith((".", "'"))} <= requests


if __name__ == "__main__":
    man.main(MAN)
    REFERENCE.write_text(written(REFERENCE.read_text()))
    SCHEMA.write_text(f"{schema()}\n")
