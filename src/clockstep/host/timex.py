"""struct timex (linux/timex.h): what this machine's kernel knows of its clock."""

import ctypes
import os

from clockstep.errors import HostError
from clockstep.model import HostClock
from clockstep.units import MICROSECOND_NS

STA_UNSYNC = 0x0040
TIME_ERROR = 5


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

    Raises HostError where the call itself is refused, as by a container's or a sandbox's system call filter.
    """
    timex = Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        text = f"the kernel does not report the state of its clock (adjtimex: {os.strerror(ctypes.get_errno())})"
        raise HostError(text, "allow adjtimex and clock_adjtime in the system call filter that clockstep runs under")
    synchronised = state != TIME_ERROR and not timex.status & STA_UNSYNC
    return HostClock(synchronised, timex.maxerror * MICROSECOND_NS)


def read_host_tai() -> int:
    """Return how many seconds this machine's kernel takes TAI to be ahead of UTC; 0 where nobody told it."""
    timex = Timex()
    ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    return int(timex.tai)
