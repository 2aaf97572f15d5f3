"""Man pages, made from what `--help` is made from: python -m clockstep.cli.man FOLDER writes them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from clockstep.cli.exits import MEANING
from clockstep.cli.root import root

SECTION = 1
FILES = (
    ("clockstep.toml", "clusters by name, in the current folder or one above it, or in a Vagrant project"),
    ("~/.config/clockstep/config.toml, /etc/clockstep/config.toml", "the same, of the user and of the system"),
)
ENVIRONMENT = (
    ("CLOCKSTEP_CONFIG", "the configuration file, unless --config names one"),
    ("CLOCKSTEP_STATE", "the state folder: what is paused and was changed, and the history"),
    ("LIBVIRT_DEFAULT_URI", "libvirt's own: the default of --connect"),
    ("NO_COLOR", "if set and not empty, no colors"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "where the user's configuration is, and what clockstep has paused and changed"),
)


def pages() -> dict[str, str]:
    """Return the text of each man page, by its file's name: one for clockstep, and one for each command."""
    return {f"{path.replace(' ', '-')}.{SECTION}": _page(context) for path, context in _contexts(root, "clockstep")}


def _contexts(
    command: click.Command, called: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Context]]:
    context = click.Context(command, info_name=called, parent=parent, **command.context_settings)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _contexts(below, name, context)


def _page(context: click.Context) -> str:
    command, title = context.command, context.command_path.replace(" ", "-")
    lines = [
        f'.TH "{title.upper()}" "{SECTION}" "" "clockstep" "clockstep manual"',
        ".SH NAME",
        f"{_text(title)} \\- {_text(_summary(command))}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
    ]
    said = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    options = [record for param in said if (record := param.get_help_record(context))]
    if options:
        lines += [".SH OPTIONS", *_tagged(options)]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS", *_tagged(_commands(command, context))]
    if command.epilog:
        lines += [".SH EXAMPLES", ".nf", *map(_line, _examples(command.epilog)), ".fi"]
    if context.parent is None:
        lines += [".SH EXIT STATUS", *_tagged([(str(int(code)), meaning) for code, meaning in MEANING.items()])]
        lines += [".SH FILES", *_tagged(FILES), ".SH ENVIRONMENT", *_tagged(ENVIRONMENT)]
    else:
        lines += [".SH SEE ALSO", f".BR {_text(context.parent.command_path.replace(' ', '-'))} ({SECTION})"]
    return "\n".join(lines) + "\n"


def _summary(command: click.Command) -> str:
    first = " ".join((command.help or "").split("\n\n")[0].split())
    return first.rstrip(".")


def _commands(group: click.Group, context: click.Context) -> list[tuple[str, str]]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{context.command_path.replace(' ', '-')}-{name}({SECTION})", _summary(command)))
    return found


def _examples(epilog: str) -> list[str]:
    return [line.strip() for line in epilog.splitlines() if line.startswith("  ")]


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        kept = paragraph.lstrip("\n")
        if kept.startswith("\b"):
            lines += [".PP", ".nf", *map(_line, kept.removeprefix("\b").strip("\n").splitlines()), ".fi"]
        else:
            lines += [".PP", _line(" ".join(kept.split()))]
    return lines[1:]  # no paragraph mark after a heading


def _tagged(entries: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[str]:
    return [line for tag, text in entries for line in (".TP", f"\\fB{_text(tag)}\\fR", _line(text))]


def _line(text: str) -> str:
    """Return a line that begins with no request of roff's."""
    escaped = _text(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")


def main(folder: Path) -> None:
    """Write all pages into a folder, and remove those of commands that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for file in folder.glob(f"*.{SECTION}"):
        if file.name not in written:
            file.unlink()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
