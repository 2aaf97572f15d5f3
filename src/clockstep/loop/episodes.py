"""What a run came to, as an Episode: the checks' findings, and those that only the whole run shows."""

from dataclasses import replace

from clockstep.core.checks import agrees, judge, measured, worst
from clockstep.core.plan import consent, decide
from clockstep.errors import BusyError, ClockstepError, InternalError, KubernetesError, NotRunningError, ReachError
from clockstep.loop.run import Run
from clockstep.model import Cause, Claim, Episode, Facts, Finding, Policy, Step, Trouble, Verdict
from clockstep.ports import Reference
from clockstep.units import show_shift


def conclude(run: Run, *, proof: bool = True, sync: bool = True) -> Episode:
    """Return all that was seen and done; where a proof was wanted, a clock that only looks right is not good.

    `sync` says whether a daemon had its time to come into sync, where that is required.
    """
    facts = run.facts
    findings = judge(facts, run.policy)
    if run.resynced_ns and unheard(run, facts) and facts.claim:
        findings = tuple(unheard_before(facts.claim) if one.check == "daemon" else one for one in findings)
    if proof and run.proven_ns is None and worst(findings) is Verdict.GOOD:
        findings += (unproven(run),)
    if run.moved:
        findings += (replace(run.moved, verdict=Verdict.GOOD) if worst(findings) is Verdict.GOOD else run.moved,)
    if proof and sync and run.policy.require_sync and not (facts.claim and agrees(facts.claim, run.policy)):
        findings += (unsynchronised(facts),)
    open_step = run.asked[1] if run.asked else run.begun
    if open_step:
        findings += (unconfirmed(open_step),)
    return Episode(
        node=run.node.name,
        cause=run.cause,
        verdict=worst(findings),
        before=run.before,
        actions=(*run.done, *([Step(open_step.by_ns, unconfirmed=True)] if open_step else [])),
        after=measured(facts),
        facts=facts,
        findings=findings,
        started_at_ns=run.started_at_ns,
        took_ns=run.clock.monotonic_ns() - run.began_ns,
        wrong_for_ns=run.first_good_ns if run.proven_ns is not None else None,
        proven_ns=run.proven_ns,
        decision=decide(facts, run.policy),
        consent=consent(facts, run.policy),
    )


def unheard(run: Run, facts: Facts) -> bool:
    """Whether no time source has answered the daemon, neither before anything was done to it nor since."""
    both = (run.claimed, facts.claim)
    return all(claim is not None and claim.heard is False and not claim.synchronised for claim in both)


def unheard_before(claim: Claim) -> Finding:
    """Return the finding that a daemon is not in sync, which is not because of what was done."""
    text = f"{claim.daemon} is not synchronised, and was not before: it had no answer from a time source"
    return Finding("daemon", Verdict.GOOD, text, "check that the node reaches its time servers")


def unproven(run: Run) -> Finding:
    """Return the finding that the deadline came first."""
    text = f"within tolerance, but confirmed only {run.good} of {run.policy.looks} times before the deadline"
    return Finding("proof", Verdict.UNSURE, text, "give it more time with --deadline")


def unconfirmed(step: Step) -> Finding:
    """Return the finding that a step was asked for, and that the node has not said what became of it."""
    text = f"a step of {show_shift(step.by_ns, 1)} was requested but not confirmed: it may still happen"
    return Finding("step", Verdict.UNSURE, text, "run clockstep status in a moment")


def unsynchronised(facts: Facts) -> Finding:
    """Return the finding that the clock is not enough where a daemon in sync is wanted as well."""
    daemon = facts.claim.daemon if facts.claim else "a time daemon"
    return Finding("sync", Verdict.BAD, f"{daemon} was not in sync by the deadline", "check the daemon")


def unreached(name: str, cause: Cause, error: ClockstepError, reference: Reference) -> Episode:
    """Return the episode of a node that the loop could not even be run on, or that did not come back from it."""
    facts = Facts(trouble=(troubled(error),))
    findings = judge(facts, Policy())
    return Episode(name, cause, worst(findings), None, (), None, facts, findings, reference.now().at_ns, 0)


def troubled(error: ClockstepError) -> Trouble:
    """Return an error as the fact that it is here."""
    lasting = isinstance(error, ReachError | KubernetesError) and error.lasting
    return Trouble(error.message, error.hint, lasting, isinstance(error, InternalError), isinstance(error, BusyError))


def trouble_of(run: Run, error: ReachError) -> Trouble:
    """Return an error as a fact of this run, in which a machine that was read may be being reverted by somebody."""
    passing = isinstance(error, NotRunningError) and run.before is not None
    return replace(troubled(error), lasting=error.lasting and not passing)
