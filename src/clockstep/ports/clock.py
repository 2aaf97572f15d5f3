"""How time passes."""

from typing import Protocol


class Clock(Protocol):
    """The clocks that durations come from, which nobody sets."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, which continues while the host sleeps."""

    def sleep_ns(self, duration_ns: int) -> None:
        """Wait."""
