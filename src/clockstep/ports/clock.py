"""The clocks of the host."""

from typing import Protocol


class Clock(Protocol):
    """This machine's clocks: the truth that nodes are compared with, and the one that durations come from."""

    def realtime_ns(self) -> int:
        """Return CLOCK_REALTIME."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, which goes on while this machine sleeps."""

    def sleep_ns(self, duration_ns: int) -> None:
        """Wait."""
