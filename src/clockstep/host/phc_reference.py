"""The hypervisor's clock as what this machine is compared with."""

from dataclasses import dataclass

from clockstep.core.anchoring import anchored, moved_between
from clockstep.core.offset import widened
from clockstep.host.phc import Phc
from clockstep.model import HostClock, Offset
from clockstep.ports import Instant, Kernel

APART_PPM = 1000
"""By how much two clocks may part that no daemon slews alike: CLOCK_MONOTONIC_RAW here, the host's wall clock there."""


@dataclass(frozen=True, slots=True)
class Anchor(Offset):
    """How far a clock was from CLOCK_MONOTONIC_RAW, and when by that."""

    at_ns: int = 0


class PhcReference:
    """A PHC that is `ahead_ns` of UTC: 0, or TAI's 37 s.

    `host_error_ns` is how far the host's clock itself may be off, where that is known. None is not a bound: then a
    reading's error is against the host, as everywhere else in clockstep.
    """

    name = "phc"

    def __init__(self, phc: Phc, kernel: Kernel, ahead_ns: int = 0, host_error_ns: int | None = None) -> None:
        self._phc = phc
        self._kernel = kernel
        self._ahead_ns = ahead_ns
        self._host_error_ns = host_error_ns

    def now(self) -> Instant:
        """Return the PHC's time as UTC. Raises PhcError."""
        offset = self._phc.offset()
        at_ns = self._kernel.realtime_ns() - offset.value_ns - self._ahead_ns
        return Instant(at_ns, offset.error_ns + (self._host_error_ns or 0))

    def anchor(self) -> Anchor:
        """Return how far the PHC is from CLOCK_MONOTONIC_RAW; the host's own error is no part of that."""
        before_ns, now = self._kernel.raw_ns(), self.now()
        after_ns = self._kernel.raw_ns()
        apart = widened(anchored(before_ns, now.at_ns, after_ns), now.error_ns - (self._host_error_ns or 0))
        return Anchor(apart.value_ns, apart.error_ns, after_ns)

    def moved_since(self, anchor: Offset) -> int:
        """Return by how many nanoseconds the PHC was set, or this machine stood still, since an anchor was taken."""
        now = self.anchor()
        elapsed_ns = now.at_ns - (anchor.at_ns if isinstance(anchor, Anchor) else now.at_ns)
        return moved_between(anchor, widened(now, elapsed_ns * APART_PPM // 10**6))

    def quality(self) -> HostClock:
        """Return what is known of the host's clock: nothing, unless somebody has said its error."""
        return HostClock(self._host_error_ns is not None, self._host_error_ns or 0)
