"""Who has moved a clock that was proven: the finding of a look that sees it beyond the tolerance again. Pure."""

from clockstep.core.checks import measured
from clockstep.model import Facts, Finding, Policy, Verdict
from clockstep.units import show_offset

SLEWED_AT_MOST = 10
"""The share of the time that passes by which a daemon can slew a clock (adjtimex(2), ADJ_TICK): a tenth."""


def moved_away(before: Facts, now: Facts, elapsed_ns: int, policy: Policy) -> Finding | None:
    """Return the finding that a clock which was within tolerance has been moved out of it since; None if it was not.

    It is the time daemon's doing if that can have slewed it so far; what is more may be somebody's step.
    """
    was, offset, claim = measured(before), measured(now), now.claim or before.claim
    if was is None or offset is None or not offset.surely_beyond(policy.tolerance_ns):
        return None
    by_ns, error_ns = offset.value_ns - was.value_ns, offset.error_ns + was.error_ns
    slewable = abs(by_ns) - error_ns <= elapsed_ns // SLEWED_AT_MOST
    shown = show_offset(by_ns, error_ns)
    if claim:
        mover = f"{claim.daemon} has moved" if slewable else f"{claim.daemon}, or something else, has stepped"
        text = f"{mover} the clock by {shown} since it was verified"
        remedy = f"its time servers disagree with this host: compare both, and correct the servers of {claim.daemon}"
        return Finding("moved", Verdict.BAD, text, remedy)
    text = f"something other than clockstep has moved the clock by {shown} since it was verified"
    return Finding("moved", Verdict.BAD, text, "clockstep doctor lists the programs in the node that set its clock")
