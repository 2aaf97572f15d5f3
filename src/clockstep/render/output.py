"""Where the text goes: a table in a terminal, plain lines in a pipe, the story on stderr meanwhile.

rich is imported only where a terminal is there to draw on.
"""

import re
import sys
import threading
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from types import TracebackType
from typing import IO, Any

import msgspec

from clockstep.errors import visible
from clockstep.render.text import Page

UNPRINTABLE = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""What JSON leaves as it is: the control characters above ASCII, format and bidirectional ones, line separators."""
COLOURS = {"good": "green", "bad": "red", "unsure": "yellow", "unreachable": "magenta"}


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


def print_page(page: Page, out: IO[str] | None = None) -> None:
    """Print a page: coloured on a terminal, in plain columns elsewhere. A table without rows is left out."""
    out = out or sys.stdout
    page = visible_page(page)
    if out.isatty():
        console = _console(out)
        console.print(rich_page(page, console.width))
        return
    for line in (*page.above, *(plain_table(page.header, page.rows) if page.rows else ()), *page.below):
        print(line, file=out)
    out.flush()


def rich_page(page: Page, width: int) -> Any:
    """Return a page for a terminal of this width: its table as it stands where it fits, else a block for each row."""
    from rich.console import Group
    from rich.text import Text

    lines = plain_table(page.header, page.rows) if page.rows else []
    fits = max(map(cell_width, lines), default=0) <= width
    table = (rich_table(page.header, page.rows) if fits else rich_blocks(page.header, page.rows),) if page.rows else ()
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
                said = (
                    Text.assemble((f"{name.lower()}: ", "dim"), (cell, COLOURS.get(cell, ""))) if name else Text(cell)
                )
                blocks.append(Padding(said, (0, 0, 0, 2)))
    return Group(*blocks)


def plain_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return the lines of a table in columns, two spaces apart."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def rich_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Any:
    """Return a table for a terminal that has room for it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(header))
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return table


class Repaint(AbstractContextManager["Repaint"]):
    """Pages that take each other's place on a terminal, and follow each other elsewhere."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._stack = ExitStack()
        self._live: Any = None

    def __enter__(self) -> "Repaint":
        if self._out.isatty():
            from rich.live import Live

            self._live = self._stack.enter_context(Live(console=_console(self._out), auto_refresh=False))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def show(self, page: Page) -> None:
        """Show a page instead of the one before."""
        if self._live is None:
            print_page(page, self._out)
        else:
            self._live.update(rich_page(visible_page(page), self._live.console.width), refresh=True)


class Story(AbstractContextManager["Story"]):
    """What happens while it happens: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stderr
        self._lock = threading.Lock()
        self._latest: dict[str, str] = {}
        self._began_s = time.monotonic()
        self._stack = ExitStack()
        self._live: Any = None

    def __enter__(self) -> "Story":
        if self._out.isatty():
            from rich.live import Live

            console = _console(self._out)
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
        """Tell what happens to a node, or to all where `node` is empty. Saying the same again says nothing."""
        node, text = visible(node), visible(text)
        with self._lock:
            if self._latest.get(node) == text:
                return
            self._latest[node] = text
            if self._live is None:  # else it is painted soon
                with suppress(OSError):  # a story that nobody hears must not end the work
                    print(f"{node}: {text}" if node else text, file=self._out, flush=True)


def _console(out: IO[str]) -> Any:
    from rich.console import Console

    return Console(file=out, highlight=False)
