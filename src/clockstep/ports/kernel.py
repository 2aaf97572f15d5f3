"""This machine's wall clock, as its kernel has it."""

from typing import Protocol


class Kernel(Protocol):
    """The system calls that read the wall clock and move it; only what is made to may move it."""

    def realtime_ns(self) -> int:
        """Return CLOCK_REALTIME."""

    def raw_ns(self) -> int:
        """Return CLOCK_MONOTONIC_RAW, which no daemon slews."""

    def tick_us(self) -> int:
        """Return the length of a tick, 10,000 if no daemon slews by it (adjtimex(2)). Raises OSError."""

    def add(self, by_ns: int, *, reset_tick: bool) -> None:
        """Move CLOCK_REALTIME by that at once, and make the tick its nominal length too. Raises OSError."""
