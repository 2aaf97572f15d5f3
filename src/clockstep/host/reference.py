"""The host's own clock as what nodes are compared with."""

import time

from clockstep.core.anchoring import anchored, moved_between
from clockstep.host.timex import read_host_clock
from clockstep.model import HostClock, Offset
from clockstep.ports import Instant


class HostReference:
    """CLOCK_REALTIME of the machine that runs clockstep (clock_gettime(2))."""

    name = "host"

    def now(self) -> Instant:
        """Return the host's wall clock."""
        return Instant(time.time_ns())

    def anchor(self) -> Offset:
        """Return how far the wall clock is from the monotonic one."""
        return anchored(time.monotonic_ns(), time.time_ns(), time.monotonic_ns())

    def moved_since(self, anchor: Offset) -> int:
        """Return by how many nanoseconds somebody has set the wall clock since an anchor was taken; 0 for not."""
        return moved_between(anchor, self.anchor())

    def quality(self) -> HostClock:
        """Return what the kernel says of its clock; raises HostError where it does not say."""
        return read_host_clock()
