"""Whether a clock was set: it is held against a monotonic clock, and only a step parts the two. Pure."""

from clockstep.core.offset import sandwich
from clockstep.model import Offset
from clockstep.units import MILLISECOND_NS

JUMP_NS = MILLISECOND_NS
"""How far a clock and the monotonic one may part unnoticed: a daemon slews both alike, only a step parts them."""


def anchored(before_ns: int, reading_ns: int, after_ns: int) -> Offset:
    """Return how far a clock is from the monotonic one, between two readings of which it was read."""
    return sandwich(before_ns, reading_ns, after_ns)


def moved_between(then: Offset, now: Offset) -> int:
    """Return by how many nanoseconds a clock was set between two anchors; 0 where that is not sure."""
    moved = Offset(now.value_ns - then.value_ns, now.error_ns + then.error_ns)
    return moved.value_ns if moved.surely_beyond(JUMP_NS) else 0
