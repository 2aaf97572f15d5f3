"""What the facts mean: plain functions from facts and policy to one finding each, listed in `CHECKS`.

A node's verdict is the worst of its findings, and says only what was measured. UNSURE is worse than BAD on purpose:
where anything is doubtful, a clock that is surely off is not stepped either.
"""

from collections.abc import Callable, Iterable

from clockstep.core.offset import combine
from clockstep.model import Claim, Facts, Finding, Offset, Policy, Verdict
from clockstep.units import DAY_NS, SECOND_NS, show_duration, show_offset

Check = Callable[[Facts, Policy], Finding]
MAX_FORWARD, ALLOW_BACKWARD = "--max-forward", "--allow-backward"
"""The options by which a user consents to a step beyond a limit."""
SLEWED_NS = SECOND_NS
"""chronyd slews by up to 83 ms in each second, so it takes a clock back by this in twelve: no time happens twice."""
ORDER = (Verdict.GOOD, Verdict.BAD, Verdict.UNSURE, Verdict.UNREACHABLE)


def judge(facts: Facts, policy: Policy) -> tuple[Finding, ...]:
    """Return what every check finds."""
    return tuple(check(facts, policy) for check in CHECKS)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict that the findings come to together; GOOD of none."""
    return max((finding.verdict for finding in findings), key=ORDER.index, default=Verdict.GOOD)


def measured(facts: Facts) -> Offset | None:
    """Return the one offset that the readings come to."""
    return combine([reading.offset for reading in facts.readings])


def check_host(facts: Facts, _policy: Policy) -> Finding:
    """A host whose own clock was moved in the middle of the work is no truth to step others to."""
    if not facts.reference_moved_ns:
        return Finding("host", Verdict.GOOD, "the host's clock was not set meanwhile")
    way = "forward" if facts.reference_moved_ns > 0 else "back"
    text = f"this host's clock was set {way} by {show_duration(abs(facts.reference_moved_ns))} meanwhile"
    return Finding("host", Verdict.UNSURE, text, "check this host's clock, then run it again")


def check_reached(facts: Facts, _policy: Policy) -> Finding:
    """A clock that could not be read is neither right nor wrong."""
    last = facts.trouble[-1] if facts.trouble else None
    if facts.readings or facts.reference_moved_ns:
        text = last.text if last else "the clock was read"
        return Finding("reach", Verdict.GOOD, text, last.remedy if last else "")
    text = last.text if last else "the clock was not read"
    return Finding("reach", Verdict.UNREACHABLE, text, last.remedy if last else "")


def check_offset(facts: Facts, policy: Policy) -> Finding:
    """Right or wrong only where the whole bound says so."""
    offset = measured(facts)
    if offset is None:
        return Finding("offset", Verdict.GOOD, "no reading to judge")
    shown, tolerance = show_offset(offset.value_ns, offset.error_ns), show_duration(policy.tolerance_ns)
    if offset.surely_within(policy.tolerance_ns):
        return Finding("offset", Verdict.GOOD, f"{shown} is within {tolerance}")
    if offset.surely_beyond(policy.tolerance_ns):
        return Finding("offset", Verdict.BAD, f"{shown} is beyond {tolerance}", _step_remedy(offset, policy))
    text = f"{shown} may or may not be within {tolerance}"
    return Finding("offset", Verdict.UNSURE, text, "measure again, or allow more with --tolerance")


def check_forward(facts: Facts, policy: Policy) -> Finding:
    """A clock that is further behind than the cause explains may mean that the host's clock is off instead."""
    offset, limit = measured(facts), forward_limit(policy)
    if offset is None or not offset.surely_beyond(policy.tolerance_ns) or -offset.earliest_ns <= limit:
        return Finding("forward", Verdict.GOOD, "not further behind than the cause explains")
    text = f"more than {show_duration(limit)} behind: refusing to step, because this host may be the one that is wrong"
    return Finding("forward", Verdict.BAD, text, f"if this host's clock is correct, allow it with {MAX_FORWARD}")


def check_backward(facts: Facts, policy: Policy) -> Finding:
    """A step backward needs consent, because time that happens twice breaks things."""
    offset = measured(facts)
    if offset is None or not offset.earliest_ns > policy.tolerance_ns or offset.latest_ns <= policy.max_backward_ns:
        return Finding("backward", Verdict.GOOD, "no step backward needed beyond what is allowed")
    if left_to_daemon(facts, policy):
        text = "slightly ahead: a time daemon can slew that away without repeating time"
        return Finding("backward", Verdict.BAD, text, "run clockstep step again when its daemon is in sync")
    text = "ahead, but a step backward may break tokens, leases and databases"
    return Finding("backward", Verdict.BAD, text, f"allow it with {ALLOW_BACKWARD}")


def check_claim(facts: Facts, policy: Policy) -> Finding:
    """A daemon that says all is well while the clock is wrong misleads everyone who asks it."""
    claim, offset = facts.claim, measured(facts)
    if claim is None:
        return Finding("daemon", Verdict.GOOD, "no time daemon was asked")
    if claim.synchronised and offset is not None and offset.surely_beyond(policy.tolerance_ns):
        text = f"{claim.daemon} claims to be synchronised, but the clock is off"
        return Finding("daemon", Verdict.BAD, text, _step_remedy(offset, policy))
    if claim.synchronised is None:
        return _unclaimed(claim)
    if not claim.synchronised:
        silent = ": it has had no answer from a time source" if claim.heard is False else ""
        text = f"{claim.daemon} is not synchronised{silent}"
        return Finding("daemon", Verdict.GOOD, text, "check that the node reaches its time servers")
    if not agrees(claim, policy):
        text = f"{claim.daemon} believes that the clock is off, and moves it away"
        return Finding("daemon", Verdict.GOOD, text, "run clockstep step again")
    return Finding("daemon", Verdict.GOOD, f"{claim.daemon} is synchronised")


def _unclaimed(claim: Claim) -> Finding:
    if claim.failed:
        text = f"no time daemon runs: {claim.daemon} has ended by itself, perhaps because its clock jumped"
        return Finding("daemon", Verdict.GOOD, text, f"systemctl restart {claim.daemon} in the node")
    text = f"{claim.daemon} runs, but does not report its state"
    return Finding("daemon", Verdict.GOOD, text, "restart it in the node after a step; it may hang")


def allowed(offset: Offset, policy: Policy) -> bool:
    """Whether a step that brings this offset to zero is within the policy's limits, whatever the true offset is."""
    return -offset.earliest_ns <= forward_limit(policy) and offset.latest_ns <= policy.max_backward_ns


def _step_remedy(offset: Offset, policy: Policy) -> str:
    return "run clockstep step" if allowed(offset, policy) else ""


def left_to_daemon(facts: Facts, policy: Policy) -> bool:
    """Whether a daemon can slew away what is wrong while the loop waits: a little ahead, or on the tolerance's edge."""
    offset = measured(facts)
    if offset is None:
        return False
    ahead = policy.tolerance_ns < offset.earliest_ns and offset.latest_ns <= SLEWED_NS
    on_edge = check_offset(facts, policy).verdict is Verdict.UNSURE and 4 * offset.error_ns <= policy.tolerance_ns
    return ahead or on_edge  # a good reading does not tell right from wrong: it stays so for as long as one looks


def agrees(claim: Claim, policy: Policy) -> bool:
    """Whether a daemon is synchronised and does not itself take the clock to be wrong."""
    return bool(claim.synchronised) and not (claim.offset and claim.offset.surely_beyond(policy.tolerance_ns))


def resyncable(claim: Claim | None) -> bool:
    """Whether there is a daemon that says how it stands: one that does not is not told to measure anew either."""
    return claim is not None and claim.synchronised is not None


def forward_limit(policy: Policy) -> int:
    """Return how far forward a step may go, in nanoseconds: a day where neither cause nor user says otherwise."""
    return DAY_NS if policy.max_forward_ns is None else policy.max_forward_ns


CHECKS: tuple[Check, ...] = (check_host, check_reached, check_offset, check_forward, check_backward, check_claim)
