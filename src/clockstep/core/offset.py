"""The arithmetic of offsets: how a measurement gets its error, and how several become one."""

from collections.abc import Sequence

from clockstep.model import Offset


def sandwich(before_ns: int, reading_ns: int, after_ns: int, resolution_ns: int = 0) -> Offset:
    """Return the offset of a clock that was read between two readings of the true one.

    The reading happened at an unknown moment of the round trip, so half the round trip is the error, and the
    resolution of the clock read comes on top. Raises ValueError when the true clock ran backwards meanwhile.
    """
    if after_ns < before_ns:
        raise ValueError("the reference clock ran backwards during the measurement")
    return spanning(reading_ns - resolution_ns - after_ns, reading_ns + resolution_ns - before_ns)


def spanning(earliest_ns: int, latest_ns: int) -> Offset:
    """Return the smallest offset that contains everything from `earliest_ns` to `latest_ns`."""
    middle = (earliest_ns + latest_ns) // 2
    return Offset(middle, max(middle - earliest_ns, latest_ns - middle))


def combine(offsets: Sequence[Offset]) -> Offset | None:
    """Return what several measurements of one offset say together; None of none.

    Where all agree it is what they have in common. Where they do not, it is the span of what more than half of them
    allow (as in NTP's intersection, RFC 5905 section 11.2.1), so that a few outliers cost nothing. Where not even
    half agree it is the span of all and of zero: readings that contradict each other make no clock surely off.
    """
    if not offsets:
        return None
    latest_begin, earliest_end = max(o.earliest_ns for o in offsets), min(o.latest_ns for o in offsets)
    if latest_begin <= earliest_end:
        return spanning(latest_begin, earliest_end)
    whole = spanning(min(0, *(o.earliest_ns for o in offsets)), max(0, *(o.latest_ns for o in offsets)))
    return _allowed_by(len(offsets) // 2 + 1, offsets) or whole


def _allowed_by(needed: int, offsets: Sequence[Offset]) -> Offset | None:
    """Return the span of all values that at least `needed` of the offsets allow."""
    edges = [value for offset in offsets for value in (offset.earliest_ns, offset.latest_ns)]
    shared = [edge for edge in edges if sum(o.earliest_ns <= edge <= o.latest_ns for o in offsets) >= needed]
    return spanning(min(shared), max(shared)) if shared else None


def aged(offset: Offset, elapsed_ns: int) -> Offset:
    """Return what an offset measured `elapsed_ns` ago still says: a clock may be slewed by up to a tenth meanwhile.

    That is as far as the kernel lets a daemon go with the length of a tick (adjtimex(2), ADJ_TICK).
    """
    return Offset(offset.value_ns, offset.error_ns + -(-elapsed_ns // 10))


def widened(offset: Offset, by_ns: int) -> Offset:
    """Return an offset whose error is larger by that."""
    return Offset(offset.value_ns, offset.error_ns + by_ns)
