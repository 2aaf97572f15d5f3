"""Printing that never holds up whoever prints: a pipe that nobody reads, as `less` keeps it, must not stop a watch."""

import queue
import threading
from collections.abc import Callable
from typing import IO, TextIO

WAITING = 10_000
"""How many lines may wait to be printed; more are dropped, and their number is printed."""
LAST_S = 1.0


def unshared(stream: TextIO) -> TextIO:
    """Return another stream to the same place, with a buffer and a lock of its own."""
    return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)


class Lines:
    """Lines for standard output and standard error, printed by a thread in the order that they came in.

    `prefix` returns what a line on standard error begins with. `gone` is called if the reader of standard output has
    ended. The streams must be nobody else's: whoever flushes one in which a line waits would wait with it.
    """

    def __init__(
        self,
        out: IO[str],
        err: IO[str],
        gone: Callable[[], None],
        prefix: Callable[[], str] = str,
        waiting: int = WAITING,
    ) -> None:
        self._streams = (out, err)
        self._gone = gone
        self._prefix = prefix
        self._queue: queue.Queue[tuple[IO[str], str] | None] = queue.Queue(waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._print_all, name="lines", daemon=True)
        self._thread.start()

    def out(self, text: str) -> None:
        """Print a line to standard output."""
        self._put(self._streams[0], text)

    def err(self, text: str) -> None:
        """Print a line to standard error."""
        self._put(self._streams[1], f"{self._prefix()}{text}")

    def end(self) -> None:
        """Print what waits, as far as it is read within a second."""
        try:
            self._queue.put(None, timeout=LAST_S)
        except queue.Full:
            return
        self._thread.join(LAST_S)

    def _put(self, stream: IO[str], text: str) -> None:
        try:
            self._queue.put_nowait((stream, text))
        except queue.Full:
            self._dropped += 1

    def _print_all(self) -> None:
        while (line := self._queue.get()) is not None:
            self._print(*line)
            if self._dropped and self._queue.empty():
                dropped, self._dropped = self._dropped, 0
                self._print(self._streams[1], f"{dropped} lines were dropped because nothing was reading them")

    def _print(self, stream: IO[str], text: str) -> None:
        try:
            print(text, file=stream, flush=True)
        except BrokenPipeError:
            if stream is self._streams[0]:
                self._gone()
        except (OSError, ValueError):  # a disk that is full for a while, or a stream that was closed
            return
