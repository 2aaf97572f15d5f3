"""What the watcher makes of what happens to a guest: why its clock is wrong, how far, and when that is enough. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clockstep.core.plan import SLACK_NS
from clockstep.model import Cause, Happening, What
from clockstep.units import DAY_NS, MINUTE_NS

OFTEN = 5
WINDOW_NS = 10 * MINUTE_NS
"""A guest that was stepped this often within this time is left to a person."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What has happened to a guest and was not yet dealt with.

    `why` is what its clock is wrong by now, or will be when it runs on; `due` says that it does run, and `stopped` that
    it was off. `still_ns` is when it began to stand still and `since_ns` when it ran on, of the monotonic clock.
    """

    why: What | None = None
    due: bool = False
    stopped: bool = False
    still_ns: int | None = None
    since_ns: int | None = None


LEAPS = {What.REVERTED, What.RESTORED, What.MIGRATED, What.BOOTED}


def follow(trail: Trail, happening: Happening) -> Trail:
    """Return the trail with one more happening in it.

    A revert comes as several: stopped, started from the snapshot, resumed from it, and the agent connects again. A
    revert to a paused state is resumed later, and is a revert all the same. A boot may be told of as a resume first.
    """
    at_ns, what = happening.at_ns, happening.what
    if what in LEAPS:
        return Trail(what, due=True, still_ns=trail.still_ns, since_ns=at_ns)
    match what:
        case What.PAUSED | What.STOPPED:
            kept = trail.why if what is What.PAUSED and trail.why in LEAPS else None
            return Trail(kept, due=False, stopped=what is What.STOPPED, still_ns=at_ns)
        case What.RESUMED:
            plainly = What.BOOTED if trail.stopped else What.RESUMED
            return Trail(trail.why or plainly, due=True, still_ns=trail.still_ns, since_ns=at_ns)
    return replace(trail, due=True)


def merged(left: Trail, since: Trail) -> Trail:
    """Return what is still to be done after work that did not deal with `left`, with what has happened meanwhile."""
    if since.why is None or (since.why is What.RESUMED and left.why in LEAPS):
        return replace(left, due=left.due or since.due)
    return since


def overtakes(trail: Trail, began_ns: int) -> bool:
    """Whether the guest runs on after something that has moved its clock since work on it began."""
    return trail.due and trail.since_ns is not None and trail.since_ns > began_ns


def cause(trail: Trail, snapshot_age_ns: int | None = None) -> Cause:
    """Return why a guest is worked on; `snapshot_age_ns` is that of the snapshot it runs from, where one is known."""
    still_ns = None
    if trail.still_ns is not None and trail.since_ns is not None:
        still_ns = trail.since_ns - trail.still_ns
    known = {What.REVERTED: snapshot_age_ns, What.RESUMED: still_ns, What.RESTORED: still_ns}
    explains_ns = known.get(trail.why) if trail.why else None
    kind = trail.why.value if trail.why else What.ANSWERS.value
    since_ns = None if trail.why is What.BOOTED else trail.since_ns  # a clock is not wrong while there is none yet
    return Cause(kind, DAY_NS if explains_ns is None else explains_ns + SLACK_NS, since_ns)


def too_often(steps_ns: Sequence[int], now_ns: int) -> bool:
    """Whether a guest was stepped so often lately that something pulls its clock away."""
    return sum(now_ns - at_ns <= WINDOW_NS for at_ns in steps_ns) >= OFTEN
