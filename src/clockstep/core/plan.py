"""What is to be done about the facts: the only place that decides to step a clock."""

from collections.abc import Sequence
from dataclasses import replace

from clockstep.core.checks import (
    ALLOW_BACKWARD,
    MAX_FORWARD,
    agrees,
    allowed,
    left_to_daemon,
    measured,
    resyncable,
)
from clockstep.model import Action, Cause, Decision, Facts, Policy, Resync, Step
from clockstep.units import MINUTE_NS

SLACK_NS = MINUTE_NS
"""What a clock may be behind beyond what is known: it need not have been quite right before."""


def explained(policy: Policy, cause: Cause) -> Policy:
    """Return the policy with the cause's own limit on a step forward, unless the user has set one."""
    if policy.max_forward_ns is not None:
        return policy
    return replace(policy, max_forward_ns=cause.explains_ns)


def decide(facts: Facts, policy: Policy) -> Decision:
    """Return what is to be done about a clock as it was last seen.

    It is stepped only where it is surely beyond the tolerance and the policy allows the way. One that is a little
    ahead, or on the edge of the tolerance, is left to its daemon, if that says how it stands.
    """
    offset = measured(facts)
    if facts.reference_moved_ns:
        return Decision.REFUSED
    if offset is None or offset.surely_within(policy.tolerance_ns):
        return Decision.NOTHING
    beyond = offset.surely_beyond(policy.tolerance_ns)
    if beyond and allowed(offset, policy):
        return Decision.STEP
    if left_to_daemon(facts, policy) and resyncable(facts.claim):
        return Decision.LEAVE
    return Decision.CONSENT if beyond else Decision.NOTHING


def consent(facts: Facts, policy: Policy) -> str:
    """Return the option that allows the step which a clock needs; empty where none is needed, or it is no step."""
    offset = measured(facts)
    if offset is None or decide(facts, policy) is not Decision.CONSENT:
        return ""
    return MAX_FORWARD if offset.latest_ns < 0 else ALLOW_BACKWARD


def plan(facts: Facts, policy: Policy, done: Sequence[Action] = ()) -> tuple[Action, ...]:
    """Return the next actions; none where nothing may or need be done.

    A daemon is resynchronised once the clock is within tolerance, when it was stepped under the daemon or the daemon
    does not agree, and once for each step.
    """
    offset = measured(facts)
    match decide(facts, policy):
        case Decision.STEP if offset:
            return (Step(-offset.value_ns),)
        case Decision.LEAVE:
            return _once(facts, done)
        case Decision.NOTHING if offset and offset.surely_within(policy.tolerance_ns):
            return _resync(facts, policy, done)
        case _:
            return ()


def hopeless(facts: Facts, policy: Policy) -> bool:
    """Whether measuring again cannot change anything: nothing may be done, and nothing is about to pass by itself."""
    offset = measured(facts)
    wrong = offset is not None and offset.surely_beyond(policy.tolerance_ns)
    lasting = any(trouble.lasting for trouble in facts.trouble)
    return bool(facts.reference_moved_ns) or lasting or (wrong and not plan(facts, policy))


def _resync(facts: Facts, policy: Policy, done: Sequence[Action]) -> tuple[Action, ...]:
    claim = facts.claim
    if claim is None or (not done and (agrees(claim, policy) or not (claim.synchronised or policy.resync_idle))):
        return ()
    return _once(facts, done)


def _once(facts: Facts, done: Sequence[Action]) -> tuple[Action, ...]:
    if facts.claim is None or not resyncable(facts.claim) or (done and isinstance(done[-1], Resync)):
        return ()
    return (Resync(facts.claim.daemon),)
