"""What is to be done about the facts: the only place that decides to step a clock."""

from collections.abc import Sequence
from dataclasses import replace

from clockstep.core.checks import agrees, forward_limit, judge, left_to_daemon, measured, resyncable, worst
from clockstep.model import Action, Cause, Facts, Policy, Resync, Step, Verdict
from clockstep.units import MINUTE_NS

SLACK_NS = MINUTE_NS
"""What a clock may be behind beyond what is known: it need not have been quite right before."""


def explained(policy: Policy, cause: Cause) -> Policy:
    """Return the policy with the cause's own limit on a step forward, unless the user has set one."""
    if policy.max_forward_ns is not None:
        return policy
    return replace(policy, max_forward_ns=cause.explains_ns)


def plan(facts: Facts, policy: Policy, done: Sequence[Action] = ()) -> tuple[Action, ...]:
    """Return the next actions; none where nothing may or need be done.

    A clock is stepped only where it is surely wrong and the policy allows the way. One that is a little ahead, or on
    the edge of being right, is left to its daemon. A daemon is resynchronised once the clock is right, when it was
    stepped under the daemon or the daemon does not agree, and once for each step.
    """
    match worst(judge(facts, policy)):
        case Verdict.BAD:
            return _step(facts, policy) or _leave(facts, policy, done)
        case Verdict.GOOD:
            return _resync(facts, policy, done)
        case Verdict.UNSURE:
            return _leave(facts, policy, done)
        case _:
            return ()


def hopeless(facts: Facts, policy: Policy) -> bool:
    """Whether looking again cannot change anything: nothing may be done, and nothing is about to pass by itself."""
    offset = measured(facts)
    wrong = offset is not None and offset.surely_beyond(policy.tolerance_ns)
    lasting = any(trouble.lasting for trouble in facts.trouble)
    return bool(facts.host_jumped_ns) or lasting or (wrong and not plan(facts, policy))


def _step(facts: Facts, policy: Policy) -> tuple[Action, ...]:
    offset = measured(facts)
    if offset is None:
        return ()
    by_ns = -offset.value_ns
    allowed = -policy.max_backward_ns <= by_ns <= forward_limit(policy)
    return (Step(by_ns),) if allowed else ()


def _leave(facts: Facts, policy: Policy, done: Sequence[Action]) -> tuple[Action, ...]:
    return _once(facts, done) if left_to_daemon(facts, policy) else ()


def _resync(facts: Facts, policy: Policy, done: Sequence[Action]) -> tuple[Action, ...]:
    claim = facts.claim
    if claim is None or (not done and (agrees(claim, policy) or not (claim.synchronised or policy.resync_idle))):
        return ()
    return _once(facts, done)


def _once(facts: Facts, done: Sequence[Action]) -> tuple[Action, ...]:
    if facts.claim is None or not resyncable(facts.claim) or (done and isinstance(done[-1], Resync)):
        return ()
    return (Resync(facts.claim.daemon),)
