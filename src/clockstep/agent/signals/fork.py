"""The kernel's line that this machine was forked: it runs on from a snapshot, or as a clone (vmgenid)."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from clockstep.model import Happening, What

LINE = "random: crng reseeded due to virtual machine fork"
"""What drivers/char/random.c prints when the VM generation ID has changed."""
LONGEST = 8192
"""Bytes that one record has at most (CONSOLE_EXT_LOG_MAX in the kernel)."""
AT_ONCE = 1000
"""Records that are read in one tick at most: whoever floods the log delays nothing else."""


class ForkSignal:
    """Reads /dev/kmsg, a record at a time (Documentation/ABI/testing/dev-kmsg).

    The log itself goes back at a revert, and this process's place in it, so the line is a new record each time. Only
    the kernel's own facility, 0, counts: what programs write there has another one, whatever they ask for.
    """

    name = "fork"
    sees = "reverts and clones, on a hypervisor that changes the VM generation ID and a kernel of 5.18 or newer"
    blind = "pauses, migrations, and a revert to a machine that has no VM generation ID"

    def __init__(self, path: Path = Path("/dev/kmsg"), read: Callable[[int, int], bytes] = os.read) -> None:
        self._read = read
        self._file: int | None = None
        self.trouble = ""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with suppress(OSError):  # what is no log has no end to begin at
                os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            self.trouble = f"{path} cannot be read: {error.strerror}; it takes CAP_SYSLOG where dmesg_restrict is 1"

    def wakes(self) -> int | None:
        """Return the log."""
        return self._file

    def check(self, now_ns: int) -> Happening | None:
        """Read what is new."""
        found = None
        for _ in range(AT_ONCE):
            if (record := self._next()) is None:
                break
            if is_fork(record):
                found = Happening("", What.REVERTED, now_ns)
        return found

    def _next(self) -> bytes | None:
        if self._file is None:
            return None
        try:
            if record := self._read(self._file, LONGEST):
                return record
            self._give_up("it has an end, so it is none: a container may have another file in its place")
        except BlockingIOError:
            return None
        except BrokenPipeError:  # records were overwritten before they were read: the next read is of the oldest left
            return b""
        except OSError as error:
            self._give_up(str(error.strerror))
        return None

    def _give_up(self, why: str) -> None:
        """Read no more: a file that is always ready would keep a processor busy."""
        self.trouble = f"the kernel's log cannot be read: {why}"
        self.close()

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_fork(record: bytes) -> bool:
    """Whether a record, `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT`, is the kernel's own that this machine was forked."""
    head, _, text = record.partition(b"\n")[0].partition(b";")
    priority = head.partition(b",")[0]
    return priority.isdigit() and int(priority[:9]) >> 3 == 0 and text == LINE.encode()
