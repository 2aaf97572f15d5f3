"""When a Node's condition is written: on a change, as a heartbeat, and again after a failure. Pure.

Moments are nanoseconds of the monotonic clock: a heartbeat by the wall clock would stop for hours after a step back.
`chance` is a random number from 0 to below 1, so that many Nodes and many writers do not write at the same moment.
"""

from dataclasses import dataclass, replace

from clockstep.core.condition import ClockState
from clockstep.model import KubeCondition
from clockstep.units import MINUTE_NS, SECOND_NS

HEARTBEAT_NS = 5 * MINUTE_NS
"""How often a condition is written that says the same as before, within a tenth either way."""
STALE_NS = 3 * HEARTBEAT_NS
"""A writer whose heartbeat is older is taken to be gone."""
APART_NS = SECOND_NS
"""How long after a condition was written it is written again at the earliest."""
RETRY_NS, LONGEST_RETRY_NS = 10 * SECOND_NS, 5 * MINUTE_NS
"""How long after a failure it is tried again: the first time, and after many failures."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a condition should say, what it was written to say, and when it is written next.

    `looked` is whether the clock was looked at since: to write without that would claim more than is known.
    """

    wanted: ClockState
    written: ClockState | None = None
    looked: bool = True
    beat_ns: int = 0
    next_ns: int = 0
    failures: int = 0

    @property
    def at_ns(self) -> int | None:
        """When it is to be written; None if nothing is."""
        if not self.looked:
            return None
        return self.next_ns if self.wanted != self.written else max(self.next_ns, self.beat_ns)


def looked(due: Due | None, wanted: ClockState) -> Due:
    """Return what is due after another look at the clock."""
    return replace(due, wanted=wanted, looked=True) if due else Due(wanted)


def wrote(due: Due, said: ClockState, now_ns: int, chance: float) -> Due:
    """Return what is due after the condition was written to say this; what has been seen meanwhile is written next."""
    beat_ns = now_ns + beat(chance)
    return Due(due.wanted, said, looked=due.wanted != said, beat_ns=beat_ns, next_ns=now_ns + APART_NS)


def failed(due: Due, now_ns: int, chance: float) -> Due:
    """Return what is due after it could not be written."""
    failures = due.failures + 1
    return replace(due, failures=failures, next_ns=now_ns + patience(failures, chance))


def put_off(due: Due, until_ns: int) -> Due:
    """Return what is due where nothing is to be written until then, and then after a look."""
    return replace(due, written=None, looked=False, failures=0, next_ns=until_ns)


def patience(failures: int, chance: float) -> int:
    """Return for how long to wait after that many failures in a row, in nanoseconds."""
    wait_ns = min(RETRY_NS << min(failures - 1, 10), LONGEST_RETRY_NS)
    return wait_ns + int(wait_ns * chance / 2)


def beat(chance: float) -> int:
    """Return for how long a heartbeat lasts, in nanoseconds."""
    return HEARTBEAT_NS * 9 // 10 + int(HEARTBEAT_NS * chance / 5)


def is_fresh(found: KubeCondition, wall_ns: int, unchanged_ns: int) -> bool:
    """Whether another writer is to be left alone.

    Its heartbeat counts until it is `STALE_NS` old by the reference (`wall_ns`), or has not changed for that long here:
    one from the future would count for ever.
    """
    old_ns = 0 if found.heartbeat_ns is None else wall_ns - found.heartbeat_ns
    return max(old_ns, unchanged_ns) < STALE_NS
