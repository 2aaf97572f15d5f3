"""The page of a vmclock device (linux/vmclock-abi.h): a marker that changes when this machine's counter was disrupted.

The hypervisor writes it, between two odd sequence numbers. Its later fields are there only where its size says so.
"""

import mmap
import os
import platform
import select
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clockstep.model import Happening, What

MAGIC, VERSION = 0x4B4C4356, 1
HEAD = struct.Struct("<IIHBB I Q Q")
"""Magic, size, version, counter, time type; sequence number; disruption marker; flags."""
SEQUENCE = struct.Struct("<I")
SEQUENCE_AT, MARKER_AT, STATUS_AT, MAX_ERROR_AT, GENERATION_AT, END = 12, 16, 34, 96, 104, 112
MAX_ERROR_VALID, GENERATION_PRESENT, NOTIFIES = 1 << 6, 1 << 8, 1 << 9
SYNCHRONISED = 2
TRIES = 100
"""How often a page in whose middle a writer is is looked at again; then in the next tick."""
ORDERED = {"x86_64", "i686"}
"""Machines on which reads are not reordered; on others the kernel's own read(2) has the barriers."""


class Page(NamedTuple):
    """What of a page is used: `generation` is None where it has none, `max_error_ns` where its time has no bound."""

    marker: int
    generation: int | None
    notifies: bool
    max_error_ns: int | None


class UnknownPageError(Exception):
    """A page of another kind or version."""


def parse(page: bytes) -> Page:
    """Return what a page says, of which the first 112 bytes are enough. Raises UnknownPageError."""
    if len(page) < GENERATION_AT:
        raise UnknownPageError("it is too short")
    magic, size, version, _, _, _, marker, flags = HEAD.unpack_from(page)
    if magic != MAGIC or version != VERSION:
        raise UnknownPageError(f"it has magic {magic:#x} and version {version}, which clockstep does not know")
    there = min(size, len(page))
    generation = bounded = None
    if flags & GENERATION_PRESENT and there >= END:
        (generation,) = struct.unpack_from("<Q", page, GENERATION_AT)
    if flags & MAX_ERROR_VALID and page[STATUS_AT] == SYNCHRONISED and there >= GENERATION_AT:
        (bounded,) = struct.unpack_from("<Q", page, MAX_ERROR_AT)
    return Page(marker, generation, bool(flags & NOTIFIES), bounded)


def consistent(look: Callable[[], bytes]) -> bytes | None:
    """Return a page that nobody wrote meanwhile; None where that could not be had now."""
    for _ in range(TRIES):
        page = look()
        if len(page) < MARKER_AT:
            return page
        (sequence,) = SEQUENCE.unpack_from(page, SEQUENCE_AT)
        again = look()[SEQUENCE_AT:MARKER_AT]
        if not sequence % 2 and again == SEQUENCE.pack(sequence):
            return page
    return None


def events(file: int) -> int:
    """Return what poll(2) says at once, of reading and writing."""
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLOUT)
    return sum(said for _, said in poll.poll(0))


class VmclockSignal:
    """Compares the marker, and the generation, in each tick; waits by poll only where that was seen to be quiet.

    Kernels before 7.0 answer a poll at once and for ever, and so do pages that do not notify.
    """

    name = "vmclock"
    sees = "live migrations, reverts and restores, at once"
    blind = "pauses, which change no marker"

    def __init__(self, path: Path, poll: Callable[[int], int] = events, machine: str = platform.machine()) -> None:
        self._poll = poll
        self._file: int | None = None
        self._map: mmap.mmap | None = None
        self._last: Page | None = None
        self._quick = b""
        self._waits = False
        self.trouble = ""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if machine in ORDERED:
                with suppress(OSError, ValueError):  # else it is read
                    self._map = mmap.mmap(self._file, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
            self._begin()
        except OSError as error:
            self.trouble = f"{path} cannot be read: {error.strerror}"

    def _begin(self) -> None:
        self.check(0)
        if self._last and self._last.notifies:
            self._read()  # a descriptor that has read nothing yet is always ready
            self._waits = self._poll(self._file or 0) == 0

    @property
    def max_error_ns(self) -> int | None:
        """How far the hypervisor's clock may be off by its own account; None where it does not say."""
        return self._last.max_error_ns if self._last else None

    def wakes(self) -> int | None:
        """Return the device, where it wakes; after each wake it is read, or it would wake for ever."""
        if self._waits and self._file is not None:
            if (said := self._poll(self._file)) & ~select.POLLIN:
                self._waits = False
            elif said:
                self._read()
        return self._file if self._waits else None

    def check(self, now_ns: int) -> Happening | None:
        """Compare the page with the last one."""
        if self._file is None or not self._changed():
            return None
        try:
            page = consistent(self._look)
            now = parse(page) if page is not None else None
        except UnknownPageError as error:
            self.trouble, self._last = f"its page cannot be used: {error}", None
            return None
        if now is None:
            self._quick = b""
            return None
        before, self._last, self.trouble = self._last, now, ""
        what = disrupted(before, now) if before else None
        return Happening("", what, now_ns) if what else None

    def _changed(self) -> bool:
        """Whether sequence number, marker or generation are others than at the last look: no system call where mapped.

        A hypervisor that changes one without the other is seen, too.
        """
        page = self._look()
        quick = page[SEQUENCE_AT : MARKER_AT + 8] + page[GENERATION_AT:END]
        changed, self._quick = quick != self._quick, quick
        return changed

    def _look(self) -> bytes:
        return bytes(self._map[:END]) if self._map else self._read()

    def _read(self) -> bytes:
        try:
            return os.pread(self._file, END, 0) if self._file is not None else b""
        except OSError as error:
            self.trouble = f"it cannot be read: {error.strerror}"
            return b""

    def close(self) -> None:
        """Let go of the page and its device."""
        if self._map:
            self._map.close()
        if self._file is not None:
            os.close(self._file)
        self._map = self._file = None


def disrupted(before: Page, now: Page) -> What | None:
    """Return what has happened between two pages: a snapshot was loaded where the generation is another.

    With the same generation it was a migration; a page without one does not tell it from a restore.
    """
    if now.generation != before.generation and now.generation is not None:
        return What.REVERTED
    if now.marker == before.marker:
        return None
    return What.RESTORED if now.generation is None else What.MIGRATED
