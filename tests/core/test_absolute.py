"""Setting a clock to a time, by a way whose latency is never the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.errors import ReachError
from clockstep.reach.absolute import LIMIT_NS, AbsoluteSet
from clockstep.units import MILLISECOND_NS, SECOND_NS
from core.simulation import SimClock


def offsets(latencies_ns: list[int]) -> list[int]:
    """How far the clock is off after each set that takes as long."""
    clock, came, left = SimClock(), [-60 * SECOND_NS], iter(latencies_ns)

    def set_to(seconds: int, nanoseconds: int) -> None:
        clock.sleep_ns(next(left))
        came.append(seconds * SECOND_NS + nanoseconds - clock.realtime_ns())

    absolute = AbsoluteSet(set_to, clock, clock)
    for _ in latencies_ns:
        absolute(-came[-1], "token")
    return came[1:]


@given(st.lists(st.integers(0, SECOND_NS), min_size=2, max_size=8))
def test_it_puts_no_clock_ahead_by_more_than_half_of_the_first_latency(latencies: list[int]) -> None:
    assert all(offset <= latencies[0] // 2 for offset in offsets(latencies)[:2])


@given(st.integers(0, 200 * MILLISECOND_NS))
def test_one_that_always_takes_as_long_is_made_up_for(latency: int) -> None:
    came = offsets([latency] * 8)
    assert came == sorted(came)
    assert -2 * MILLISECOND_NS <= came[-1] <= 0


def test_a_set_that_was_not_answered_is_open_until_it_cannot_come_any_more() -> None:
    clock = SimClock()

    def set_to(seconds: int, nanoseconds: int) -> None:
        raise ReachError("no answer")

    absolute = AbsoluteSet(set_to, clock, clock)
    with pytest.raises(ReachError, match="no answer"):
        absolute(SECOND_NS, "one")
    assert not absolute.knows("other")
    with pytest.raises(ReachError, match="not confirmed yet"):
        absolute.knows("one")
    clock.sleep_ns(LIMIT_NS)
    assert absolute.knows("one")
