"""Taking a snapshot of several guests as one, and deleting it.

A snapshot needs a pause, and a pause leaves a clock behind. So the clocks are brought right again afterwards, as after
a revert.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from uuid import uuid4

from clockstep.core.names import refuse_bad_name
from clockstep.core.plan import SLACK_NS
from clockstep.core.summary import summarise
from clockstep.errors import ClockstepError, UsageError
from clockstep.flows.aftercare import NO_AFTERCARE, Cluster
from clockstep.flows.freeze import Freezer
from clockstep.flows.hold import SNAPSHOT_NS, Failures, Hold
from clockstep.flows.sets import LISTING_NS, found, fresh, objections, outcomes, refuse_changed, standing
from clockstep.flows.step import Nodes, Pass, nodes
from clockstep.loop.fleet import failures, side_by_side
from clockstep.loop.prove import prove
from clockstep.loop.settle import settle
from clockstep.model import (
    Cause,
    Certificate,
    ClusterPolicy,
    Episode,
    Guest,
    Outcome,
    Pause,
    Policy,
    SetReport,
    Snapshot,
)
from clockstep.ports import Snapshots, World
from clockstep.reach.guard import START_NS, start
from clockstep.units import SECOND_NS
from clockstep.workloads.certificates import certificates
from clockstep.workloads.freezer import has_frozen

RUN_ON = "resuming all nodes"
READING_NS = 10 * SECOND_NS
"""How long it may take to read a node's certificates."""

Certificates = dict[Guest, tuple[Certificate, ...]]


def create(
    world: World,
    guests: Sequence[Guest],
    name: str,
    policy: Policy,
    freeze: Sequence[str] | None = None,
    *,
    aftercare: ClusterPolicy = NO_AFTERCARE,
) -> SetReport:
    """Pause all, snapshot all, resume all at once, and bring every clock right; all or none have the snapshot then.

    At last it waits for the Kubernetes cluster. Where that is cordoned meanwhile, it is so in the snapshot as well, if
    that has the control plane.

    Where `freeze` is not None the workloads stand still from before the pause until the clock is proven: those in the
    cgroups that it names, or else all pods but the system's.

    What a killed run of the same has begun is brought to its end, or undone and begun anew. Raises UsageError, before
    anything is touched, for a bad name and for a guest that cannot take part, BusyError for one that another clockstep
    works on, and KubernetesError where Nodes cannot be cordoned.
    """
    refuse_bad_name(name)
    with Cluster(world, guests, aftercare, f"snapshot {name}") as cluster:
        with world.locks.hold(guests, policy.deadline_ns):
            guests = fresh(world.hypervisor, guests)
            if begun := _begun(world, guests, name):
                report = _continue(world, guests, begun, policy, freeze)
            else:
                cluster.cordon()
                report = _begin(world, guests, name, policy, freeze)
        cluster.wait(report.episodes, policy.tolerance_ns)
    return replace(report, cluster=cluster.state)


def delete(world: World, chosen: Mapping[Guest, Snapshot], policy: Policy) -> SetReport:
    """Delete each guest's snapshot; one that fails does not keep the others from it."""
    guests = list(chosen)
    with world.locks.hold(guests, policy.deadline_ns):
        refuse_changed(world.hypervisor, chosen)
        results = side_by_side(guests, lambda guest: world.hypervisor.forget(guest, chosen[guest].name), SNAPSHOT_NS)
    failed = failures(results)
    members = outcomes(guests, failed, Outcome.NOT_DELETED, Outcome.DELETED)
    return SetReport(world.host, next(iter(chosen.values())), not failed, members)


def guard_all(world: World, guests: Sequence[Guest], node: Nodes) -> dict[Guest, bool | ClockstepError]:
    """Start a guard in each guest that takes one, so that it is in the snapshot.

    Return whether workloads stand still there, or why the guest does not say that.
    """

    def job(guest: Guest) -> bool:
        reach, until_ns = node(guest).reach, world.clock.monotonic_ns() + START_NS
        start(reach, until_ns)
        return has_frozen(reach, until_ns)

    return side_by_side(guests, job, START_NS)


def recorded(
    world: World, guarded: Mapping[Guest, bool | ClockstepError], node: Nodes
) -> tuple[Certificates, tuple[str, ...]]:
    """Return the certificates of each guest's Kubernetes, and why some cannot be read, in sentences.

    That stops nothing, and is not said of guests of which nobody says that they are nodes of Kubernetes. Those that did
    not answer before, as `guarded` says, are not asked again.
    """
    deaf = failures(guarded)

    def job(guest: Guest) -> tuple[Certificate, ...]:
        return certificates(node(guest).reach, world.clock.monotonic_ns() + READING_NS)

    results = side_by_side([guest for guest in guarded if guest not in deaf], job, READING_NS + SECOND_NS)
    failed = deaf | failures(results)
    said = [f"{guest.name}: its certificates were not recorded: {error.message}" for guest, error in failed.items()]
    read = {guest: found for guest, found in results.items() if not isinstance(found, ClockstepError)}
    return read, tuple(said if world.kubernetes else ())


def _begin(
    world: World,
    guests: Sequence[Guest],
    name: str,
    policy: Policy,
    freeze: Sequence[str] | None,
    behind_ns: int = 0,
) -> SetReport:
    """Take the snapshot; `behind_ns` is what an earlier pause may have left the clocks behind by."""
    snapshots = found(world.hypervisor, guests)
    reasons = [
        f"{guest.name} is {standing(guest, world.journal.pauses())}" for guest in guests if guest.state != "running"
    ]
    named = [guest.name for guest in guests if any(snapshot.name == name for snapshot in snapshots[guest])]
    _refuse_unfit(
        world.hypervisor, guests, [*reasons, *(f"{guest} has a snapshot {name!r} already" for guest in named)]
    )
    with nodes(world, guests) as node:  # which stay open over the pause
        return _taken(world, guests, name, policy, freeze, behind_ns, node)


def _taken(
    world: World,
    guests: Sequence[Guest],
    name: str,
    policy: Policy,
    freeze: Sequence[str] | None,
    behind_ns: int,
    node: Nodes,
) -> SetReport:
    guarded = guard_all(world, guests, node)
    if freeze is None and (still := [guest for guest in guests if guarded[guest] is True]):
        names = ", ".join(guest.name for guest in still)
        text = f"the workloads of {names} are frozen, and would be frozen in the snapshot"
        raise UsageError(text, "clockstep thaw resumes them")
    known, unknown = recorded(world, guarded, node)
    hold, freezer = Hold(world, guests, "snapshot"), Freezer(world)
    snapshot = Snapshot(name, world.reference.now().at_ns, uuid4().hex, tuple(guest.recorded for guest in guests))
    if freeze is not None:
        freezer.freeze_all(guests, freeze)
    try:
        each = {
            guest: replace(snapshot, frozen=freezer.frozen(guest), certificates=known.get(guest)) for guest in guests
        }
        world.tell("", f"pausing {len(guests)} nodes")
        failed = hold.pause_all(each)
        if not failed:
            world.tell("", f"taking the snapshot {name}")
            failed = hold.snapshot_all(each)
        behind_ns += world.clock.monotonic_ns() - hold.since_ns()
        report = _concluded(world, guests, hold, freezer, snapshot, failed, behind_ns, policy, node)
        return replace(report, remarks=(*unknown, *report.remarks))
    except BaseException:
        _undo(world, guests, hold, snapshot, frozen=freeze is not None)
        raise
    finally:
        hold.resume_all()


def _continue(
    world: World,
    guests: Sequence[Guest],
    begun: Mapping[Guest, Pause],
    policy: Policy,
    freeze: Sequence[str] | None,
) -> SetReport:
    """Bring to its end what a killed run has begun: no clock went on meanwhile, so the set is one of one moment.

    Raises UsageError, before anything is touched, where it was begun of other guests.
    """
    first = min(begun.values(), key=lambda pause: pause.at_ns)
    snapshot = first.snapshot
    assert snapshot is not None
    listed = found(world.hypervisor, guests)
    have = {guest: one for guest in guests for one in listed[guest] if one.set_id == snapshot.set_id}
    missing = [guest for guest in guests if guest not in have]
    behind_ns = max(0, world.reference.now().at_ns - first.at_ns)
    hold, freezer = Hold(world, guests, "snapshot"), Freezer(world)
    hold.adopt(list(begun))
    each = have | {guest: pause.snapshot for guest, pause in begun.items() if pause.snapshot}
    freezer.adopt({guest: each.get(guest, snapshot) for guest in guests})  # all were frozen before one was paused
    frozen = any(one.frozen for one in each.values())
    if {guest.recorded for guest in guests} != set(snapshot.members or ()):
        text = f"the snapshot {snapshot.name!r} was interrupted, of {', '.join(snapshot.members or ())}"
        raise UsageError(text, "nothing was changed; name exactly these nodes, or run clockstep resume first")
    _refuse_unfit(world.hypervisor, guests)
    try:
        if have and all(guest in begun for guest in missing):
            world.tell("", f"continuing the snapshot {snapshot.name}, which was interrupted")
            failed = hold.snapshot_all({guest: each[guest] for guest in guests})
            return _concluded(world, guests, hold, freezer, snapshot, failed, behind_ns, policy)
        world.tell("", f"starting the snapshot {snapshot.name} again, because it was interrupted")
        _forget(world.hypervisor, guests, snapshot)
    except BaseException:
        _undo(world, guests, hold, snapshot, frozen=frozen)
        raise
    finally:
        hold.resume_all()
    if frozen:
        _correct_all(world, guests, hold, freezer, snapshot, behind_ns, policy)
    return _begin(world, fresh(world.hypervisor, guests), snapshot.name, policy, freeze, behind_ns)


def _concluded(
    world: World,
    guests: Sequence[Guest],
    hold: Hold,
    freezer: Freezer,
    snapshot: Snapshot,
    failed: Failures,
    behind_ns: int,
    policy: Policy,
    node: Nodes | None = None,
) -> SetReport:
    """Resume all and bring them right; where one failed, none keeps the snapshot."""
    world.tell("", RUN_ON)
    episodes, left = _correct_all(world, guests, hold, freezer, snapshot, behind_ns, policy, node)
    remarks = _forget(world.hypervisor, guests, snapshot) if failed else ()
    remarks += tuple(f"{guest.name}: could not be resumed: {error.message}" for guest, error in left.items())
    members = outcomes(guests, failed, Outcome.NOT_TAKEN, Outcome.NOT_TAKEN if failed else Outcome.TAKEN)
    return SetReport(
        world.host,
        snapshot,
        not failed,
        members,
        episodes,
        hold.spread_ns(),
        hold.stalled_ns(),
        remarks,
        freezer.report(),
        summarise(episodes),
    )


def _correct_all(
    world: World,
    guests: Sequence[Guest],
    hold: Hold,
    freezer: Freezer,
    snapshot: Snapshot,
    behind_ns: int,
    policy: Policy,
    ways: Nodes | None = None,
) -> tuple[tuple[Episode, ...], Failures]:
    """Resume each guest, correct its clock and thaw its workloads; by these `ways`, if they are open."""

    def correct(guest: Guest, work: Pass) -> Episode:
        run = work.begin(guest, hold.resume(guest))
        if prove(run):
            freezer.thaw(guest, run)
        return settle(run)

    cause = Cause("paused-for-snapshot", behind_ns + SLACK_NS, detail=snapshot.name)
    with freezer.kept(), nullcontext(ways) if ways else nodes(world, guests) as node:
        return hold.correct_all(dict.fromkeys(guests, cause), policy, node, correct)


def _undo(world: World, guests: Sequence[Guest], hold: Hold, snapshot: Snapshot, *, frozen: bool) -> None:
    """Let all run on after an interruption, and leave no part of the set behind."""
    command = "thaw" if frozen else "step"
    world.tell("", f"resuming what was paused; run clockstep {command} next, because the pause left clocks behind")
    hold.resume_all()
    _forget(world.hypervisor, guests, snapshot)


def _forget(having: Snapshots, guests: Sequence[Guest], snapshot: Snapshot) -> tuple[str, ...]:
    """Delete what there is of a set; return what could not be deleted, in words."""

    def forget(guest: Guest) -> None:
        if any(one.set_id == snapshot.set_id for one in having.snapshots(guest)):
            having.forget(guest, snapshot.name)

    failed = failures(side_by_side(guests, forget, SNAPSHOT_NS))
    return tuple(
        f"{one.name}: its part of the snapshot was not deleted: {error.message}" for one, error in failed.items()
    )


def _begun(world: World, guests: Sequence[Guest], name: str) -> dict[Guest, Pause]:
    """Return the guests that a killed run for the same snapshot has left paused."""
    pauses = world.journal.pauses()
    mine = {guest: pauses[guest.uuid] for guest in guests if guest.state == "paused" and guest.uuid in pauses}
    return {g: p for g, p in mine.items() if p.operation == "snapshot" and p.snapshot and p.snapshot.name == name}


def _refuse_unfit(having: Snapshots, guests: Sequence[Guest], reasons: Sequence[str] = ()) -> None:
    """Raise UsageError where there are reasons against it or a guest cannot take part, with all in sentences."""
    reasons = [*reasons, *objections(side_by_side(guests, having.objections, LISTING_NS))]
    if reasons:
        raise UsageError("; ".join(reasons), "nothing was changed; choose other nodes or another name")
