"""Pausing guests together, and resuming those that clockstep has paused, by whichever of its commands."""

from collections.abc import Mapping, Sequence

from clockstep.core.plan import SLACK_NS
from clockstep.core.summary import summarise
from clockstep.errors import UsageError
from clockstep.flows.freeze import Freezer
from clockstep.flows.hold import Hold
from clockstep.flows.sets import fresh, outcomes, standing
from clockstep.flows.step import Pass, find_ways, nodes
from clockstep.loop.prove import prove
from clockstep.loop.settle import settle
from clockstep.model import Cause, Episode, Guest, Outcome, Pause, Policy, SetReport
from clockstep.ports import World


def pause(world: World, guests: Sequence[Guest], policy: Policy) -> SetReport:
    """Pause all at the same moment; raises UsageError, before anything is touched, for one that does not run."""
    with world.locks.hold(guests, policy.deadline_ns):
        guests, pauses = fresh(world.hypervisor, guests), world.journal.pauses()
        if reasons := [f"{guest.name} is {standing(guest, pauses)}" for guest in guests if guest.state != "running"]:
            raise UsageError("; ".join(reasons), "nothing was changed; name running nodes only")
        find_ways(world, guests)
        hold = Hold(world, guests, "pause")
        try:
            failed = hold.pause_all()
        except BaseException:
            hold.resume_all()
            world.tell("", "all were resumed, with clocks behind by the pause: run clockstep step")
            raise
    members = outcomes(guests, failed, Outcome.NOT_PAUSED, Outcome.PAUSED)
    return SetReport(world.host, None, not failed, members, pause_spread_ns=hold.spread_ns())


def resume(world: World, guests: Sequence[Guest], policy: Policy, *, mixed: bool) -> SetReport:
    """Resume all at once, and bring every clock right.

    Raises UsageError, before anything is touched, for one that clockstep has not paused, and unless `mixed` is
    accepted for those of a revert that did not put all back.
    """
    with world.locks.hold(guests, policy.deadline_ns):
        guests, pauses = fresh(world.hypervisor, guests), world.journal.pauses()
        if reasons := [f"{guest.name} is {standing(guest, pauses)}" for guest in guests if not ours(guest, pauses)]:
            raise UsageError("; ".join(reasons), "nothing was changed; clockstep resumes only what it has paused")
        torn = [guest.name for guest in guests if not pauses[guest.uuid].released]
        if torn and not mixed:
            text = f"{', '.join(torn)}: reverted while others were not; resuming would mix different pasts"
            raise UsageError(text, "run clockstep revert again, or use --mixed")
        now_ns = world.reference.now().at_ns
        causes = {guest: _cause(pauses[guest.uuid], now_ns) for guest in guests}
        hold, freezer = Hold(world, guests, "resume"), Freezer(world)
        hold.adopt(guests)
        snapshots = {guest: pauses[guest.uuid].snapshot for guest in guests}
        freezer.adopt({guest: snapshot for guest, snapshot in snapshots.items() if snapshot})

        def correct(guest: Guest, work: Pass) -> Episode:
            run = work.begin(guest, hold.resume(guest))
            if prove(run):
                freezer.thaw(guest, run)
            return settle(run)

        try:
            with freezer.kept(), nodes(world, guests) as node:
                episodes, left = hold.correct_all(causes, policy, node, correct)
        except BaseException:
            hold.resume_all()
            raise
    members = outcomes(guests, left, Outcome.NOT_RESUMED, Outcome.RESUMED)
    summary = summarise(episodes)
    return SetReport(world.host, None, not left, members, episodes, freezes=freezer.report(), summary=summary)


def ours(guest: Guest, pauses: Mapping[str, Pause]) -> bool:
    """Whether a guest is paused, and by clockstep."""
    return guest.state == "paused" and guest.uuid in pauses and not guest.stuck


def _cause(pause: Pause, now_ns: int) -> Cause:
    kind = {"snapshot": "paused-for-snapshot", "revert": "paused-for-revert"}.get(pause.operation, "paused")
    detail = pause.snapshot.name if pause.snapshot else ""
    return Cause(kind, max(0, now_ns - pause.clock_ns) + SLACK_NS, detail=detail)
