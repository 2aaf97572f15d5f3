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
    meanwhile is proven again, where it may be. What was done to it or its daemon is always followed by a look, also if
    the deadline has passed meanwhile.
    """
    run.company.leave(run)
    if not run.proven:
        return conclude(run)
    patient_until_ns = run.clock.monotonic_ns() + min(PATIENCE_NS, run.policy.deadline_ns // 4)
    fresh = True
    while not (run.is_late and fresh) and (run.proven or prove_again(run)):
        if superseded() and not run.daemon_needs_resync:
            return conclude(run, sync=False)
        if run.asked:
            trouble = learn_late(run)
            fresh = trouble is not None
        else:
            held = run.company.has_unproven() and run.clock.monotonic_ns() < patient_until_ns
            facts = look(run, ask=not held)
            if superseded() and not (run.daemon_needs_resync and run.is_good(facts)):
                return conclude(run, sync=False)  # as it was before: what was just seen is for the next run
            run.take(facts)
            if is_over(run, facts, held=held):
                break
            fresh = not run.proven
            trouble = None if fresh else bring_along(run, facts, held=held)
        if trouble and trouble.lasting:
            run.facts = replace(run.facts, trouble=(*run.facts.trouble, trouble))
            break
    return conclude(run)


def learn_late(run: Run) -> Trouble | None:
    """Ask what became of the last step of a clock that is proven already; look again if that is not said."""
    trouble = learn(run)
    if trouble and not trouble.lasting:
        run.clock.sleep_ns(BETWEEN_LOOKS_NS)
        run.take(look(run))
    return trouble


def bring_along(run: Run, facts: Facts, *, held: bool) -> Trouble | None:
    """Resync the daemon if it needs that, or else wait for it; return trouble that was met."""
    todo = plan(facts, run.policy, run.effective())
    trouble = perform(run, todo)
    if not todo or (trouble and not trouble.lasting):
        run.clock.sleep_ns(HELD_NS if held else pause(run, facts))
        await_daemon(run, facts)
    return trouble


def await_daemon(run: Run, facts: Facts) -> None:
    """Wait in the node for a daemon that is not in sync yet; what came of it is for the next look to say."""
    claim = facts.claim
    if claim is None or not resyncable(claim) or agrees(claim, run.policy) or unheard(run, facts):
        return
    command, until_ns = DAEMONS[claim.daemon].wait, run.clock.monotonic_ns() + WAIT_TAKES_NS
    if command and until_ns < run.began_ns + run.policy.deadline_ns:
        with suppress(ReachError):
            run.node.reach.run(["/bin/sh", "-c", command], b"", until_ns)


def is_over(run: Run, facts: Facts, *, held: bool) -> bool:
    """Whether nothing is left to wait for, or to be done."""
    if not run.proven:
        return hopeless(facts, run.policy)
    return run.is_late or (is_settled(run, facts) and not held)


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
