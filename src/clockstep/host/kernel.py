"""This machine's wall clock: read by one class, and moved by another that only the agent's own entry makes."""

import ctypes
import errno
import os
import time

from clockstep.host.timex import Timex
from clockstep.units import SECOND_NS

ADJ_SETOFFSET, ADJ_NANO, ADJ_TICK = 0x0100, 0x2000, 0x4000
"""linux/timex.h; ADJ_SETOFFSET adds `time` to the clock, whose second half is nanoseconds with ADJ_NANO."""
TICK_US = 10_000
"""The nominal length of a tick, with 100 ticks a second as user space sees them."""
CLOCK_REALTIME = 0


class ReadKernel:
    """The clock of a machine that is only observed: whoever has this cannot move it."""

    def realtime_ns(self) -> int:
        """Return CLOCK_REALTIME."""
        return time.time_ns()

    def raw_ns(self) -> int:
        """Return CLOCK_MONOTONIC_RAW."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    def tick_us(self) -> int:
        """Return the length of a tick."""
        timex = Timex()
        _called(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)))
        return int(timex.tick)

    def add(self, by_ns: int, *, reset_tick: bool) -> None:  # noqa: ARG002 - whatever is asked for
        """Refuse to."""
        raise PermissionError(errno.EPERM, "clocks are only observed")


class SystemKernel(ReadKernel):
    """The clock of this machine, which is moved by clock_adjtime(2); that needs CAP_SYS_TIME."""

    def add(self, by_ns: int, *, reset_tick: bool) -> None:
        """Move the clock."""
        timex = adjustment(by_ns, reset_tick=reset_tick)
        _called(ctypes.CDLL(None, use_errno=True).clock_adjtime(CLOCK_REALTIME, ctypes.byref(timex)))


def adjustment(by_ns: int, *, reset_tick: bool) -> Timex:
    """Return what moves a clock by so much.

    The second half of a negative step is positive nanoseconds, too (timekeeping_validate_timex in the kernel).
    """
    seconds, nanoseconds = divmod(by_ns, SECOND_NS)
    modes = ADJ_SETOFFSET | ADJ_NANO | (ADJ_TICK if reset_tick else 0)
    return Timex(modes=modes, tv_sec=seconds, tv_usec=nanoseconds, tick=TICK_US)


def _called(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
