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
    """Measure several times, and return what that says together at the time of the last.

    A clock that is seen to be within `within_ns` is measured no better. One that says the same twice moves in steps,
    since no way to a node is as quick as a microsecond: then its resolution is taken to be `COARSE_NS`.

    Raises ReachError for a time that cannot be one, and where the reference ran backwards meanwhile.
    """
    taken: list[_Answer] = []
    least_ns = LATEST_S * SECOND_NS
    while True:
        taken.append(_ask(read, clock, reference))
        now = clock.monotonic_ns()
        least_ns = min(least_ns, now - taken[-1].asked_ns)
        if len({one.said_ns for one in taken}) < len(taken):
            resolution_ns = max(resolution_ns, COARSE_NS)
        offset = combine([aged(_sandwiched(one, resolution_ns), now - one.asked_ns) for one in taken])
        assert offset is not None
        far = abs(offset.value_ns) >= FAR_NS
        least, most, tight_ns = OF_FAR if far else OF_NEAR
        settled = within_ns is not None and len(taken) >= OF_GLANCE and offset.surely_within(within_ns)
        if settled or len(taken) >= most or (len(taken) >= least and offset.error_ns <= tight_ns):
            return Reading(source, offset, reference.now().at_ns, least_ns, reference.name)


class _Answer(NamedTuple):
    """What the node said, between which moments of the reference, asked when by the monotonic clock."""

    before: Instant
    said_ns: int
    after: Instant
    asked_ns: int


def _ask(read: Read, clock: Clock, reference: Reference) -> _Answer:
    at, before = clock.monotonic_ns(), reference.now()
    seconds, nanoseconds = read()
    after = reference.now()
    if not (0 <= seconds < LATEST_S and 0 <= nanoseconds < SECOND_NS):
        text = f"the node says that it is {seconds} s and {nanoseconds} ns since 1970"
        raise ReachError(text, "its clock cannot be told from that; look into the guest")
    return _Answer(before, seconds * SECOND_NS + nanoseconds, after, at)


def _sandwiched(answer: _Answer, resolution_ns: int) -> Offset:
    earliest_ns, latest_ns = answer.before.at_ns - answer.before.error_ns, answer.after.at_ns + answer.after.error_ns
    try:
        return sandwich(earliest_ns, answer.said_ns, latest_ns, resolution_ns)
    except ValueError as error:
        raise ReachError(str(error)) from error
