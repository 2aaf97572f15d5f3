"""The arithmetic of offsets: whatever happens, the truth lies inside."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clockstep.core.offset import aged, combine, sandwich, spanning
from clockstep.model import Offset

TIMES = st.integers(0, 2**63)
SPANS = st.integers(0, 10**12)
OFFSETS = st.integers(-(10**18), 10**18)


@given(before=TIMES, there=SPANS, back=SPANS, offset=OFFSETS, resolution=st.integers(1, 10**9))
def test_a_sandwich_always_contains_the_truth(before: int, there: int, back: int, offset: int, resolution: int) -> None:
    reading = (before + there + offset) // resolution * resolution
    measured = sandwich(before, reading, before + there + back, resolution)
    assert measured.earliest_ns <= offset <= measured.latest_ns


@given(before=TIMES, there=SPANS, back=SPANS, reading=TIMES)
def test_a_sandwich_is_no_wider_than_its_round_trip(before: int, there: int, back: int, reading: int) -> None:
    assert sandwich(before, reading, before + there + back).error_ns <= (there + back) // 2 + 1


def test_a_sandwich_around_a_reference_that_ran_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="backwards"):
        sandwich(10, 5, 9)


@given(offset=OFFSETS, sides=st.lists(st.tuples(SPANS, SPANS), min_size=1, max_size=7))
def test_measurements_that_are_all_true_combine_to_a_true_one_no_wider_than_the_tightest(
    offset: int, sides: list[tuple[int, int]]
) -> None:
    offsets = [spanning(offset - below, offset + above) for below, above in sides]
    combined = combine(offsets)
    assert combined is not None
    assert combined.earliest_ns <= offset <= combined.latest_ns
    assert combined.error_ns <= min(one.error_ns for one in offsets)


@given(
    offset=OFFSETS,
    honest=st.lists(st.tuples(SPANS, SPANS), min_size=2, max_size=5),
    liars=st.lists(st.tuples(OFFSETS, SPANS), max_size=4),
)
def test_a_minority_of_outliers_that_contradict_the_others_never_hides_the_truth(
    offset: int, honest: list[tuple[int, int]], liars: list[tuple[int, int]]
) -> None:
    assume(0 < len(liars) < len(honest))
    true, false = (
        [spanning(offset - below, offset + above) for below, above in honest],
        [Offset(*liar) for liar in liars],
    )
    assume(any(not _meet(one, other) for one in true for other in false))
    combined = combine([*true, *false])
    assert combined is not None
    assert combined.earliest_ns <= offset <= combined.latest_ns


def test_measurements_that_contradict_each_other_give_a_bound_that_spans_them_all_and_zero() -> None:
    assert combine([Offset(0, 1), Offset(100, 1), Offset(200, 1)]) == Offset(100, 101)
    assert combine([Offset(100, 1), Offset(200, 1)]) == spanning(0, 201)
    assert combine([Offset(-100, 1), Offset(-200, 1)]) == spanning(-201, 0)


def test_nothing_measured_is_no_offset() -> None:
    assert combine([]) is None


@given(value=OFFSETS, error=SPANS, elapsed=SPANS, slew=st.integers(-(10**5), 10**5))
def test_an_aged_offset_still_holds_whatever_a_daemon_may_have_slewed(
    value: int, error: int, elapsed: int, slew: int
) -> None:
    moved = value + elapsed * slew // 10**6
    old = aged(Offset(value, error), elapsed)
    assert old.earliest_ns <= moved <= old.latest_ns


@given(value=OFFSETS, error=SPANS, bound=SPANS)
def test_an_offset_is_never_surely_within_and_surely_beyond_a_bound(value: int, error: int, bound: int) -> None:
    offset = Offset(value, error)
    assert not (offset.surely_within(bound) and offset.surely_beyond(bound))


def _meet(one: Offset, other: Offset) -> bool:
    return one.earliest_ns <= other.latest_ns and other.earliest_ns <= one.latest_ns
