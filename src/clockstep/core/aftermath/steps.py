"""Which steps of clocks the history has: what time did not pass for a node is known by them. Pure."""

from collections.abc import Collection, Iterable

from clockstep.model import Entry, Step, What
from clockstep.model.damage import ClockStep


def steps_of(entries: Iterable[Entry], machines: Collection[str]) -> tuple[ClockStep, ...]:
    """Return the steps of these machines' clocks, but for those of which nobody knows whether they were made."""
    return tuple(
        ClockStep(
            one.episode.node, one.episode.started_at_ns, action.by_ns, one.episode.cause.kind == What.REVERTED.value
        )
        for one in entries
        if one.episode.node in machines
        for action in one.episode.actions
        if isinstance(action, Step) and not action.unconfirmed
    )
