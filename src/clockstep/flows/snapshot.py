"""Taking a snapshot of several guests as one, and listing what there is.

A snapshot needs a pause, and a pause leaves a clock behind. So the clocks are brought right again afterwards, as after
a revert.
"""

from collections.abc import Mapping, Sequence
from uuid import uuid4

from clockstep.errors import ClockstepError, UsageError
from clockstep.fleet import side_by_side
from clockstep.flows.hold import SNAPSHOT_NS, Hold
from clockstep.flows.step import step
from clockstep.heal import troubled
from clockstep.model import (
    Cause,
    Guest,
    Member,
    Outcome,
    Policy,
    SetReport,
    Snapshot,
    SnapshotList,
    SnapshotSet,
)
from clockstep.ports import Hypervisor, World
from clockstep.units import MINUTE_NS, SECOND_NS

LISTING_NS = 30 * SECOND_NS
SLACK_NS = MINUTE_NS
"""What a clock may be behind beyond what is known: it need not have been quite right before."""

Found = Mapping[Guest, Sequence[Snapshot]]


def create(world: World, guests: Sequence[Guest], name: str, policy: Policy) -> SetReport:
    """Pause all, snapshot all, resume all at once, and bring every clock right; all or none have the snapshot then.

    Raises UsageError, before anything is touched, for a guest that does not run or has a snapshot of that name, and
    BusyError for one that another clockstep works on.
    """
    with world.locks.hold(guests, policy.deadline_ns):
        return _create(world, guests, name, policy)


def _create(world: World, guests: Sequence[Guest], name: str, policy: Policy) -> SetReport:
    refuse_unfit(guests, name, found(world.hypervisor, guests))
    hold = Hold(world.hypervisor, guests, world.clock)
    try:
        troubles = hold.pause_all()
        spread = hold.spread_ns()
        snapshot = Snapshot(name, world.clock.realtime_ns(), uuid4().hex, tuple(guest.name for guest in guests))
        if spread is not None:
            troubles = hold.snapshot_all(snapshot)
        cause = Cause("paused for a snapshot", world.clock.monotonic_ns() - hold.since_ns() + SLACK_NS)
        episodes = step(world, dict.fromkeys(guests, cause), policy, hold.resume)
    except BaseException:
        world.tell("", "resuming what was paused; run clockstep step then, because the pause left clocks behind")
        raise
    finally:
        hold.resume_all()
    failed = {member: error for member, error in troubles.items() if isinstance(error, ClockstepError)}
    if failed and spread is not None:
        taken = [guest for guest in guests if guest.name not in failed]
        side_by_side(taken, lambda guest: world.hypervisor.forget(guest, name), SNAPSHOT_NS)
    members = tuple(_member(guest, failed) for guest in guests)
    return SetReport(world.host, snapshot, not failed, members, episodes, spread)


def listing(hypervisor: Hypervisor) -> SnapshotList:
    """Return all sets of snapshots, oldest first, and those of other tools, each by its name."""
    snapshots = side_by_side(hypervisor.guests(), hypervisor.snapshots, LISTING_NS)
    unread = tuple(
        Member(name, Outcome.UNREAD, troubled(result))
        for name, result in snapshots.items()
        if isinstance(result, ClockstepError)
    )
    groups: dict[tuple[str, str | None], dict[str, Snapshot]] = {}
    for guest, result in snapshots.items():
        for snapshot in () if isinstance(result, ClockstepError) else result:
            groups.setdefault((snapshot.name, snapshot.set_id), {})[guest] = snapshot
    sets = [_set(name, set_id, present) for (name, set_id), present in groups.items()]
    return SnapshotList(tuple(sorted(sets, key=lambda one: one.created_ns)), unread)


def found(hypervisor: Hypervisor, guests: Sequence[Guest]) -> Found:
    """Return the snapshots of each guest; raises the first error met, because an unknown one could be in the way."""
    results = side_by_side(guests, hypervisor.snapshots, LISTING_NS)
    snapshots: dict[Guest, Sequence[Snapshot]] = {}
    for guest in guests:
        result = results[guest.name]
        if isinstance(result, ClockstepError):
            raise result
        snapshots[guest] = result
    return snapshots


def refuse_unfit(guests: Sequence[Guest], name: str, snapshots: Found) -> None:
    """Raise UsageError where a guest cannot take part, with every reason in a sentence."""
    reasons = [f"{guest.name} is {guest.state}, not running" for guest in guests if guest.state != "running"]
    named = [guest.name for guest in guests if any(snapshot.name == name for snapshot in snapshots[guest])]
    reasons += [f"{guest} has a snapshot {name!r} already" for guest in named]
    if reasons:
        raise UsageError("; ".join(reasons), "nothing was touched; choose other nodes or another name")


def _member(guest: Guest, failed: Mapping[str, ClockstepError]) -> Member:
    if guest.name in failed:
        return Member(guest.name, Outcome.NOT_TAKEN, troubled(failed[guest.name]))
    return Member(guest.name, Outcome.NOT_TAKEN if failed else Outcome.TAKEN)


def _set(name: str, set_id: str | None, present: Mapping[str, Snapshot]) -> SnapshotSet:
    first = next(iter(present.values()))
    members = first.members if first.members is not None else tuple(sorted(present))
    created = min(snapshot.created_ns for snapshot in present.values())
    return SnapshotSet(name, set_id, created, members, tuple(sorted(present)), set(members) <= set(present))
