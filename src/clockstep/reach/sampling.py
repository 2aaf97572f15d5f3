"""How a node's clock is measured, whatever carries the question: several sandwiches, and what they say together."""

from collections.abc import Callable
from typing import NamedTuple

from clockstep.core.offset import aged, combine, sandwich
from clockstep.errors import ReachError
from clockstep.model import Offset, Reading
from clockstep.ports import Clock, Instant, Reference
from clockstep.units import MILLISECOND_NS, SECOND_NS

OF_NEAR = (5, 20, MILLISECOND_NS)
"""The least and the most samples, and the bound in nanoseconds above which more than the least are taken."""

FAR_NS = SECOND_NS
OF_FAR = (2, 6, 6 * MILLISECOND_NS)
"""A clock that far off will be stepped and looked at again: it loses more by waiting than it gains by a better look.
Two samples, so that an agent that answers anything contradicts itself, and few more where the machine is busy."""

IN_VAIN, USABLE_NS = 5, 5 * MILLISECOND_NS
"""So many samples that told no more are enough for a bound as good as that."""

OF_GLANCE = 2
"""Samples that agree are enough to say that nothing is to be done."""

LATEST_S = 2**63 // SECOND_NS
"""The year 2262, where nanoseconds since 1970 no longer fit the 64 bits that the kernel counts them in."""

COARSE_NS = 15_625_000
"""The step in which Windows' clock moves for whoever asks for no finer one (GetSystemTimeAsFileTime)."""

Read = Callable[[], tuple[int, int]]
"""Asks the node what time it is, in seconds and nanoseconds since 1970."""


def sampled(
    source: str, read: Read, clock: Clock, reference: Reference, resolution_ns: int, within_ns: int | None = None
) -> Reading:
    """Measure several times, and return what that says together as of the quickest answer.

    What was said ages, so a slow way to a node is not asked on and on: `IN_VAIN` samples that tell no more are enough.
    A clock that is seen to be within `within_ns` is measured no better. One that says the same twice moves in steps,
    since no way to a node is as quick as a microsecond: then its resolution is taken to be `COARSE_NS`.

    Raises ReachError for a time that cannot be one, and where the reference ran backwards meanwhile.
    """
    taken: list[_Answer] = []
    told_ns, told_by = LATEST_S * SECOND_NS, 0
    while True:
        taken.append(_ask(read, clock, reference))
        if len({one.said_ns for one in taken}) < len(taken):
            resolution_ns = max(resolution_ns, COARSE_NS)
        quickest = min(taken, key=lambda one: one.round_trip_ns)
        offset = combine([aged(_sandwiched(one, resolution_ns), one.apart_ns(quickest)) for one in taken])
        assert offset is not None
        if offset.error_ns < told_ns:
            told_ns, told_by = offset.error_ns, len(taken)
        far = abs(offset.value_ns) >= FAR_NS
        least, most, tight_ns = OF_FAR if far else OF_NEAR
        settled = within_ns is not None and len(taken) >= OF_GLANCE and offset.surely_within(within_ns)
        in_vain = len(taken) >= told_by + IN_VAIN and offset.error_ns <= USABLE_NS and not _open(offset, within_ns)
        enough = offset.error_ns <= tight_ns or in_vain
        if settled or len(taken) >= most or (len(taken) >= least and enough):
            return Reading(source, offset, quickest.after.at_ns, quickest.round_trip_ns, reference.name)


def _open(offset: Offset, within_ns: int | None) -> bool:
    """Whether it is not known whether a clock is within that."""
    return within_ns is not None and not (offset.surely_within(within_ns) or offset.surely_beyond(within_ns))


class _Answer(NamedTuple):
    """What the node said, between which moments of the reference, and of the monotonic clock."""

    before: Instant
    said_ns: int
    after: Instant
    asked_ns: int
    heard_ns: int

    @property
    def round_trip_ns(self) -> int:
        """How long it took."""
        return self.heard_ns - self.asked_ns

    def apart_ns(self, other: "_Answer") -> int:
        """Return how long before the end of the other this may have been said, or after it."""
        return max(abs(other.heard_ns - self.asked_ns), abs(other.heard_ns - self.heard_ns))


def _ask(read: Read, clock: Clock, reference: Reference) -> _Answer:
    at, before = clock.monotonic_ns(), reference.now()
    seconds, nanoseconds = read()
    after, heard = reference.now(), clock.monotonic_ns()
    if not (0 <= seconds < LATEST_S and 0 <= nanoseconds < SECOND_NS):
        text = f"the node reports {seconds} s and {nanoseconds} ns since 1970"
        raise ReachError(text, "its clock cannot be derived from that; check the guest")
    return _Answer(before, seconds * SECOND_NS + nanoseconds, after, at, heard)


def _sandwiched(answer: _Answer, resolution_ns: int) -> Offset:
    earliest_ns, latest_ns = answer.before.at_ns - answer.before.error_ns, answer.after.at_ns + answer.after.error_ns
    try:
        return sandwich(earliest_ns, answer.said_ns, latest_ns, resolution_ns)
    except ValueError as error:
        raise ReachError(str(error)) from error
