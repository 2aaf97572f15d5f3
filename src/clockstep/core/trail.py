"""What happens to a machine, as far as its clock is concerned: what it adds up to, and how much it explains. Pure."""

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
SURVIVES_MIGRATION = {What.REVERTED, What.RESTORED, What.BOOTED}


def follow(trail: Trail, happening: Happening) -> Trail:
    """Return the trail with one more happening in it.

    A revert comes as several: stopped, started from the snapshot, resumed from it, and the agent connects again. A
    revert to a paused state is resumed later, and is a revert all the same. A boot may be told of as a resume first.
    What was not dealt with is kept through pauses and migrations, and counts from its first stillness.
    """
    at_ns, what = happening.at_ns, happening.what
    if what in LEAPS:
        if what is What.MIGRATED and trail.why in SURVIVES_MIGRATION:
            return replace(trail, due=True, since_ns=at_ns if trail.since_ns is None else trail.since_ns)
        return Trail(what, due=True, still_ns=trail.still_ns, since_ns=at_ns)
    still_ns = at_ns if trail.still_ns is None else trail.still_ns
    match what:
        case What.PAUSED:
            return replace(trail, due=False, still_ns=still_ns)
        case What.STOPPED:
            return Trail(stopped=True, still_ns=still_ns)
        case What.RESUMED:
            plainly = What.BOOTED if trail.stopped else What.RESUMED
            return Trail(trail.why or plainly, due=True, still_ns=trail.still_ns, since_ns=at_ns)
    return replace(trail, due=True)


def merged(left: Trail, since: Trail) -> Trail:
    """Return what is still to be done after work that did not deal with `left`, with what has happened meanwhile."""
    if since.stopped or since.why not in {None, What.RESUMED, What.MIGRATED}:
        return since
    both = [at_ns for at_ns in (left.still_ns, since.still_ns) if at_ns is not None]
    still_ns = min(both, default=None)
    if since.why is None or left.why in SURVIVES_MIGRATION or (since.why is What.RESUMED and left.why in LEAPS):
        paused = since.still_ns is not None and not since.due
        return replace(left, due=not paused and (left.due or since.due), still_ns=still_ns)
    return replace(since, still_ns=still_ns)


def overtakes(trail: Trail, began_ns: int) -> bool:
    """Whether the guest runs on after something that has moved its clock since work on it began."""
    return trail.due and trail.since_ns is not None and trail.since_ns > began_ns


def cause(trail: Trail, snapshot_age_ns: int | None = None, away_ns: int | None = None) -> Cause:
    """Return why a guest is worked on.

    `snapshot_age_ns` is that of the snapshot it runs from, `away_ns` how long ago its clock was last seen within
    tolerance; None where that is not known.
    """
    kind = trail.why.value if trail.why else What.ANSWERS.value
    since_ns = None if trail.why is What.BOOTED else trail.since_ns  # a clock is not wrong while there is none yet
    return Cause(kind, explains(trail, snapshot_age_ns, away_ns), since_ns)


def explains(trail: Trail, snapshot_age_ns: int | None, away_ns: int | None) -> int:
    """Return how far behind what has happened can have left a clock, in nanoseconds; a day where nothing says it.

    A saved state may be older than the stop before its restore, and a migration longer than the pause that was seen:
    how long the guest stood still is a lower bound there.
    """
    still_ns = None
    if trail.still_ns is not None and trail.since_ns is not None:
        still_ns = trail.since_ns - trail.still_ns
    match trail.why:
        case What.REVERTED:
            return DAY_NS if snapshot_age_ns is None else snapshot_age_ns + SLACK_NS
        case What.RESUMED if still_ns is not None:
            return still_ns + SLACK_NS
        case What.BOOTED:
            return DAY_NS
    return at_least(still_ns, away_ns)


def at_least(*known_ns: int | None) -> int:
    """Return the longest of these and a minute, and never less than a day."""
    return max(DAY_NS, *(SLACK_NS + one for one in known_ns if one is not None), 0)


def too_often(steps_ns: Sequence[int], now_ns: int) -> bool:
    """Whether a guest was stepped so often lately that something pulls its clock away."""
    return sum(now_ns - at_ns <= WINDOW_NS for at_ns in steps_ns) >= OFTEN
