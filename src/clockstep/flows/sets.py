"""Which snapshots there are, and how the guests that have them stand: what is known before anything is touched."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from clockstep.core.targets import Found, Scope, targets
from clockstep.errors import ClockstepError, UsageError
from clockstep.loop.episodes import troubled
from clockstep.loop.fleet import failures, side_by_side
from clockstep.model import Guest, Member, NodeCertificates, Outcome, Pause, Snapshot, SnapshotList, SnapshotSet
from clockstep.ports import Machines, Snapshots
from clockstep.units import SECOND_NS

LISTING_NS = 30 * SECOND_NS


class Listing(Machines, Snapshots, Protocol):
    """Machines that are listed with their snapshots."""


def having(machines: Listing, scope: Scope, name: str) -> dict[Guest, Snapshot]:
    """Return which guests' snapshots a deletion is about; raises UsageError where that is unclear or none."""
    return sought(machines, scope, name, whole=False)[0]


def sought(
    machines: Listing, scope: Scope, name: str | None, *, whole: bool = True
) -> tuple[dict[Guest, Snapshot], tuple[str, ...]]:
    """Return what `targets` does of the snapshots that there are, and whose cannot be listed, in sentences.

    Of named guests only theirs are listed, and one whose cannot be stops nothing that it is no part of.
    """
    guests = scope.named or tuple(machines.guests())
    results = side_by_side(guests, machines.snapshots, LISTING_NS)
    listed = {guest: () if isinstance(one := results[guest], ClockstepError) else one for guest in guests}
    unread = tuple(
        f"{guest.name}: its snapshots cannot be listed: {error.message}" for guest, error in failures(results).items()
    )
    try:
        return targets(listed, name, scope, whole=whole), unread
    except UsageError as error:
        raise UsageError("; ".join([error.message, *unread]), error.hint) from error


def listing(machines: Listing) -> SnapshotList:
    """Return all sets of snapshots, oldest first, and those of other tools, each by its name."""
    guests = machines.guests()
    names = {guest.recorded: guest.name for guest in guests}
    snapshots = side_by_side(guests, machines.snapshots, LISTING_NS)
    unread = tuple(
        Member(guest.name, Outcome.UNREAD, troubled(result))
        for guest, result in snapshots.items()
        if isinstance(result, ClockstepError)
    )
    groups: dict[tuple[str, str | None], dict[str, Snapshot]] = {}
    for guest, result in snapshots.items():
        for snapshot in () if isinstance(result, ClockstepError) else result:
            groups.setdefault((snapshot.name, snapshot.set_id), {})[guest.name] = snapshot
    sets = [_set(name, set_id, present, names) for (name, set_id), present in groups.items()]
    return SnapshotList(tuple(sorted(sets, key=lambda one: one.created_ns)), unread)


def fresh(machines: Machines, guests: Sequence[Guest]) -> list[Guest]:
    """Return these guests as they are now: time has passed since they were listed. Raises UsageError for one gone."""
    now = {guest.key: guest for guest in machines.guests()}
    if gone := [guest.name for guest in guests if guest.key not in now]:
        raise UsageError(f"{', '.join(gone)}: no longer found", "nothing was changed")
    return [now[guest.key] for guest in guests]


def refuse_changed(snapshots: Snapshots, chosen: Mapping[Guest, Snapshot]) -> None:
    """Raise UsageError where a snapshot is gone or another by now: time has passed since they were looked at."""
    now = {guest.key: listed for guest, listed in found(snapshots, list(chosen)).items()}
    if changed := [guest.name for guest, snapshot in chosen.items() if snapshot not in now[guest.key]]:
        text = f"the snapshot of {', '.join(changed)} has changed in the meantime"
        raise UsageError(text, "nothing was changed; run it again")


def found(having: Snapshots, guests: Sequence[Guest]) -> Found:
    """Return the snapshots of each guest; raises the first error met, because an unknown one could be in the way."""
    results = side_by_side(guests, having.snapshots, LISTING_NS)
    snapshots: dict[Guest, Sequence[Snapshot]] = {}
    for guest in guests:
        result = results[guest]
        if isinstance(result, ClockstepError):
            raise result
        snapshots[guest] = result
    return snapshots


def objections(asked: Mapping[Guest, Sequence[str] | ClockstepError]) -> list[str]:
    """Return all that was said against a piece of work, with the guests' names, an error of asking included."""
    said = {guest: [one.message] if isinstance(one, ClockstepError) else one for guest, one in asked.items()}
    return [f"{guest.name}: {reason}" for guest, reasons in said.items() for reason in reasons]


def outcomes(
    guests: Sequence[Guest], failed: Mapping[Guest, ClockstepError], bad: Outcome, good: Outcome
) -> tuple[Member, ...]:
    """Return what work came to for each guest."""
    return tuple(
        Member(guest.name, bad, troubled(failed[guest])) if guest in failed else Member(guest.name, good)
        for guest in guests
    )


def standing(guest: Guest, pauses: Mapping[str, Pause]) -> str:
    """Return how a guest stands, and who has paused it."""
    if guest.state != "paused":
        return guest.state
    if guest.stuck:
        return f"paused by its hypervisor ({guest.stuck})"
    return "paused by clockstep already" if guest.uuid in pauses else "paused, and not by clockstep"


def _set(name: str, set_id: str | None, present: Mapping[str, Snapshot], names: Mapping[str, str]) -> SnapshotSet:
    """Return a set with its members by the names that are printed, `names` by those that snapshots record."""
    recorded = next(iter(present.values())).members
    members = tuple(names.get(one, one) for one in recorded) if recorded is not None else tuple(sorted(present))
    created = min(snapshot.created_ns for snapshot in present.values())
    having = sorted(present)
    certificates = tuple(NodeCertificates(guest, known) for guest in having if (known := present[guest].certificates))
    return SnapshotSet(name, set_id, created, members, tuple(having), set(members) <= set(present), certificates)
