"""Which Events an Episode is worth, which of them are one that happened again, and which wait. Pure.

As Kubernetes' own components do it (client-go, tools/record/events_cache.go): an Event of the same words counts up, and
where many differ only in their words, all further ones are counted in one.
"""

from dataclasses import dataclass, replace

from clockstep.core.condition import IN_BOUNDS, ClockState
from clockstep.model import Episode, KubeEvent, Step
from clockstep.units import MINUTE_NS, show_duration, show_shift

STEPPED = "ClockStepped"
"""The reason of an Event for a correction; those that could not be corrected have the condition's."""
PROPOSED = "AftermathProposed"
"""The reason of an Event that proposes to look for what a wrong time has broken."""
QUIET_NS = 10 * MINUTE_NS
"""After how long an Event that happens again is a new one."""
MOST = 10
"""How many Events of one reason a Node gets within that time."""
MOST_WAITING = 1000
"""How many Events may wait for an API server that is away; of more the oldest are dropped."""
COMBINED = "(combined from similar events) "


@dataclass(frozen=True, slots=True)
class Recent:
    """An Event that may happen again, and when it was last recorded, by the monotonic clock."""

    event: KubeEvent
    last_ns: int


def events_of(node: str, episode: Episode, state: ClockState, why: str, at_ns: int) -> list[KubeEvent]:
    """Return the Events of a Node that an Episode is worth; `why` is its cause in words, `at_ns` by the reference."""
    events = []
    if steps := [one for one in episode.actions if isinstance(one, Step) and not one.unconfirmed]:
        error_ns = episode.before.error_ns if episode.before else 0
        text = f"clock stepped by {show_shift(sum(one.by_ns for one in steps), error_ns)}: {why}{_off_for(episode)}"
        events.append(KubeEvent(node, "Normal", STEPPED, text, at_ns))
    if state.reason != IN_BOUNDS:
        events.append(KubeEvent(node, "Warning", state.reason, state.text, at_ns))
    return events


def joined(recent: tuple[Recent, ...], event: KubeEvent, now_ns: int) -> tuple[Recent, ...]:
    """Return the recent Events of a Node and reason with this one as the last: it is new, or has happened again.

    Those that have not happened for a while are left out.
    """
    recent = tuple(one for one in recent if now_ns - one.last_ns < QUIET_NS)
    same = next((one for one in recent if one.event.message == event.message), None)
    if same is None and len(recent) >= MOST:
        event = replace(event, message=COMBINED + event.message.removeprefix(COMBINED))
        same = recent[-1]
    if same is None:
        return (*recent, Recent(event, now_ns))
    again = replace(event, count=same.event.count + 1, since_ns=same.event.first_ns)
    return (*(one for one in recent if one is not same), Recent(again, now_ns))


def _off_for(episode: Episode) -> str:
    if episode.wrong_for_ns is None:
        return ""
    least = "" if episode.cause.since_ns is not None else "at least "
    return f"; it was off for {least}{show_duration(episode.wrong_for_ns)}"


class Waiting:
    """Events that wait, at most `MOST_WAITING`; one that happens again while it waits only counts up."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str], tuple[Recent, ...]] = {}
        self._waiting: dict[tuple[str, str, int], KubeEvent] = {}

    def add(self, event: KubeEvent, now_ns: int) -> None:
        """Have an Event wait."""
        key = (event.node, event.reason)
        self._recent[key] = joined(self._recent.get(key, ()), event, now_ns)
        event = self._recent[key][-1].event
        self._waiting[event.node, event.reason, event.first_ns] = event
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def waiting(self, machine: str) -> list[KubeEvent]:
        """Return what waits for a machine, oldest first."""
        return [event for key, event in self._waiting.items() if key[0] == machine]

    def machines(self) -> list[str]:
        """Return for which machines something waits."""
        return list(dict.fromkeys(machine for machine, _, _ in self._waiting))

    def recorded(self, event: KubeEvent) -> None:
        """Let go of an Event, unless it has happened again meanwhile."""
        key = (event.node, event.reason, event.first_ns)
        if self._waiting.get(key) is event:
            del self._waiting[key]

    def forget(self, machine: str, *, past: bool = False) -> None:
        """Let go of what waits for a machine; with its `past`, nothing counts up any more."""
        for key in [key for key in self._waiting if key[0] == machine]:
            del self._waiting[key]
        for reason in [one for one in self._recent if past and one[0] == machine]:
            del self._recent[reason]
