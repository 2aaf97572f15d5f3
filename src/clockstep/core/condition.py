"""What the condition ClockProblem says of a Node's clock, coarse enough to hold for more than one look. Pure.

Its message names its writer, because Kubernetes keeps no author of a condition.
"""

import re
from dataclasses import dataclass, replace

from clockstep.core.checks import measured
from clockstep.model import Decision, Episode, KubeCondition, Offset, Verdict
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, show_duration

IN_BOUNDS, OUT_OF_BOUNDS, UNSURE = "ClockInBounds", "ClockOutOfBounds", "ClockUnsure"
"""The condition's reasons."""
STATUS = {IN_BOUNDS: "False", OUT_OF_BOUNDS: "True", UNSURE: "Unknown"}
"""The status that each reason goes with: problem polarity."""
PLACES = (
    *(10**digits for digits in range(10)),
    *(10 * SECOND_NS, MINUTE_NS, 10 * MINUTE_NS, HOUR_NS),
    *(10**digits * DAY_NS for digits in range(7)),
)
"""What coarse offsets are multiples of: each is a round number to read."""
VAGUER = 10
"""A bound that could be this many times as narrow is said anew."""
NOTES = {
    Decision.CONSENT: "a step needs {option}",
    Decision.REFUSED: "stepped again and again, something else sets it",
    Decision.LEAVE: "left to its time daemon",
}
"""What stands against a correction."""
HELD = "not stepped, because the hypervisor's clock and the time sources contradict each other"
"""What stands against one of an agent's, whose finding is `held`."""
WRITTEN_BY = re.compile(r" \(clockstep (?P<writer>[a-z]+@[A-Za-z0-9._-]{1,253})\)$")


@dataclass(frozen=True, slots=True)
class ClockState:
    """What is said of a clock; `offset` is coarse, and None if the reason says all there is.

    `note` is the rest of the sentence: what stands against a correction, or why nothing is known.
    """

    reason: str
    tolerance_ns: int
    offset: Offset | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The state in one sentence."""
        tolerance = f"± {show_duration(self.tolerance_ns)}"
        if self.reason == IN_BOUNDS:
            return f"offset within {tolerance}"
        if self.offset is None:
            return self.note
        beyond = "beyond" if self.reason == OUT_OF_BOUNDS else "not surely within"
        return f"offset {shown(self.offset)}, {beyond} {tolerance}{f'; {self.note}' if self.note else ''}"


def clock_state(episode: Episode, tolerance_ns: int, before: ClockState | None = None) -> ClockState:
    """Return what is to be said after this look; what was said `before`, as long as that holds."""
    offset = measured(episode.facts)
    reason = _reason(episode.verdict, offset, tolerance_ns)
    if reason == IN_BOUNDS:
        return ClockState(reason, tolerance_ns)
    now = ClockState(reason, tolerance_ns, coarse(offset) if offset else None, _note(episode, offset))
    return before if before and offset and _holds(before, now, offset) else now


def condition(state: ClockState, writer: str, now_ns: int, before: KubeCondition | None) -> KubeCondition:
    """Return the condition as this writer writes it now, by the reference; its status has changed now if it is another.

    `before` is the condition as the Node has it; None if it has none.
    """
    status = STATUS[state.reason]
    kept_ns = before.changed_ns if before and before.status == status else None
    message = f"{state.text} (clockstep {writer})"
    return KubeCondition(status, state.reason, message, now_ns, now_ns if kept_ns is None else kept_ns)


def writer_name(role: str, host: str) -> str:
    """Return how a writer is called in the conditions that it writes, as `watch@kvm1`."""
    return f"{role}@{re.sub('[^A-Za-z0-9._-]', '-', host)[:253] or 'localhost'}"


def writer_of(written: KubeCondition) -> str:
    """Return who wrote a condition; empty if it was not clockstep."""
    found = WRITTEN_BY.search(written.message)
    return found["writer"] if found else ""


def coarse(offset: Offset) -> Offset:
    """Return an interval of about two digits that has this one in it, and half as much again to either side."""
    error_ns = offset.error_ns * 3 // 2
    place = _place(max(abs(offset.value_ns), error_ns))
    value_ns = (offset.value_ns + place // 2) // place * place
    error_ns += abs(offset.value_ns - value_ns)
    place = max(place, _place(error_ns))
    return Offset(value_ns, max(1, -(-error_ns // place)) * place)


def _place(largest_ns: int) -> int:
    """Return what a length of time is a multiple of where it has two digits."""
    return max((place for place in PLACES if place * 10 <= largest_ns), default=1)


def shown(offset: Offset) -> str:
    """Print a coarse offset with its bound: `-36 s ± 1 s`."""
    sign = "-" if offset.value_ns < 0 else "+"
    value = f"{sign}{show_duration(abs(offset.value_ns))}" if offset.value_ns else "0 s"
    return f"{value} ± {show_duration(offset.error_ns)}"


def _holds(before: ClockState, now: ClockState, offset: Offset) -> bool:
    """Whether what was said before is true of this offset too, and not much vaguer than it need be."""
    said = before.offset
    if said is None or now.offset is None or replace(before, offset=now.offset) != now:
        return False
    inside = said.earliest_ns <= offset.earliest_ns and offset.latest_ns <= said.latest_ns
    return inside and said.error_ns < VAGUER * now.offset.error_ns


def _reason(verdict: Verdict, offset: Offset | None, tolerance_ns: int) -> str:
    """Return what a look says of the clock alone: that its daemon is not in sync is a bad verdict, too."""
    if verdict is Verdict.GOOD or (verdict is Verdict.BAD and offset and offset.surely_within(tolerance_ns)):
        return IN_BOUNDS
    return OUT_OF_BOUNDS if verdict is Verdict.BAD and offset else UNSURE


def _note(episode: Episode, offset: Offset | None) -> str:
    """Return what else is to be said: nothing that another look alone would change."""
    if episode.facts.reference_moved_ns:
        return "the clock that it is compared with was set meanwhile"
    if offset is None:
        return "the clock could not be read"
    if any(finding.check == "held" for finding in episode.findings):
        return HELD
    return NOTES.get(episode.decision, "").format(option=episode.consent)
