"""How a node's clock is measured, whatever carries the question: several sandwiches, and what they say together."""

from collections.abc import Callable

from clockstep.core.offset import aged, combine, sandwich
from clockstep.errors import ReachError
from clockstep.model import Offset, Reading
from clockstep.ports import Clock
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

Read = Callable[[], tuple[int, int]]
"""Asks the node what time it is, in seconds and nanoseconds since 1970."""


def sampled(source: str, read: Read, clock: Clock, resolution_ns: int, within_ns: int | None = None) -> Reading:
    """Measure several times, and return what that says together at the time of the last.

    A clock that is seen to be within `within_ns` is measured no better.

    Raises ReachError for a time that cannot be one, and where this machine's clock ran backwards meanwhile.
    """
    taken: list[tuple[Offset, int]] = []
    least_ns = LATEST_S * SECOND_NS
    while True:
        taken.append(_sandwich(read, clock, resolution_ns))
        now = clock.monotonic_ns()
        least_ns = min(least_ns, now - taken[-1][1])
        offset = combine([aged(offset, now - at) for offset, at in taken])
        assert offset is not None
        far = abs(offset.value_ns) >= FAR_NS
        least, most, tight_ns = OF_FAR if far else OF_NEAR
        settled = within_ns is not None and len(taken) >= OF_GLANCE and offset.surely_within(within_ns)
        if settled or len(taken) >= most or (len(taken) >= least and offset.error_ns <= tight_ns):
            return Reading(source, offset, clock.realtime_ns(), least_ns)


def _sandwich(read: Read, clock: Clock, resolution_ns: int) -> tuple[Offset, int]:
    at, before = clock.monotonic_ns(), clock.realtime_ns()
    seconds, nanoseconds = read()
    after = clock.realtime_ns()
    if not (0 <= seconds < LATEST_S and 0 <= nanoseconds < SECOND_NS):
        text = f"the node says that it is {seconds} s and {nanoseconds} ns since 1970"
        raise ReachError(text, "its clock cannot be told from that; look into the guest")
    try:
        return sandwich(before, seconds * SECOND_NS + nanoseconds, after, resolution_ns), at
    except ValueError as error:
        raise ReachError(str(error)) from error
