"""When a condition is written, by a made-up clock: rarely, never late, and never more often than it may be."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.condition import ClockState
from clockstep.core.condition_schedule import (
    HEARTBEAT_NS,
    LONGEST_RETRY_NS,
    RETRY_NS,
    STALE_NS,
    Due,
    beat,
    failed,
    is_fresh,
    looked,
    patience,
    put_off,
    wrote,
)
from clockstep.model import KubeCondition
from clockstep.units import MILLISECOND_NS, SECOND_NS

STATES = [ClockState("ClockInBounds", 1), ClockState("ClockOutOfBounds", 1), ClockState("ClockUnsure", 1)]
CHANCES = st.floats(0, 1, exclude_max=True)
LOOKS = st.tuples(st.integers(1, 40), st.sampled_from(STATES), st.booleans(), CHANCES)


class Writer:
    """Writes what is due as soon as it is, while looks come and the API server goes and comes."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.due: Due | None = None
        self.written: list[tuple[int, ClockState]] = []
        self.tried: list[int] = []
        self.up, self.chance = True, 0.5

    def look(self, state: ClockState) -> None:
        self.due = looked(self.due, state)
        self.until(self.now_ns)

    def until(self, end_ns: int) -> None:
        while self.due and (at_ns := self.due.at_ns) is not None and at_ns <= end_ns:
            self.now_ns = max(self.now_ns, at_ns)
            self.tried.append(self.now_ns)
            if self.up:
                self.written.append((self.now_ns, self.due.wanted))
                self.due = wrote(self.due, self.due.wanted, self.now_ns, self.chance)
            else:
                self.due = failed(self.due, self.now_ns, self.chance)
        self.now_ns = end_ns


@given(st.lists(LOOKS, min_size=1, max_size=80))
def test_whatever_is_seen_and_however_often_the_api_is_away_it_is_written_rarely_and_in_the_end_rightly(
    looks: list[tuple[int, ClockState, bool, float]],
) -> None:
    writer = Writer()
    for seconds, state, up, chance in looks:
        writer.up, writer.chance = up, chance
        writer.look(state)
        writer.until(writer.now_ns + seconds * SECOND_NS // 4)
    for (before_ns, before), (after_ns, after) in pairwise(writer.written):
        assert after_ns - before_ns >= (HEARTBEAT_NS * 9 // 10 if before == after else SECOND_NS)
    writer.up = True
    writer.until(writer.now_ns + LONGEST_RETRY_NS * 3 // 2)
    assert writer.written[-1][1] == looks[-1][1]


@given(st.integers(2, 200), CHANCES)
def test_looks_that_say_the_same_are_written_as_heartbeats_alone(count: int, chance: float) -> None:
    writer = Writer()
    writer.chance = chance
    for _ in range(count):
        writer.look(STATES[0])
        writer.until(writer.now_ns + 10 * SECOND_NS)
    assert len(writer.written) <= 1 + count * 10 * SECOND_NS // (HEARTBEAT_NS * 9 // 10)
    for (before_ns, _), (after_ns, _) in pairwise(writer.written):
        assert HEARTBEAT_NS * 9 // 10 <= after_ns - before_ns <= HEARTBEAT_NS * 11 // 10 + 10 * SECOND_NS


@given(CHANCES)
def test_a_failure_is_followed_by_fewer_and_fewer_attempts(chance: float) -> None:
    writer = Writer()
    writer.up, writer.chance = False, chance
    writer.look(STATES[0])
    writer.until(3600 * SECOND_NS)
    gaps = [after - before for before, after in pairwise(writer.tried)]
    assert RETRY_NS <= gaps[0] <= RETRY_NS * 3 // 2
    assert gaps == sorted(gaps)
    assert LONGEST_RETRY_NS <= gaps[-1] <= LONGEST_RETRY_NS * 3 // 2
    assert len(writer.tried) < 20


def test_patience_grows_to_its_limit_and_no_number_of_failures_breaks_it() -> None:
    assert [patience(failures, 0) // SECOND_NS for failures in (1, 2, 3, 4, 5, 6, 7, 10**9)] == [
        *(10, 20, 40, 80, 160, 300, 300, 300),
    ]


def test_a_change_waits_for_a_second_and_what_comes_meanwhile_takes_its_place() -> None:
    writer = Writer()
    writer.look(STATES[0])
    for state in (STATES[1], STATES[2], STATES[1]):
        writer.until(writer.now_ns + 100 * MILLISECOND_NS)
        writer.look(state)
    writer.until(10 * SECOND_NS)
    assert writer.written == [(0, STATES[0]), (SECOND_NS, STATES[1])]


def test_a_change_that_goes_back_within_the_second_is_none() -> None:
    writer = Writer()
    for state in (STATES[0], STATES[1], STATES[0]):
        writer.look(state)
    writer.until(10 * SECOND_NS)
    assert writer.written == [(0, STATES[0])]


def test_no_heartbeat_is_written_of_a_clock_that_nobody_looked_at() -> None:
    writer = Writer()
    writer.look(STATES[0])
    writer.until(10 * HEARTBEAT_NS)
    assert len(writer.written) == 1
    writer.look(STATES[0])
    assert len(writer.written) == 2


def test_what_is_seen_while_it_is_being_written_is_written_next() -> None:
    due = looked(Due(STATES[0]), STATES[1])
    after = wrote(due, STATES[0], 5 * SECOND_NS, 0.5)
    assert (after.at_ns, after.wanted) == (6 * SECOND_NS, STATES[1])


def test_what_is_put_off_is_written_after_that_and_only_after_another_look() -> None:
    due = put_off(Due(STATES[0]), 60 * SECOND_NS)
    assert due.at_ns is None
    assert looked(due, STATES[0]).at_ns == 60 * SECOND_NS


@pytest.mark.parametrize(
    ("heartbeat_ns", "unchanged_ns", "fresh"),
    [
        (0, 0, True),
        (-STALE_NS + SECOND_NS, 0, True),
        (-STALE_NS, 0, False),
        (10 * STALE_NS, 0, True),
        (10 * STALE_NS, STALE_NS, False),
        (None, 0, True),
        (None, STALE_NS, False),
    ],
)
def test_another_writer_is_there_as_long_as_its_heartbeat_is_young_and_moves(
    heartbeat_ns: int | None, unchanged_ns: int, fresh: bool
) -> None:
    wall_ns = 1_800_000_000 * SECOND_NS
    at_ns = None if heartbeat_ns is None else wall_ns + heartbeat_ns
    assert is_fresh(KubeCondition("False", heartbeat_ns=at_ns), wall_ns, unchanged_ns) is fresh


@given(CHANCES)
def test_a_heartbeat_comes_long_before_its_writer_is_taken_to_be_gone(chance: float) -> None:
    assert HEARTBEAT_NS * 9 // 10 <= beat(chance) <= HEARTBEAT_NS * 11 // 10 < STALE_NS // 2
