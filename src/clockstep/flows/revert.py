"""Putting several guests back to one snapshot, with none of them running on before all are back.

Members with different pasts must not meet (etcd, Ceph): when one cannot be reverted, those that were stay paused.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clockstep.errors import UsageError
from clockstep.fleet import side_by_side
from clockstep.flows.hold import Failures, Hold
from clockstep.flows.snapshot import LISTING_NS, RUN_ON, SLACK_NS, Found, found, objections
from clockstep.flows.step import step
from clockstep.heal import troubled
from clockstep.model import Cause, Episode, Guest, Member, Outcome, Policy, SetReport, Snapshot
from clockstep.ports import Clock, Hypervisor, World
from clockstep.units import MINUTE_NS, show_duration

APART_NS = MINUTE_NS
"""How far apart snapshots of other tools may have been taken before it is said."""


class Targets(NamedTuple):
    """Which guest is put back to what, and what there is to say of it before."""

    name: str
    snapshots: dict[Guest, Snapshot]
    remarks: tuple[str, ...]


def choose(hypervisor: Hypervisor, guests: Sequence[Guest] | None, name: str | None) -> Targets:
    """Return what a revert would do, of these guests or else of all that are recorded in the snapshot.

    Without a name it is the newest set that clockstep has taken. Raises UsageError with every reason why it cannot be.
    """
    everyone = found(hypervisor, hypervisor.guests())
    name = name or newest(everyone, guests)
    chosen = members_of(name, everyone) if guests is None else guests
    snapshots = aimed(name, {guest: everyone[guest] for guest in everyone if guest in set(chosen)})
    refused = side_by_side(chosen, lambda guest: hypervisor.objections(guest, snapshots[guest]), LISTING_NS)
    if reasons := objections(refused):
        raise UsageError("; ".join(reasons), "nothing was touched")
    return Targets(name, snapshots, tuple(remarks(snapshots)))


def revert(world: World, targets: Targets, policy: Policy) -> SetReport:
    """Revert all to paused, resume all at once, and bring every clock right.

    Raises BusyError, before anything is touched, where another clockstep works on one of them.
    """
    guests = list(targets.snapshots)
    with world.locks.hold(guests, policy.deadline_ns):
        hold = Hold(world, guests, "revert")
        try:
            return _revert(world, hold, targets, policy)
        except BaseException:
            _interrupted(world, hold, targets)
            raise


def _revert(world: World, hold: Hold, targets: Targets, policy: Policy) -> SetReport:
    world.tell("", f"reverting to {targets.name}")
    failed = hold.revert_all(targets.snapshots)
    episodes: tuple[Episode, ...] = ()
    if not failed:
        hold.release()
        world.tell("", RUN_ON)
        causes = {guest: _cause(snapshot, world.clock) for guest, snapshot in targets.snapshots.items()}
        episodes = step(world, causes, policy, hold.resume)
    members = tuple(_member(guest, failed) for guest in targets.snapshots)
    snapshot = combined(targets.snapshots)
    return SetReport(world.host, snapshot, not failed, members, episodes, remarks=targets.remarks)


def _interrupted(world: World, hold: Hold, targets: Targets) -> None:
    """Put the rest back too, since a part of a cluster is worse than all; all run on where all are back."""
    world.tell("", "interrupted; the revert is brought to its end first, since a part of it would be worse")
    if not hold.revert_all(targets.snapshots):
        hold.release()
        hold.resume_all()
        world.tell("", "all were put back and run on, with wrong clocks: run clockstep step")
    else:
        world.tell("", "what was put back stays paused: run clockstep revert again, or clockstep resume --mixed")


def newest(snapshots: Found, guests: Sequence[Guest] | None) -> str:
    """Return the name of the newest set, of these guests where some are given.

    Raises UsageError where there is none.
    """
    among = snapshots if guests is None else {guest: snapshots[guest] for guest in guests}
    ours = [snapshot for listed in among.values() for snapshot in listed if snapshot.set_id is not None]
    if not ours:
        raise UsageError("no snapshot was taken by clockstep", "name one; clockstep snapshot list shows what there is")
    return max(ours, key=lambda snapshot: snapshot.created_ns).name


def members_of(name: str, snapshots: Found) -> list[Guest]:
    """Return every guest that has the snapshot or belongs to its set; raises UsageError for a member that is gone."""
    guests = {guest.name: guest for guest in snapshots}
    wanted: set[str] = set()
    for guest, listed in snapshots.items():
        for snapshot in listed:
            if snapshot.name == name:
                wanted |= {guest.name, *(snapshot.members or ())}
    if not wanted:
        raise UsageError(f"no node has a snapshot {name!r}", "clockstep snapshot list shows what there is")
    if gone := sorted(wanted - set(guests)):
        text = f"{name!r} is a snapshot of {', '.join(gone)} too, and there is no such node"
        raise UsageError(text, "name the nodes to revert those alone")
    return [guest for guest in guests.values() if guest.name in wanted]


def aimed(name: str, snapshots: Found) -> dict[Guest, Snapshot]:
    """Return which snapshot each guest is put back to; raises UsageError with every reason why one cannot be."""
    targets = {guest: snapshot for guest, listed in snapshots.items() for snapshot in listed if snapshot.name == name}
    if missing := [guest.name for guest in snapshots if guest not in targets]:
        text = f"no snapshot {name!r}: {', '.join(missing)}"
        raise UsageError(text, "nothing was touched; clockstep snapshot list shows what there is")
    if len({snapshot.set_id for snapshot in targets.values()}) > 1:
        text = f"the snapshots {name!r} of these nodes were not taken together"
        raise UsageError(text, "nothing was touched; clockstep snapshot list shows which belong together")
    return targets


def remarks(targets: Mapping[Guest, Snapshot]) -> list[str]:
    """Return what whoever reverts should know of the snapshots."""
    created = [snapshot.created_ns for snapshot in targets.values()]
    apart_ns = max(created) - min(created)
    said = [
        f"{guest.name}: without memory in its snapshot it boots anew" for guest in targets if not targets[guest].memory
    ]
    if apart_ns > APART_NS:
        said.append(
            f"the snapshots were taken {show_duration(apart_ns)} apart: what the nodes know of each other differs"
        )
    return said


def combined(targets: Mapping[Guest, Snapshot]) -> Snapshot:
    """Return the one snapshot that the guests' own ones make up."""
    first = min(targets.values(), key=lambda snapshot: snapshot.created_ns)
    return Snapshot(first.name, first.created_ns, first.set_id, first.members)


def _cause(snapshot: Snapshot, clock: Clock) -> Cause:
    age = max(0, clock.realtime_ns() - snapshot.created_ns)
    return Cause(f"reverted to snapshot {snapshot.name}", age + SLACK_NS)


def _member(guest: Guest, failed: Failures) -> Member:
    if guest.name in failed:
        return Member(guest.name, Outcome.NOT_REVERTED, troubled(failed[guest.name]))
    return Member(guest.name, Outcome.HELD if failed else Outcome.REVERTED)
