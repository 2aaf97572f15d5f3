"""Putting several guests back to one snapshot, with none of them running on before all are back.

Members with different pasts must not meet (etcd, Ceph): when one cannot be reverted, those that were stay paused.
"""

from collections.abc import Mapping, Sequence

from clockstep.errors import ClockstepError, UsageError
from clockstep.fleet import side_by_side
from clockstep.flows.snapshot import SLACK_NS, Found, found
from clockstep.flows.step import step
from clockstep.heal import troubled
from clockstep.model import Cause, Guest, Member, Outcome, Policy, SetReport, Snapshot
from clockstep.ports import Clock, Hypervisor, World
from clockstep.units import MINUTE_NS

REVERT_NS = 5 * MINUTE_NS


def revert(world: World, guests: Sequence[Guest], name: str, policy: Policy) -> SetReport:
    """Revert all to paused, resume all at once, and bring every clock right.

    Raises UsageError, before anything is touched, where a guest has no such snapshot, and BusyError where another
    clockstep works on one.
    """
    with world.locks.hold(guests, policy.deadline_ns):
        return _revert(world, guests, name, policy)


def _revert(world: World, guests: Sequence[Guest], name: str, policy: Policy) -> SetReport:
    targets = aimed(name, found(world.hypervisor, guests))
    world.tell("", f"reverting to {name}")
    results = side_by_side(guests, lambda guest: world.hypervisor.revert(guest, name), REVERT_NS)
    failed = {member: error for member, error in results.items() if isinstance(error, ClockstepError)}
    members = tuple(_member(guest, failed) for guest in guests)
    if failed:
        return SetReport(world.host, combined(targets), False, members, ())
    causes = {guest: _cause(snapshot, world.clock) for guest, snapshot in targets.items()}

    def resume(guest: Guest) -> int:
        world.hypervisor.resume(guest)
        return world.clock.monotonic_ns()

    episodes = step(world, causes, policy, resume)
    return SetReport(world.host, combined(targets), True, members, episodes)


def members_of(name: str, hypervisor: Hypervisor) -> list[Guest]:
    """Return every guest that has the snapshot or belongs to its set; raises UsageError for a member that is gone."""
    guests = {guest.name: guest for guest in hypervisor.guests()}
    wanted: set[str] = set()
    for guest, snapshots in found(hypervisor, list(guests.values())).items():
        for snapshot in snapshots:
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


def combined(targets: Mapping[Guest, Snapshot]) -> Snapshot:
    """Return the one snapshot that the guests' own ones make up."""
    first = min(targets.values(), key=lambda snapshot: snapshot.created_ns)
    return Snapshot(first.name, first.created_ns, first.set_id, first.members)


def _cause(snapshot: Snapshot, clock: Clock) -> Cause:
    age = max(0, clock.realtime_ns() - snapshot.created_ns)
    return Cause(f"reverted to snapshot {snapshot.name}", age + SLACK_NS)


def _member(guest: Guest, failed: Mapping[str, ClockstepError]) -> Member:
    if guest.name in failed:
        return Member(guest.name, Outcome.NOT_REVERTED, troubled(failed[guest.name]))
    return Member(guest.name, Outcome.HELD if failed else Outcome.REVERTED)
