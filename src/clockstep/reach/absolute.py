"""Setting a clock to a time, where a node cannot be made to add to it: late by its own latency, so that is learned.

The next one leads by half of what is missing to the least latency seen so far. It may come much quicker than that, and
a clock that is ahead can only be waited for: this way it is ahead by half of that latency at most.
"""

from collections.abc import Callable

from clockstep.ports import Clock
from clockstep.units import SECOND_NS


class AbsoluteSet:
    """`set_to` makes a node's clock say this many seconds and nanoseconds since 1970, as soon as it can."""

    def __init__(self, set_to: Callable[[int, int], None], clock: Clock) -> None:
        self._set_to = set_to
        self._clock = clock
        self._lead_ns = 0
        self._least_ns: int | None = None
        self._unset = True

    def __call__(self, by_ns: int) -> None:
        """Set the clock to now. `by_ns` is how far it was off: after a first set, that is how late the set came."""
        if not self._unset and abs(by_ns) <= SECOND_NS:
            latency_ns = max(0, self._lead_ns + by_ns)
            self._least_ns = latency_ns if self._least_ns is None else min(self._least_ns, latency_ns)
            self._lead_ns = (self._lead_ns + self._least_ns) // 2
        self._unset = False
        self._set_to(*divmod(self._clock.realtime_ns() + self._lead_ns, SECOND_NS))
