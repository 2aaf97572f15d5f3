"""This machine's clocks, as the port that everything else takes them from."""

import time

from clockstep.units import SECOND_NS


class SystemClock:
    """CLOCK_MONOTONIC, CLOCK_BOOTTIME and waiting (clock_gettime(2))."""

    def monotonic_ns(self) -> int:
        """Return the clock that no step moves, for durations."""
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        """Return the clock that goes on while this machine sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def sleep_ns(self, duration_ns: int) -> None:
        """Wait."""
        time.sleep(duration_ns / SECOND_NS)
