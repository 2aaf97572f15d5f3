"""Where the text goes: a table in a terminal, plain lines in a pipe, the story on stderr meanwhile.

rich is imported only where a terminal is there to draw on.
"""

import sys
import threading
from contextlib import AbstractContextManager, ExitStack, suppress
from types import TracebackType
from typing import IO, Any

import msgspec

from clockstep.model import Record
from clockstep.render.text import Page

COLOURS = {"good": "green", "bad": "red", "unsure": "yellow", "unreachable": "magenta"}


def print_json(record: Record, out: IO[str] | None = None) -> None:
    """Print a record as it is."""
    print(msgspec.json.format(msgspec.json.encode(record)).decode(), file=out or sys.stdout)


def print_json_line(record: Record, out: IO[str] | None = None) -> None:
    """Print a record on a line of its own, for whoever reads one after the other."""
    print(msgspec.json.encode(record).decode(), file=out or sys.stdout, flush=True)


def print_page(page: Page, out: IO[str] | None = None) -> None:
    """Print a page: coloured on a terminal, in plain columns elsewhere. A table without rows is left out."""
    out = out or sys.stdout
    if out.isatty():
        _console(out).print(rich_page(page))
        return
    for line in (*page.above, *(plain_table(page.header, page.rows) if page.rows else ()), *page.below):
        print(line, file=out)
    out.flush()


def rich_page(page: Page) -> Any:
    """Return a page for a terminal."""
    from rich.console import Group
    from rich.text import Text

    table = (rich_table(page.header, page.rows),) if page.rows else ()
    return Group(*map(Text, page.above), *table, *map(Text, page.below))


def plain_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return the lines of a table in columns, two spaces apart."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]


def rich_table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Any:
    """Return the same as a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(header))
    for place, (name, *cells) in enumerate(zip(header, *rows, strict=True)):
        whole = place == 0 or name == "VERDICT" or any(cell[:1] in "+-" and "±" in cell for cell in cells)
        table.add_column(name, no_wrap=whole)
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
            self._live.update(rich_page(page), refresh=True)


class Story(AbstractContextManager["Story"]):
    """What happens while it happens: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stderr
        self._lock = threading.Lock()
        self._latest: dict[str, str] = {}
        self._stack = ExitStack()
        self._live: Any = None

    def __enter__(self) -> "Story":
        if self._out.isatty():
            from rich.live import Live

            self._live = Live(console=_console(self._out), transient=True, refresh_per_second=10)
            self._stack.enter_context(self._live)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def tell(self, node: str, text: str) -> None:
        """Tell what happens to a node, or to all where `node` is empty. Saying the same again says nothing."""
        with self._lock:
            if self._latest.get(node) == text:
                return
            self._latest[node] = text
            with suppress(OSError):  # a story that nobody hears must not end the work
                if self._live is None:
                    print(f"{node}: {text}" if node else text, file=self._out, flush=True)
                else:
                    self._live.update(rich_table(("", ""), tuple(sorted(self._latest.items()))))


def _console(out: IO[str]) -> Any:
    from rich.console import Console

    return Console(file=out, highlight=False)
