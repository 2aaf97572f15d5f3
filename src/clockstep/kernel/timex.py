"""struct timex (linux/timex.h): what this machine's kernel knows of its clock, and how a step is asked for.

The read is of this machine. The step is only packed here: it is carried out inside a node, by adjtimex(2).
"""

import ctypes
import os
import struct

from clockstep.model import HostClock
from clockstep.units import MICROSECOND_NS, SECOND_NS

ADJ_SETOFFSET = 0x0100
ADJ_NANO = 0x2000
ADJ_TICK = 0x4000
NOMINAL_TICK_US = 10_000
"""The length of a tick at USER_HZ 100, which every Linux has; a daemon slews fast by making it longer or shorter."""

STA_UNSYNC = 0x0040
TIME_ERROR = 5

SIZE = 208
"""Of struct timex on 64-bit Linux, in bytes."""


class Timex(ctypes.Structure):
    """struct timex in this machine's own layout."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("tv_sec", ctypes.c_long),
        ("tv_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def read_host_clock() -> HostClock:
    """Return what adjtimex(2) says without changing anything; maxerror is in microseconds there.

    Raises OSError where the call itself is refused, as by a sandbox's system call filter.
    """
    timex = Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    synchronised = state != TIME_ERROR and not timex.status & STA_UNSYNC
    return HostClock(synchronised, timex.maxerror * MICROSECOND_NS)


def read_host_tai() -> int:
    """Return how many seconds this machine's kernel takes TAI to be ahead of UTC; 0 where nobody told it."""
    timex = Timex()
    ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    return int(timex.tai)


def pack_step(by_ns: int) -> bytes:
    """Return the struct timex, as 64-bit little-endian Linux lays it out, that steps a clock by `by_ns` at once.

    ADJ_SETOFFSET adds `time` to the clock; with ADJ_NANO its second half is nanoseconds, and it must be 0 to
    999999999 also where the step is negative (adjtimex(2); timekeeping_validate_timex in the kernel). ADJ_TICK ends
    a fast slew that is under way: it was meant for the offset that this step removes.
    """
    seconds, nanoseconds = divmod(by_ns, SECOND_NS)
    head = struct.pack("<I68x", ADJ_SETOFFSET | ADJ_NANO | ADJ_TICK)
    return (head + struct.pack("<qqq", seconds, nanoseconds, NOMINAL_TICK_US)).ljust(SIZE, b"\0")
