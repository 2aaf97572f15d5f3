"""The command line: what it accepts, prints and exits with, on libvirt's own test driver."""

import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import clockstep
from clockstep.cli import run
from clockstep.core.provision import EXPLAINED
from clockstep.host.timex import read_host_clock
from clockstep.render.output import Story

TEST = ["--connect", "test:///default"]
ROOT = Path(__file__).parents[2]


def test_the_version_is_in_one_place_and_the_changelog_has_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project
    assert f"\n## [{clockstep.__version__}] - 20" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = "import clockstep.cli, sys; print(*sorted({'click', 'rich', 'libvirt', 'msgspec'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_help_needs_neither_libvirt_nor_rich() -> None:
    code = (
        "import sys; from clockstep.cli import run; run(['status', '--help']);"
        "sys.exit(bool({'rich', 'libvirt', 'msgspec'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("before", [True, False])
def test_shared_options_stand_before_the_command_or_after_it(capsys: pytest.CaptureFixture[str], before: bool) -> None:
    shared = [*TEST, "-o", "json"]
    run([*shared, "status"] if before else ["status", *shared])
    assert json.loads(capsys.readouterr().out)["schema_version"] == 2


def test_status_begins_with_this_machines_own_clock_and_shows_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", *TEST]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("host clock: ")
    assert lines[1].split()[:2] == ["NODE", "OFFSET"]
    assert " ± " in lines[2]
    assert "bad" in lines[2]


def test_json_is_the_records_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    run(["status", "-o", "json", *TEST])
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert episode["node"] == "test"
    assert set(episode["after"]) == {"value_ns", "error_ns"}


def test_the_story_is_not_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run(["snapshot", "list", *TEST, "-o", "json"])
    json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", [["step"], ["snapshot", "create", "x"], ["pause"]])
def test_what_changes_a_machine_needs_nodes_or_all(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert run([*command, *TEST]) == 2
    assert "no nodes specified" in capsys.readouterr().err


def test_naming_nodes_and_saying_all_is_refused() -> None:
    assert run(["step", "test", "--all", *TEST]) == 2


def test_a_dry_run_needs_no_names_and_plans_nothing_that_needs_consent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["step", "--dry-run", "-o", "json", *TEST]) == 1
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert (episode["verdict"], episode["planned"], episode["actions"]) == ("bad", [], [])
    assert (episode["decision"], episode["consent"]) == ("needs-consent", "--max-forward")


def test_an_unknown_node_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "nod*", *TEST]) == 2
    assert capsys.readouterr().err == "clockstep: there is no node 'nod*'\n  there are: test\n"


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["status", "--tolerance", "5"], ["snapshot", "create"], ["status", "--bogus"]]
)
def test_what_makes_no_sense_exits_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_a_libvirt_that_does_not_answer_exits_with_3_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--connect", "qemu+unix:///session?socket=/nonexistent/sock"]) == 3
    err = capsys.readouterr().err
    assert "--connect" in err
    assert "Traceback" not in err


def test_verbose_shows_the_traceback_and_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "-v", "--connect", "qemu+unix:///session?socket=/nonexistent/sock"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "DEBUG connections: qemu+unix:///session" in said


def test_setup_explains_every_line_that_it_may_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["setup", "explain"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [line for line, _ in EXPLAINED if line.split()[0] not in shown] == []
    assert "the usual `makestep 1 3` is used up" in shown


@pytest.mark.parametrize("words", [["--trust"], ["--reach", "ssh"]])
def test_a_guest_agent_goes_with_nothing_that_is_about_chrony(words: list[str]) -> None:
    assert run(["setup", "plan", "--guest-agent", *words, *TEST]) == 2


@pytest.mark.parametrize("words", [["--trust"], ["--phc", "/dev/ptp0"], ["--short-polls"], ["--guest-agent"]])
def test_a_nodes_own_agent_goes_with_nothing_that_is_about_chrony_and_with_no_guest_agent(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["setup", "plan", "--agent", *words, *TEST]) == 2
    assert "--agent" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["setup", "undo"], ["domain", "apply"], ["domain", "undo"]])
def test_what_changes_a_machine_asks_and_refuses_if_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([*words, "--all", *TEST]) == 2
    assert "without confirmation\n  nothing was changed; use --yes in scripts" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["revert"], ["revert", "--yes"], ["revert", "--all", "--yes"]])
def test_a_revert_needs_a_name_or_latest(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run([*words, *TEST]) == 2
    assert "no snapshot specified\n  name one, or use --latest" in capsys.readouterr().err


def test_a_revert_to_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["revert", "nothing", "--all", *TEST]) == 2
    assert "no node has a snapshot 'nothing'" in capsys.readouterr().err


def test_a_lab_that_is_not_up_says_how_to_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--connect", "lab:nobody-has-this-one"]) == 2
    assert "clockstep lab up" in capsys.readouterr().err


def test_everything_after_lab_is_the_labs() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from clockstep.cli import run; sys.exit(run(sys.argv[1:]))",
            "lab",
            "--help",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "clockstep lab" in done.stdout


def completed(words: list[str], **environment: str) -> list[str]:
    """Return what bash would be offered for the last of these words."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_CLOCKSTEP_COMPLETE": "bash_complete"}
    command = [sys.executable, "-m", "clockstep"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **asked, **environment}, check=True
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_a_shell_completes_commands_and_the_names_of_nodes() -> None:
    assert completed(["clockstep", "st"]) == ["status", "step"]
    assert completed(["clockstep", *TEST, "status", "te"]) == ["test"]
    assert completed(["clockstep", "--connect", "qemu+unix:///session?socket=/nonexistent", "status", "te"]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_the_shells_own(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completion", shell]) == 0
    assert f"_CLOCKSTEP_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_a_host_that_must_be_synchronised_and_is_not_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["status", *TEST, "--require-synced-host"])
    said = capsys.readouterr()
    if read_host_clock().synchronised:
        assert said.out
    else:
        assert code == 6
        assert "this host's clock is not synchronised" in said.err
        assert "--require-synced-host" in said.err


@pytest.mark.parametrize("words", [["-o", "json"], []])
def test_watching_prints_one_look_after_the_other_until_it_is_interrupted(words: list[str]) -> None:
    command = [sys.executable, "-m", "clockstep", *TEST, *words, "status", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        looks = (line for line in watching.stdout if ("episodes" in line if words else line.startswith("NODE")))
        assert next(looks)
        assert next(looks)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130


def test_a_story_that_nobody_hears_does_not_end_the_work() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Story(Closed()) as story:
        story.tell("node", "stepping")


@pytest.mark.parametrize(("disposition", "code"), [("--default-signal=HUP", 129), ("--ignore-signal=HUP", 143)])
def test_a_hangup_is_an_interruption_unless_it_was_to_be_ignored(disposition: str, code: int) -> None:
    command = ["env", disposition, sys.executable, "-m", "clockstep", *TEST, "-o", "json", "status", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGHUP)
        if code == 143:
            assert watching.stdout.readline()
            watching.send_signal(signal.SIGTERM)
        assert watching.wait(20) == code


HOLDING = """import click, time
from clockstep import cli
from clockstep.cli import root

@click.command()
def holding():
    try:
        print("holding", flush=True)
        time.sleep(60)
    finally:
        print("letting go", flush=True)
        time.sleep(60)

root.root = holding
cli.main()
"""


def test_an_interruption_is_undone_in_peace_until_somebody_insists() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"holding\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"letting go\n"
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
        assert b"finishing what is in progress" in process.stderr.readline()
        assert b"clockstep resume" in process.stderr.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_error(closed: str) -> None:
    command = f'exec "$0" -m clockstep --connect test:///default nodes {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not done.stderr
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.parametrize(
    "words",
    [
        ["status", "-c", ""],
        ["status", *TEST, "--cluster", ""],
        ["status", *TEST, "--config", ""],
        ["status", *TEST, "--tolerance", "0s"],
        ["status", *TEST, "--deadline", "0s"],
        ["wait", *TEST, "--within", "0s"],
        ["watch", *TEST, "test", "--every", "1ms"],
        ["snapshot", "delete", "", "--yes", *TEST],
    ],
)
def test_an_empty_text_or_a_time_of_nothing_is_refused_and_no_default(words: list[str]) -> None:
    assert run(words) == 2


@pytest.mark.parametrize("words", ["--version", "nodes --connect test:///default"])
def test_output_that_cannot_be_written_is_an_error_and_no_bug(words: str) -> None:
    command = [sys.executable, "-m", "clockstep", *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (6, "clockstep: cannot write the output: No space left on device\n")


def test_a_labs_own_error_is_a_message_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--connect", "lab:../x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "clockstep: '../x' can't name a lab",
        "  use up to 20 lower-case letters, digits and dashes",
    ]
