"""What happens to the host itself: it sleeps, and its clock is set."""

from clockstep.core.offset import sandwich
from clockstep.core.plan import SLACK_NS
from clockstep.model import Cause, Offset
from clockstep.ports import Clock, Reference, Tell
from clockstep.units import SECOND_NS, show_duration

SLEPT_NS = SECOND_NS


class Host:
    """The host's clocks, as they were when they were last looked at."""

    def __init__(self, clock: Clock, reference: Reference, tell: Tell) -> None:
        self._clock = clock
        self._reference = reference
        self._tell = tell
        self._anchor = reference.anchor()
        self._asleep = slept(clock)

    def host_changed(self) -> tuple[Cause | None, int]:
        """Return why all guests are looked at now: the host has slept, or its clock was set, and then by how much."""
        asleep, anchor = slept(self._clock), self._anchor
        away_ns = asleep - self._asleep
        self._asleep = asleep
        if away_ns > SLEPT_NS:
            self._anchor = self._reference.anchor()
            self._tell("", f"this host has slept for {show_duration(away_ns)}")
            return Cause("host-woke", away_ns + SLACK_NS), 0
        if moved_ns := self._reference.moved_since(anchor):
            self._anchor = self._reference.anchor()
            self._tell("", f"this host's clock was set by {show_duration(abs(moved_ns))}")
            return Cause("host-clock-set"), moved_ns
        return None, 0


def slept(clock: Clock) -> int:
    """Return for how long the host has slept since it was booted, in nanoseconds."""
    offset: Offset = sandwich(clock.monotonic_ns(), clock.boottime_ns(), clock.monotonic_ns())
    return offset.value_ns
