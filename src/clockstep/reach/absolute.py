"""Setting a clock to a time, where a node cannot be made to add to it: late by its own latency, so that is learned.

The least latency seen so far is what the next one leads by: more would put the clock ahead.
"""

from collections.abc import Callable

from clockstep.ports import Clock
from clockstep.units import SECOND_NS


class AbsoluteSet:
    """`set_to` makes a node's clock say this many seconds and nanoseconds since 1970, as soon as it can."""

    def __init__(self, set_to: Callable[[int, int], None], clock: Clock) -> None:
        self._set_to = set_to
        self._clock = clock
        self._lead_ns: int | None = None

    def __call__(self, by_ns: int) -> None:
        """Set the clock to now. `by_ns` is how far it was off: after a first set, that is how late the set came."""
        self._lead_ns = self._learned(by_ns)
        self._set_to(*divmod(self._clock.realtime_ns() + self._lead_ns, SECOND_NS))

    def _learned(self, by_ns: int) -> int:
        if self._lead_ns is None or abs(by_ns) > SECOND_NS:
            return 0
        latency = max(0, self._lead_ns + by_ns)
        return min(self._lead_ns, latency) if self._lead_ns else latency
