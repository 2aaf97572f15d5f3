"""Somebody sets the clock: a timer of CLOCK_REALTIME that the kernel cancels then (timerfd_create(2))."""

import ctypes
import errno
import os
import struct
from collections.abc import Callable

from clockstep.model import Happening, What

TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
CLOCK_REALTIME = 0
NEVER_S = 2**63 - 1
"""What the timer is set to: the kernel takes it for its last moment, of 2262, which no clock that runs is beyond.

As in systemd's time_change_fd. One that were due would be due at each look from there on.
"""


def armed(file: int | None = None) -> int:
    """Return a timer that is cancelled when the clock is set; one that was is armed again. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC) if file is None else file
    setting = ctypes.create_string_buffer(struct.pack("@4l", 0, 0, NEVER_S, 0))
    flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    if timer < 0 or libc.timerfd_settime(timer, flags, setting, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(timer)


class ClockSetSignal:
    """Hears of every step of CLOCK_REALTIME, also of the agent's own, which is for the agent to know."""

    name = "clock-set"
    sees = "steps of this machine's clock by a time daemon or an administrator, at once"
    blind = "reverts and pauses, after which no program has set the clock"

    def __init__(self, arm: Callable[[int | None], int] = armed, read: Callable[[int, int], bytes] = os.read) -> None:
        self._arm, self._read = arm, read
        self._file: int | None = None
        self.trouble = ""
        self._armed()

    def _armed(self) -> None:
        try:
            self._file = self._arm(self._file)
        except OSError as error:
            self.trouble = f"the kernel gives no timer: {error.strerror}"

    def wakes(self) -> int | None:
        """Return the timer, which can be read once it is cancelled."""
        return self._file

    def check(self, now_ns: int) -> Happening | None:
        """Read the timer: ECANCELED is that the clock was set."""
        if self._file is None:
            return None
        try:
            self._read(self._file, 8)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ECANCELED:
                self.trouble = f"the timer cannot be read: {error.strerror}"
                return None
        self._armed()  # it is cancelled
        return Happening("", What.SET, now_ns)

    def close(self) -> None:
        """Close the timer."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
