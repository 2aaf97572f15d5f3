"""struct timex, read without changing anything."""

import ctypes
import platform
import subprocess
import sys

from clockstep.host.timex import Timex, read_host_clock


def test_struct_timex_is_as_long_as_the_kernel_reads() -> None:
    assert ctypes.sizeof(Timex) == 208


def test_the_kernel_says_what_this_machines_clock_is_worth() -> None:
    assert read_host_clock().max_error_ns >= 0


FILTERED = """import ctypes, struct, sys
REFUSED, ALLOWED, EPERM = 0x00050000, 0x7FFF0000, 1
program = [(0x20, 0, 0, 0)]  # load the number of the call
for number in sys.argv[1:]:
    program += [(0x15, 0, 1, int(number)), (0x06, 0, 0, REFUSED | EPERM)]
program += [(0x06, 0, 0, ALLOWED)]
packed = b"".join(struct.pack("HBBI", *one) for one in program)
buffer = ctypes.create_string_buffer(packed)
libc = ctypes.CDLL(None)
assert not libc.prctl(38, 1, 0, 0, 0)
whole = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
assert not libc.prctl(22, 2, whole)
from clockstep.cli import run
sys.exit(run(["--connect", "test:///default", "status"]))
"""
"""A filter of system calls as a container's (seccomp(2)), in which these numbers are refused."""
ADJTIMEX = {"x86_64": ("159", "305"), "aarch64": ("171", "266")}
"""adjtimex and clock_adjtime, by which glibc asks."""


def test_where_the_kernel_may_not_be_asked_that_is_said_and_no_bug() -> None:
    command = [sys.executable, "-c", FILTERED, *ADJTIMEX[platform.machine()]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert "adjtimex: Operation not permitted" in done.stderr
    assert "system call filter" in done.stderr
