"""Putting several guests back to one snapshot, with none of them running on before all are back.

Members with different pasts must not meet (etcd, Ceph): when one cannot be reverted, those that were stay paused.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from clockstep.core.certificates import guessed, lapsed
from clockstep.core.plan import SLACK_NS
from clockstep.core.summary import summarise
from clockstep.core.targets import Scope
from clockstep.errors import ClockstepError, UsageError
from clockstep.flows.aftercare import NO_AFTERCARE, Cluster
from clockstep.flows.freeze import Freezer
from clockstep.flows.hold import Failures, Hold
from clockstep.flows.sets import LISTING_NS, Listing, objections, refuse_changed, sought
from clockstep.flows.snapshot import RUN_ON
from clockstep.flows.step import Pass, find_ways, nodes
from clockstep.loop.episodes import troubled
from clockstep.loop.fleet import side_by_side
from clockstep.loop.prove import prove
from clockstep.loop.settle import settle
from clockstep.model import (
    Cause,
    ClusterPolicy,
    Episode,
    Freeze,
    Guest,
    Member,
    NodeCertificates,
    Outcome,
    Policy,
    SetReport,
    Snapshot,
)
from clockstep.ports import Reference, World
from clockstep.units import MINUTE_NS, show_duration

APART_NS = MINUTE_NS
"""How far apart snapshots of other tools may have been taken before it is said."""


class Targets(NamedTuple):
    """Which guest is put back to what, and what there is to say of it before.

    `lapsed` are the certificates that come back with the snapshots and are not valid any more, or not yet.
    """

    name: str
    snapshots: dict[Guest, Snapshot]
    remarks: tuple[str, ...]
    lapsed: tuple[NodeCertificates, ...] = ()


def choose(machines: Listing, scope: Scope, name: str | None, *, require_frozen: bool = False) -> Targets:
    """Return what a revert would do.

    Raises UsageError with every reason why it cannot be done, and ClockstepError if workloads must have been frozen for
    the snapshots and were not.
    """
    snapshots, unread = sought(machines, scope, name)
    refused = side_by_side(list(snapshots), lambda guest: machines.objections(guest, snapshots[guest]), LISTING_NS)
    if reasons := objections(refused):
        raise UsageError("; ".join(reasons), "nothing was changed")
    if require_frozen and (running := unfrozen(snapshots)):
        raise ClockstepError("; ".join(running), "nothing was changed; omit --require-frozen to revert anyway")
    said = (*remarks(snapshots), *unread)
    return Targets(next(iter(snapshots.values())).name, snapshots, said)


def looked_ahead(chosen: Targets, at_ns: int) -> Targets:
    """Return the targets with what will have lapsed after the revert, when it is `at_ns` by the reference."""
    said = (*chosen.remarks, *guessed(chosen.snapshots, at_ns))
    return chosen._replace(remarks=said, lapsed=lapsed(chosen.snapshots, at_ns))


def revert(
    world: World,
    chosen: Targets,
    policy: Policy,
    *,
    keep_frozen: bool = False,
    aftercare: ClusterPolicy = NO_AFTERCARE,
) -> SetReport:
    """Revert all to paused, resume all at once, and bring every clock right; then wait for the Kubernetes cluster.

    Workloads that were frozen for the snapshot are thawed on each node as soon as its clock is proven; where it cannot
    be, they are held if `keep_frozen`, and otherwise for their lease.

    Raises, before anything is touched, BusyError where another clockstep works on one of them, UsageError where the
    snapshots are not as they were when they were chosen, and KubernetesError where Nodes cannot be cordoned.
    """
    guests = list(chosen.snapshots)
    find_ways(world, guests)
    with Cluster(world, guests, aftercare, f"revert to {chosen.name}", reverting=True) as cluster:
        with world.locks.hold(guests, policy.deadline_ns):
            refuse_changed(world.hypervisor, chosen.snapshots)
            cluster.cordon()
            report = _reverted(world, chosen, policy, keep_frozen=keep_frozen)
        cluster.wait(report.episodes, policy.tolerance_ns)
    return replace(report, cluster=cluster.state)


def _reverted(world: World, chosen: Targets, policy: Policy, *, keep_frozen: bool) -> SetReport:
    guests, hold, freezer = list(chosen.snapshots), Hold(world, list(chosen.snapshots), "revert"), Freezer(world)

    def correct(guest: Guest, work: Pass) -> Episode:
        run = work.begin(guest, hold.resume(guest))
        if prove(run):
            freezer.thaw(guest, run)
        return settle(run)

    with _finished(world, hold, chosen):
        world.tell("", f"reverting to {chosen.name}")
        if failed := hold.revert_all(chosen.snapshots):
            return _report(world, chosen, failed)
        hold.release()
        world.tell("", RUN_ON)
        freezer.adopt(chosen.snapshots)
        causes = {guest: _cause(snapshot, world.reference) for guest, snapshot in chosen.snapshots.items()}
        with freezer.kept(hold=keep_frozen), nodes(world, guests) as node:
            episodes, left = hold.correct_all(causes, policy, node, correct)
        return _report(world, chosen, {}, left, episodes, freezer.report())


def _report(
    world: World,
    chosen: Targets,
    failed: Failures,
    left: Failures | None = None,
    episodes: tuple[Episode, ...] = (),
    freezes: tuple[Freeze, ...] = (),
) -> SetReport:
    members = tuple(_member(guest, failed, left or {}) for guest in chosen.snapshots)
    snapshot, complete = combined(chosen.snapshots), not failed and not left
    return SetReport(
        world.host,
        snapshot,
        complete,
        members,
        episodes,
        remarks=chosen.remarks,
        freezes=freezes,
        summary=summarise(episodes),
        lapsed=chosen.lapsed,
    )


@contextmanager
def _finished(world: World, hold: Hold, chosen: Targets) -> Iterator[None]:
    """Finish the revert if anything ends it early."""
    try:
        yield
    except BaseException:
        _interrupted(world, hold, chosen)
        raise


def _interrupted(world: World, hold: Hold, chosen: Targets) -> None:
    """Put the rest back too, since a part of a cluster is worse than all; all run on where all are back."""
    world.tell("", "interrupted; finishing the revert first, because a partial one would be worse")
    if not hold.revert_all(chosen.snapshots):
        hold.release()
        hold.resume_all()
        frozen = any(snapshot.frozen for snapshot in chosen.snapshots.values())
        command = "thaw" if frozen else "step"
        world.tell("", f"all were reverted and resumed, with clocks still off: run clockstep {command}")
    else:
        world.tell("", "reverted nodes stay paused: run clockstep revert again, or clockstep resume --mixed")


def remarks(snapshots: Mapping[Guest, Snapshot]) -> list[str]:
    """Return what whoever reverts should know of the snapshots."""
    created = [snapshot.created_ns for snapshot in snapshots.values()]
    apart_ns = max(created) - min(created)
    said = [
        f"{guest.name}: its snapshot has no memory state, so it boots"
        for guest in snapshots
        if not snapshots[guest].memory
    ]
    if apart_ns > APART_NS:
        said.append(
            f"the snapshots were taken {show_duration(apart_ns)} apart: the nodes disagree about each other's state"
        )
    return said


def unfrozen(snapshots: Mapping[Guest, Snapshot]) -> list[str]:
    """Return what a revert cannot promise, because a snapshot was taken of workloads that were running.

    To freeze them after the resume takes longer than to step the clock, so it is not done.
    """
    return [
        f"{guest.name}: its workloads were not frozen for this snapshot, so they run with a late clock until the step"
        for guest, snapshot in snapshots.items()
        if snapshot.memory and not snapshot.frozen
    ]


def combined(snapshots: Mapping[Guest, Snapshot]) -> Snapshot:
    """Return the one snapshot that the guests' own ones make up."""
    first = min(snapshots.values(), key=lambda snapshot: snapshot.created_ns)
    return Snapshot(first.name, first.created_ns, first.set_id, first.members)


def _cause(snapshot: Snapshot, reference: Reference) -> Cause:
    age = max(0, reference.now().at_ns - snapshot.created_ns)
    return Cause("reverted", age + SLACK_NS, detail=snapshot.name)


def _member(guest: Guest, failed: Failures, left: Failures) -> Member:
    if guest in failed:
        return Member(guest.name, Outcome.NOT_REVERTED, troubled(failed[guest]))
    if guest in left:
        return Member(guest.name, Outcome.HELD, troubled(left[guest]))
    return Member(guest.name, Outcome.HELD if failed else Outcome.REVERTED)
