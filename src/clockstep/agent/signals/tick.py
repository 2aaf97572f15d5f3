"""A tick that did not come: this machine stood still while its own clocks went on, or slept."""

from clockstep.model import Happening, What
from clockstep.ports import Clock
from clockstep.units import SECOND_NS

STOPPED_NS = SECOND_NS
"""Longer than a busy machine keeps a process from running, mostly; a false alarm costs one look."""


class TickSignal:
    """Compares each tick with the one before, by CLOCK_MONOTONIC and by CLOCK_BOOTTIME, which counts sleep."""

    name = "tick"
    sees = "a machine that slept, and a stop during which its own counter went on"
    blind = "reverts, and pauses after which the counter resumes where it was"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = self._now()
        self.trouble = ""

    def wakes(self) -> int | None:
        """Return nothing."""
        return None

    def check(self, now_ns: int) -> Happening | None:
        """Compare with the last tick."""
        last, self._last = self._last, self._now()
        stopped = max(now - then for now, then in zip(self._last, last, strict=True)) > STOPPED_NS
        return Happening("", What.RESUMED, now_ns) if stopped else None

    def _now(self) -> tuple[int, int]:
        return self._clock.monotonic_ns(), self._clock.boottime_ns()

    def close(self) -> None:
        """Let go of nothing."""
