"""The second phase: bring the time daemon along, and see what becomes of the proven clock meanwhile."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from clockstep.core.checks import agrees, resyncable
from clockstep.core.plan import hopeless, plan
from clockstep.daemons import DAEMONS
from clockstep.errors import ReachError
from clockstep.loop.act import learn, perform
from clockstep.loop.company import PATIENCE_NS
from clockstep.loop.episodes import conclude, unheard
from clockstep.loop.look import look
from clockstep.loop.prove import BETWEEN_LOOKS_NS, pause, prove_again
from clockstep.loop.run import Run
from clockstep.model import Episode, Facts, Trouble
from clockstep.units import MILLISECOND_NS, SECOND_NS

HELD_NS = 250 * MILLISECOND_NS
WAIT_TAKES_NS = 3 * SECOND_NS
"""Two seconds that a daemon's `wait` waits, and what it takes to start it in a busy node."""
UNHEARD_NS = 3 * SECOND_NS // 2
"""How long the first answer of a time source is waited for, if none had answered before the daemon was resynced either:
what it takes to ask comes on top, and all of it is to be 3 s at most."""


def settle(run: Run, superseded: Callable[[], bool] = lambda: False) -> Episode:
    """Bring the daemon along until it is in sync, or the deadline has passed, and return all that was seen and done.

    A daemon is not waited for any longer once the run is `superseded`: something has happened to the node again, which
    is for the next run to correct. A clock that was not proven is concluded as it is, and one that is moved away
    meanwhile is proven again, where it may be.
    """
    run.company.leave(run)
    patient_until_ns = run.clock.monotonic_ns() + min(PATIENCE_NS, run.policy.deadline_ns // 4)
    if not run.proven:
        return conclude(run)
    while not run.is_late:
        if not run.proven and not prove_again(run):
            break
        if superseded() and not run.daemon_needs_resync:
            return conclude(run, sync=False)
        if run.asked:
            if ended := _learned(run):
                return ended
            continue
        held = run.company.has_unproven() and run.clock.monotonic_ns() < patient_until_ns
        facts = look(run, ask=not held)
        good = run.is_good(facts)
        if superseded() and not (run.daemon_needs_resync and good):  # what was just seen is for the next run
            return conclude(run, sync=False)
        run.take(facts)
        if not good:
            if hopeless(facts, run.policy):
                break
            continue
        if run.is_late or (is_settled(run, facts) and not held):
            break
        todo = plan(facts, run.policy, run.standing())
        trouble = perform(run, todo)
        if trouble and trouble.lasting:
            return _ended_by(run, trouble)
        if trouble or not todo:
            run.clock.sleep_ns(HELD_NS if held else pause(run, facts))
            await_daemon(run, facts)
    return conclude(run)


def _learned(run: Run) -> Episode | None:
    """Ask what became of the last step; return the Episode if that is never known."""
    trouble = learn(run)
    if trouble and trouble.lasting:
        return _ended_by(run, trouble)
    if trouble:
        run.clock.sleep_ns(BETWEEN_LOOKS_NS)
        run.take(look(run))
    return None


def _ended_by(run: Run, trouble: Trouble) -> Episode:
    run.facts = replace(run.facts, trouble=(*run.facts.trouble, trouble))
    return conclude(run)


def await_daemon(run: Run, facts: Facts) -> None:
    """Wait in the node for a daemon that is not in sync yet; what came of it is for the next look to say."""
    claim = facts.claim
    if claim is None or not resyncable(claim) or agrees(claim, run.policy) or unheard(run, facts):
        return
    command, until_ns = DAEMONS[claim.daemon].wait, run.clock.monotonic_ns() + WAIT_TAKES_NS
    if command and until_ns < run.began_ns + run.policy.deadline_ns:
        with suppress(ReachError):
            run.node.reach.run(["/bin/sh", "-c", command], b"", until_ns)


def is_settled(run: Run, facts: Facts) -> bool:
    """Whether the daemon was asked, and it is in sync or there is none to wait for."""
    if not waits_for_daemon(run, facts):
        return True
    in_sync = facts.claim is not None and agrees(facts.claim, run.policy)
    return not run.daemon_needs_resync and (in_sync or is_given_up(run, facts))


def waits_for_daemon(run: Run, facts: Facts) -> bool:
    """Whether there is a daemon that may yet come into sync, and that is this run's to wait for."""
    if run.policy.require_sync:
        return True
    return resyncable(facts.claim) and (run.policy.resync_idle or bool(run.done))


def is_given_up(run: Run, facts: Facts) -> bool:
    """Whether a daemon that was not in sync before this run either has had its time."""
    waited = bool(run.resynced_ns) and run.clock.monotonic_ns() - run.resynced_ns >= UNHEARD_NS
    return waited and unheard(run, facts) and not run.policy.require_sync
