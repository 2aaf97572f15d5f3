"""Where the text goes: a table in a terminal, plain lines in a pipe, the progress on stderr meanwhile.

rich is imported only where a terminal is there to draw on.
"""

import os
import re
import sys
import threading
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from types import TracebackType
from typing import IO, Any

import msgspec

from clockstep.errors import visible
from clockstep.render.stamps import prefix
from clockstep.render.text import Page

UNPRINTABLE = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""What JSON leaves as it is: the control characters above ASCII, format and bidirectional ones, line separators."""
COLOURS = {
    "good": "green",
    "bad": "red",
    "unsure": "yellow",
    "unreachable": "magenta",
    "error": "red",
    "warning": "yellow",
}
COLOURED = ("VERDICT", "LEVEL")
"""Columns whose words have a colour; a node may be called like a verdict."""
UNLIMITED = 10_000
"""The width of what is no terminal."""


def print_json(record: object, out: IO[str] | None = None) -> None:
    """Print a record as it is."""
    print(_escaped(msgspec.json.format(msgspec.json.encode(record)).decode()), file=out or sys.stdout)


def print_json_line(record: object, out: IO[str] | None = None) -> None:
    """Print a record on a line of its own, for whoever reads one after the other."""
    print(json_line(record), file=out or sys.stdout, flush=True)


def json_line(record: object) -> str:
    """Return a record as JSON on one line."""
    return _escaped(msgspec.json.encode(record).decode())


def _escaped(text: str) -> str:
    """Return JSON with what is not printable as JSON's escapes: the same values, and nothing for a terminal to obey."""
    return UNPRINTABLE.sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _units(found[0])), text)


def _units(letter: str) -> tuple[int, ...]:
    encoded = letter.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2))


def visible_page(page: Page) -> Page:
    """Return a page whose texts a terminal may get: some come from nodes, and from other people's snapshots."""
    rows = tuple(tuple(map(visible, row)) for row in page.rows)
    return Page(tuple(map(visible, page.above)), page.header, rows, tuple(map(visible, page.below)))


def print_page(page: Page, out: IO[str] | None = None, *, headers: bool = True, color: str = "auto") -> None:
    """Print a page: coloured on a terminal, in plain columns elsewhere. A table without rows is left out."""
    out = out or sys.stdout
    page = visible_page(page)
    if out.isatty() or color == "always":
        console = console_of(out, color)
        console.print(rich_page(page, console.width if out.isatty() else UNLIMITED, headers=headers))
        return
    for line in (*page.above, *plain_table(page.header, page.rows, headers=headers), *page.below):
        print(line, file=out)
    out.flush()


def rich_page(page: Page, width: int, *, headers: bool = True) -> Any:
    """Return a page for a terminal of this width: its table if it fits, else a block for each row."""
    from rich.console import Group
    from rich.text import Text

    fits = max(map(cell_width, plain_table(page.header, page.rows)), default=0) <= width
    made = rich_table(page.header, page.rows, headers=headers) if fits else rich_blocks(page.header, page.rows)
    table = (made,) if page.rows else ()
    return Group(*map(Text, page.above), *table, *map(Text, page.below))


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def rich_blocks(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Any:
    """Return each row as a block: what it is of, and below that all that there is to say of it, whole."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    blocks: list[Any] = []
    for first, *rest in rows:
        blocks.append(Text(first, style="bold"))
        for name, cell in zip(header[1:], rest, strict=True):
            if cell != "-":
                said = Text.assemble((f"{name.lower()}: ", "dim"), (cell, _style(name, cell))) if name else Text(cell)
                blocks.append(Padding(said, (0, 0, 0, 2)))
    return Group(*blocks)


def plain_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...], *, headers: bool = True) -> list[str]:
    """Return the lines of a table in columns, two spaces apart; none of a table without rows."""
    if not rows:
        return []
    lines = (header, *rows) if headers else rows
    widths = [max(len(row[column]) for row in lines) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]


def rich_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...], *, headers: bool = True) -> Any:
    """Return a table for a terminal that has room for it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=headers and any(header))
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell, style=_style(name, cell)) for name, cell in zip(header, row, strict=True)))
    return table


def _style(column: str, cell: str) -> str:
    return COLOURS.get(cell, "") if column in COLOURED else ""


class Repaint(AbstractContextManager["Repaint"]):
    """Pages that take each other's place on a terminal, and follow each other elsewhere."""

    def __init__(self, out: IO[str] | None = None, *, headers: bool = True, color: str = "auto") -> None:
        self._out = out or sys.stdout
        self._headers = headers
        self._color = color
        self._stack = ExitStack()
        self._live: Any = None

    def __enter__(self) -> "Repaint":
        if self._out.isatty():
            from rich.live import Live

            console = console_of(self._out, self._color)
            self._live = self._stack.enter_context(Live(console=console, auto_refresh=False))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def show(self, page: Page) -> None:
        """Show a page instead of the one before."""
        if self._live is None:
            print_page(page, self._out, headers=self._headers, color=self._color)
        else:
            made = rich_page(visible_page(page), self._live.console.width, headers=self._headers)
            self._live.update(made, refresh=True)


class Story(AbstractContextManager["Story"]):
    """Progress: a live table on a terminal, a line for each change elsewhere, nothing if it is to be quiet."""

    def __init__(self, out: IO[str] | None = None, *, quiet: bool = False, color: str = "auto") -> None:
        self._out = out or sys.stderr
        self._quiet = quiet
        self._color = color
        self._lock = threading.Lock()
        self._latest: dict[str, str] = {}
        self._began_s = time.monotonic()
        self._stack = ExitStack()
        self._live: Any = None

    def __enter__(self) -> "Story":
        if self._out.isatty() and not self._quiet:
            from rich.live import Live

            console = console_of(self._out, self._color)
            self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._picture)
            self._stack.enter_context(self._live)
        return self

    def _picture(self) -> Any:
        """What is known of each node, each on one line, and for how long it has gone on: so something always moves."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            told = sorted(self._latest.items())
        if told:
            told.append(("", f"{time.monotonic() - self._began_s:.0f} s"))
        room = max((cell_width(node) for node, _ in told), default=0)
        lines = [f"{node:{room}}  {text}".rstrip() if room else text for node, text in told]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def tell(self, node: str, text: str) -> None:
        """Tell what happens to a node, or to all if `node` is empty. Telling the same again prints nothing."""
        if self._quiet:
            return
        node, text = visible(node), visible(text)
        with self._lock:
            if self._latest.get(node) == text:
                return
            self._latest[node] = text
            if self._live is None:  # else it is painted soon
                line = f"{node}: {text}" if node else text
                with suppress(OSError):  # progress that nobody reads must not end the work
                    print(f"{prefix(self._out, os.environ)}{line}", file=self._out, flush=True)


def console_of(out: IO[str], color: str = "auto") -> Any:
    """Return rich's console for a stream; `color` is `auto`, `always` or `never`. NO_COLOR counts for `auto`."""
    from rich.console import Console

    if color == "never":
        return Console(file=out, highlight=False, color_system=None)
    if color == "always":
        width = None if out.isatty() else UNLIMITED
        return Console(
            file=out, highlight=False, force_terminal=True, no_color=False, color_system="standard", width=width
        )
    return Console(file=out, highlight=False)
