"""Steps of this machine's own clock, each made once: the same memory, under the same lock, as `guest/step` keeps.

So a watcher on a host that steps this machine, and an agent inside it, never step it at the same moment, and each
measures again after the other. Where /run cannot be written no program from outside can step either: then the memory is
this process's alone.
"""

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clockstep.errors import NotSteppedError, visible
from clockstep.host.kernel import TICK_US
from clockstep.ports import Kernel
from clockstep.units import SECOND_NS

LARGEST, KEPT = 1 << 16, 4096
"""Bytes: a memory that is larger is cut down to its end."""
TRIES, AGAIN_S = 100, 0.01
SLEWING = 10
"""Microseconds that a tick may differ from its nominal length: by more a daemon is slewing fast."""
NOT_ALLOWED = "run the agent as root, or with CAP_SYS_TIME"


class Steps:
    """Adds to the clock of a kernel, and remembers what was added under which token."""

    def __init__(self, path: Path, kernel: Kernel) -> None:
        self._path = path
        self._kernel = kernel
        self._own: list[str] = []
        self._lock = threading.Lock()

    def add(self, by_ns: int, token: str, moved: Callable[[], bool]) -> int | None:
        """Add to the clock unless it has `moved` since it was measured; return what was added under this token.

        None where that is open: what was begun was cut off. Raises NotSteppedError where nothing was added.
        """
        with self._memory() as (known, remember):
            if (fate := _fate(known, token)) is not None:
                return _added(fate)
            if moved():
                raise NotSteppedError("something else moved the clock since it was measured")
            remember(f"{token} begun")
            try:
                self._kernel.add(by_ns, reset_tick=abs(self._kernel.tick_us() - TICK_US) > SLEWING)
            except OSError as error:
                remember(f"{token} closed")
                text = f"the clock could not be stepped: {error.strerror or error}"
                raise NotSteppedError(text, NOT_ALLOWED, lasting=True) from error
            remember(f"{token} done {' '.join(map(str, divmod(by_ns, SECOND_NS)))}")
            return by_ns

    def fate(self, token: str) -> int | None:
        """Return what was added under a token, and close it if nothing was; None where that is open."""
        with self._memory() as (known, remember):
            fate = _fate(known, token)
            if fate is None:
                remember(f"{token} closed")
            return _added(fate or "closed")

    @contextmanager
    def _memory(self) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Lend what is remembered, under its lock, and what adds a line to it."""
        with self._lock:
            file = self._opened()
            try:
                if file is not None:
                    self._locked(file)
                yield self._known(file), lambda line: self._remember(file, line)
            finally:
                if file is not None:
                    os.close(file)

    def _opened(self) -> int | None:
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return None

    def _locked(self, file: int) -> None:
        for _ in range(TRIES):
            with suppress(BlockingIOError):
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(AGAIN_S)
        raise NotSteppedError("another program is stepping this clock")

    def _known(self, file: int | None) -> str:
        kept = os.pread(file, 2 * LARGEST, 0).decode("ascii", "replace") if file is not None else ""
        if file is not None and len(kept) > LARGEST:
            os.ftruncate(file, 0)
            os.write(file, kept[-KEPT:].encode("ascii", "replace"))
        return "\n".join([kept, *self._own])

    def _remember(self, file: int | None, line: str) -> None:
        self._own = [*self._own[-KEPT:], line]
        if file is not None:
            with suppress(OSError):  # a full /run: this process remembers it all the same
                os.write(file, f"\n{line}\n".encode())


def _fate(known: str, token: str) -> str | None:
    """Return the last that is known of a token."""
    fates = re.findall(rf"^{re.escape(token)} (.+)$", known, re.MULTILINE)
    return str(fates[-1]) if fates else None


def _added(fate: str) -> int | None:
    """Return what a fate says was added: `done SECONDS NANOSECONDS`, `closed`, or `begun`."""
    if found := re.fullmatch(r"done (-?\d{1,11}) (\d{1,9})", fate, re.ASCII):
        return int(found[1]) * SECOND_NS + int(found[2])
    if fate not in {"begun", "closed"}:
        raise NotSteppedError(f"the memory of steps has {visible(fate[:80])!r}")
    return 0 if fate == "closed" else None
