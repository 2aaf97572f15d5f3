"""What was done to clocks, kept as JSON lines in two files of the state folder: one that grows, and the one before."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from clockstep.model import Entry, Episode, Repair, Verdict
from clockstep.wire import decoded, encoded

MOST = 1_000_000
"""The size of a file in bytes at which it takes the place of the one before it."""
AT_ONCE = 100
"""How many entries are written in one go."""
LOCK_S, AGAIN_S = 1.0, 0.01


class FileHistory:
    """The history, in files in `folder` that only their owner may read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history.jsonl"
        self._before = folder / "history.before.jsonl"

    def add(self, entries: Sequence[Entry]) -> str:
        """Keep entries, also while others do; return why that was not possible, or an empty text."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for start in range(0, len(entries), AT_ONCE):
                self._add(entries[start : start + AT_ONCE])
        except (OSError, UnicodeError) as error:
            return f"the history was not kept: {self._path}: {error}"
        return ""

    def add_repair(self, repair: Repair) -> str:
        """Keep what was done about the aftermath; return why that was not possible, or an empty text."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(encoded(repair) + b"\n")
        except (OSError, UnicodeError) as error:
            return f"the history was not kept: {self._path}: {error}"
        return ""

    def repairs(self, since_ns: int = 0) -> list[Repair]:
        """Return what is kept of repairs that began since then, oldest first. Raises OSError."""
        found = (decoded(line, Repair) for path in (self._before, self._path) for line in _lines(path))
        return sorted((one for one in found if one and (one.at_ns or 0) >= since_ns), key=lambda one: one.at_ns or 0)

    def _add(self, entries: Sequence[Entry]) -> None:
        self._append(b"".join(encoded(replace(one, episode=trimmed(one.episode))) + b"\n" for one in entries))

    def _append(self, lines: bytes) -> None:
        """Write whole lines behind those that are there. Raises OSError."""
        file = self._locked(len(lines))
        try:
            _append(file, lines)
        finally:
            os.close(file)

    def read(self, since_ns: int = 0) -> tuple[list[Entry], int]:
        """Return what is kept of Episodes that began since then, oldest first, and how many lines cannot be read.

        Raises OSError where a file cannot be read.
        """
        found: list[Entry] = []
        skipped = 0
        for line in (line for path in (self._before, self._path) for line in _lines(path)):
            entry = decoded(line, Entry)
            if entry is None:
                skipped += decoded(line, Repair) is None
            elif entry.episode.started_at_ns >= since_ns:
                found.append(entry)
        return sorted(found, key=lambda one: one.episode.started_at_ns), skipped

    def _locked(self, size: int) -> int:
        """Return the file that lines of this size go to, open and locked. Raises OSError."""
        until_s = time.monotonic() + LOCK_S
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _lock(file, until_s)
                if not _is_at(file, self._path):  # another one has taken its place meanwhile
                    os.close(file)
                    continue
                if (there := os.fstat(file).st_size) == 0 or there + size <= MOST:
                    return file
                self._path.replace(self._before)
            except BaseException:
                os.close(file)
                raise
            os.close(file)


def trimmed(episode: Episode) -> Episode:
    """Return an Episode without the findings that say nothing is amiss."""
    findings = tuple(one for one in episode.findings if one.remedy or one.verdict is not Verdict.GOOD)
    return replace(episode, findings=findings)


def _lock(file: int, until_s: float) -> None:
    """Lock a file. Raises BlockingIOError where somebody else has it until then."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise
            time.sleep(AGAIN_S)
        else:
            return


def _is_at(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)


def _append(file: int, lines: bytes) -> None:
    """Write whole lines at the end of a locked file, or nothing. Raises OSError."""
    size = os.fstat(file).st_size
    torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # by a power cut
    rest = b"\n" + lines if torn else lines
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError:
        os.ftruncate(file, size)
        raise


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, as far as it may have grown; none where there is none.

    Raises OSError for what is no file: root reads what the account of its service may have put there.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(opened, "rb") as file:
        yield from (line for line in file.read(2 * MOST).splitlines() if line.strip())
