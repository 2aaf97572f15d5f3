"""Lines for whoever reads them: a pipe that nobody reads holds up no correction."""

import os
import queue
import threading
from contextlib import suppress

WAITING = 1000
LAST_S = 1.0
"""How long lines that are left are waited for in the end."""


class Printer:
    """Writes lines to a file on a thread of its own, in their order; what nobody reads is dropped."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def __call__(self, line: str) -> None:
        """Take a line to be written."""
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Wait a moment for what is left."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(LAST_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            left = f"{line}\n".encode(errors="replace")
            with suppress(OSError):  # whoever has read is gone: the clock is corrected all the same
                while left:
                    left = left[os.write(self._file, left) :]
