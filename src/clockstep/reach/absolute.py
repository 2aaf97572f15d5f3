"""Setting a clock to a time, where a node cannot be made to add to it: late by its own latency, so that is learned.

The next one leads by half of what is missing to the least latency seen so far. It may come much quicker than that, and
a clock that is ahead can only be waited for: this way it is ahead by half of that latency at most.
"""

from collections.abc import Callable

from clockstep.errors import NotSteppedError, ReachError
from clockstep.ports import Clock, Reference
from clockstep.units import SECOND_NS

LIMIT_NS = 5 * SECOND_NS
"""How long a set that was not answered may yet be made: until then no other is asked for."""


class AbsoluteSet:
    """`set_to` makes a node's clock say this many seconds and nanoseconds since 1970, as soon as it can.

    It has no token, so one that was not answered is waited for: a late one would set a corrected clock back.
    """

    def __init__(self, set_to: Callable[[int, int], None], clock: Clock, reference: Reference) -> None:
        self._set_to = set_to
        self._clock = clock
        self._reference = reference
        self._lead_ns = 0
        self._least_ns: int | None = None
        self._unset = True
        self._open_until_ns = 0
        self._token = ""

    def __call__(self, by_ns: int, token: str) -> int:
        """Set the clock to now, and return `by_ns`.

        That is how far it was off: after a first set, that is how late the set came.
        """
        if token != self._token and self._clock.monotonic_ns() < self._open_until_ns:
            raise NotSteppedError("an earlier request to set this clock is still unanswered, and may still take effect")
        if not self._unset and abs(by_ns) <= SECOND_NS:
            latency_ns = max(0, self._lead_ns + by_ns)
            self._least_ns = latency_ns if self._least_ns is None else min(self._least_ns, latency_ns)
            self._lead_ns = (self._lead_ns + self._least_ns) // 2
        self._unset = False
        self._token = token
        self._open_until_ns = self._clock.monotonic_ns() + LIMIT_NS
        try:
            self._set_to(*divmod(self._reference.now().at_ns + self._lead_ns, SECOND_NS))
        except NotSteppedError:
            self._open_until_ns = 0
            raise
        self._open_until_ns = 0
        return by_ns

    def knows(self, token: str) -> bool:
        """Whether the last set was asked for under this token.

        Raises ReachError while it may be made yet.
        """
        if token == self._token and self._clock.monotonic_ns() < self._open_until_ns:
            raise ReachError("the node has not confirmed yet that it set its clock")
        return token == self._token
