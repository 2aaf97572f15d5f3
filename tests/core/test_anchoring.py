"""Whether a clock was set, seen by how it stands against one that nobody sets."""

from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.anchoring import JUMP_NS, anchored, moved_between

MOMENTS = st.integers(0, 10**18)
GAPS = st.integers(0, 10**6)
SHIFTS = st.integers(-(10**18), 10**18)


@given(wall=MOMENTS, mono=MOMENTS, elapsed=MOMENTS, gaps=st.tuples(GAPS, GAPS, GAPS, GAPS))
def test_a_clock_that_only_runs_is_never_taken_for_set(
    wall: int, mono: int, elapsed: int, gaps: tuple[int, int, int, int]
) -> None:
    then = anchored(mono, wall + gaps[0], mono + gaps[0] + gaps[1])
    now = anchored(mono + elapsed, wall + elapsed + gaps[2], mono + elapsed + gaps[2] + gaps[3])
    assert moved_between(then, now) == 0


@given(wall=MOMENTS, mono=MOMENTS, elapsed=MOMENTS, shift=SHIFTS, gaps=st.tuples(GAPS, GAPS, GAPS, GAPS))
def test_a_set_is_seen_with_its_direction_and_size_or_is_too_small_to_see(
    wall: int, mono: int, elapsed: int, shift: int, gaps: tuple[int, int, int, int]
) -> None:
    then = anchored(mono, wall + gaps[0], mono + gaps[0] + gaps[1])
    now = anchored(mono + elapsed, wall + elapsed + shift + gaps[2], mono + elapsed + gaps[2] + gaps[3])
    error = then.error_ns + now.error_ns
    seen = moved_between(then, now)
    if seen:
        assert abs(seen - shift) <= error
    else:
        assert abs(shift) <= JUMP_NS + 2 * error


@given(then=MOMENTS, now=MOMENTS, mono=MOMENTS)
def test_the_two_directions_are_seen_alike(then: int, now: int, mono: int) -> None:
    one, other = anchored(mono, then, mono), anchored(mono, now, mono)
    assert moved_between(one, other) == -moved_between(other, one)
