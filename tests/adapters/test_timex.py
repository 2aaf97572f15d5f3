"""struct timex: packed as this machine's own kernel headers lay it out, and read without changing anything."""

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from clockstep.kernel.timex import ADJ_NANO, ADJ_SETOFFSET, ADJ_TICK, SIZE, Timex, pack_step, read_host_clock

SECOND = 10**9


@given(st.integers(-(2**62), 2**62))
def test_a_packed_step_says_exactly_how_far_and_nothing_else(by_ns: int) -> None:
    timex = Timex.from_buffer_copy(pack_step(by_ns))
    assert timex.tv_sec * SECOND + timex.tv_usec == by_ns
    assert 0 <= timex.tv_usec < SECOND
    assert timex.modes == ADJ_SETOFFSET | ADJ_NANO | ADJ_TICK
    assert timex.tick == 10_000
    named = {"modes", "tv_sec", "tv_usec", "tick", "reserved"}
    assert not any(getattr(timex, field[0]) for field in Timex._fields_ if field[0] not in named)


def test_a_packed_step_is_as_long_as_the_kernel_reads() -> None:
    assert len(pack_step(-1)) == SIZE == ctypes.sizeof(Timex)


def test_the_kernel_says_what_this_machines_clock_is_worth() -> None:
    assert read_host_clock().max_error_ns >= 0
