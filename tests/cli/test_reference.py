"""docs/reference.md says what `--help` says, of every command, and names everything that `--json` can print.

Run as a program, it writes the commands' part and docs/schema.json anew: python tests/cli/test_reference.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from clockstep.cli.root import root
from clockstep.render.schema import schema
from clockstep_lab.cli import lab

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
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


if __name__ == "__main__":
    REFERENCE.write_text(written(REFERENCE.read_text()))
    SCHEMA.write_text(f"{schema()}\n")
