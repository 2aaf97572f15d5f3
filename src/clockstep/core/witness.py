"""Whether a hypervisor's clock is to be believed, by what a second witness says: pure.

Its time scale is decided by evidence alone: the same driver's clock counts UTC on one kernel and TAI on the next.
"""

from clockstep.core.offset import widened
from clockstep.model import Claim, Facts, Offset, What
from clockstep.units import MILLISECOND_NS, MINUTE_NS, SECOND_NS

TAI_NS = 37 * SECOND_NS
"""TAI minus UTC since 2017; the next leap second may change it by one, and none is announced."""
NEAR_NS = 5 * SECOND_NS
"""As near to UTC as a clock that counts UTC is found: far from TAI, and no clock of a host that is kept is further."""
TAI_WITHIN_NS = 3 * SECOND_NS // 2
APART_NS = 100 * MILLISECOND_NS
"""By how much a hypervisor's clock and a node's time sources may differ and both be believed."""
UNWITNESSED_NS = 15 * MINUTE_NS
"""How far forward a hypervisor's clock alone may move a node's: it jumps as well where only the host's was set."""
WITNESSED = (What.REVERTED, What.RESTORED, What.MIGRATED)
"""Happenings that another signal than the clock itself told of, what explains most first."""
WEIGHT = (*WITNESSED, What.DIVERGED, What.RESUMED, What.SET)


def time_scale(phc: Offset, claim: Claim | None) -> int | None:
    """Return by how many nanoseconds a PHC is ahead of UTC: 0, or TAI's 37 s; None where no evidence says.

    `phc` is the system clock minus the PHC. The witness is the system clock, corrected by what a daemon in sync says of
    it; without one the two clocks only confirm each other where they agree.
    """
    in_sync = claim is not None and bool(claim.synchronised)
    corrected = claim.offset if claim and claim.offset and in_sync else Offset(0, 0)
    ahead = Offset(corrected.value_ns - phc.value_ns, corrected.error_ns + phc.error_ns)
    if ahead.surely_within(NEAR_NS):
        return 0
    tai = Offset(ahead.value_ns - TAI_NS, ahead.error_ns)
    return TAI_NS if in_sync and tai.surely_within(TAI_WITHIN_NS) else None


def holding(facts: Facts, before: Offset | None, tolerance_ns: int) -> Offset | None:
    """Return by how much the time sources contradict the hypervisor's clock; None where both can be believed.

    That is what a daemon in sync takes the clock to be off by, against what was read. After a revert the daemon has
    noticed nothing: so it contradicts only a clock that is within tolerance, or one of which it did `before`. Where one
    of the two says nothing it stays as it was.
    """
    claim, read = facts.claim, [reading.offset for reading in facts.readings]
    if not (claim and claim.synchronised and claim.offset and read):
        return before
    if before is None and not all(offset.surely_within(tolerance_ns) for offset in read):
        return None
    apart = widened(Offset(claim.offset.value_ns - read[0].value_ns, claim.offset.error_ns), read[0].error_ns)
    return apart if apart.surely_beyond(APART_NS) else None


def heaviest(happened: What | None, before: What | None) -> What | None:
    """Return which of two happenings explains more of what a clock is off by."""
    both = [what for what in WEIGHT if what in {happened, before}]
    return both[0] if both else None
