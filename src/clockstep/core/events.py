"""The watcher's table: what is known of each machine, and what becomes of that. Pure, and defined for whatever comes.

Each function takes a state and what came, and returns a `Turn`: the new state, and what is to be begun and reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from clockstep.core.checks import MAX_FORWARD
from clockstep.core.trail import LEAPS, OFTEN, Trail, at_least, follow, merged, too_often
from clockstep.model import Cause, Decision, Episode, Finding, Guest, Happening, Step, Verdict, What
from clockstep.units import SECOND_NS

FOUND = Cause("found")
STEPPED = Cause("set-by-other")
SAME_NS = SECOND_NS
"""Events of one machine that come within this time may be of one happening: a revert is told of three times."""
SILENCE_NS, BOOT_NS = 25 * SECOND_NS, 300 * SECOND_NS
"""How long a silent node is given before that is told, since it may be shutting down; and how long a boot may take."""

GROWING = {FOUND.kind, *(what.value for what in (What.RESTORED, What.MIGRATED, What.ANSWERS))}
"""Causes that explain the more, the longer ago the clock was last seen within tolerance."""

Key = tuple[str, str]


NOTHING = Trail()


@dataclass(frozen=True, slots=True)
class View:
    """What holds for a machine at the moment when something comes; `now_ns` is of the monotonic clock.

    It is `chosen` where its clock may be corrected, `observed` where sweeps look at it; the host is `trusted` where
    anything may be stepped by its clock. `away_ns` is how long ago its clock was last seen within tolerance, by a host
    whose clock is synchronised; None where that is not known.
    """

    now_ns: int
    chosen: bool = True
    observed: bool = True
    trusted: bool = True
    away_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Work on a machine: a look where there is no `trail`; it may correct only where it may `act`.

    `known` is the cause of a look, or one that did not explain enough before and that nothing has happened since to
    replace. Otherwise the cause is that of the trail, with `away_ns` as in `View`.
    """

    trail: Trail | None
    known: Cause | None
    act: bool
    away_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What work on a machine came to: an Episode where there is one to tell; `left` is what is still to be done."""

    key: Key
    episode: Episode | None = None
    left: Trail | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered of a machine.

    `work` is under way; `heard` says that something has happened since it began. `moved` is what last moved its clock
    and when, as long as it runs on since. `voided` is what a stop has made void, unless the machine runs on elsewhere.
    `unsure` is the cause that does not explain how far off the clock is, and no sweep makes it explain more.
    `silent_ns` is since when it does not answer, `right_ns` when its clock was last seen within tolerance while it ran,
    and `steps_ns` when sweeps stepped it.
    """

    guest: Guest
    trail: Trail = NOTHING
    work: Work | None = None
    heard: bool = False
    moved: tuple[What, int] | None = None
    voided: Trail | None = None
    unsure: Cause | None = None
    silent_ns: int | None = None
    right_ns: int | None = None
    steps_ns: tuple[int, ...] = ()
    verdict: Verdict | None = None


class Told(NamedTuple):
    """An Episode to report; it is `new` where a clock was stepped, or its verdict is another than before."""

    episode: Episode
    new: bool


class Turn(NamedTuple):
    """A machine's new state, the work that begins, what is reported, and whether the way to it is to be dropped."""

    state: State
    work: Work | None = None
    told: Told | None = None
    drop: bool = False


def happened(state: State, happening: Happening, view: View) -> Turn:
    """Return what an event makes of a state; one that comes while work is under way is dealt with after that."""
    if told_again(state, happening):
        return Turn(state)
    what, trail = happening.what, follow(state.trail, happening)
    now = replace(
        state,
        trail=trail,
        heard=state.heard or trail.due,
        moved=moved_by(state, happening),
        voided=voided_by(state, what),
        unsure=state.unsure if what is What.ANSWERS else None,
        silent_ns=None if what in {What.STOPPED, What.BOOTED} else state.silent_ns,
    )
    if trail.due and view.chosen and not state.work:
        return begun(now, trail, FOUND, view)
    return Turn(now, drop=what in LEAPS and state.work is not None)


def told_again(state: State, happening: Happening) -> bool:
    """Whether an event is one more of a happening that work was begun on.

    libvirt tells of a revert as it starts and as it resumes from the snapshot, of a restore as it starts and as it
    resumes, of a boot as both. A machine that was paused or stopped in between has something else happen to it.
    """
    if state.moved is None or state.trail.due or state.trail.why:
        return False
    what, at_ns = state.moved
    return happening.what in {what, What.RESUMED} and happening.at_ns - at_ns < SAME_NS


def moved_by(state: State, happening: Happening) -> tuple[What, int] | None:
    """Return what has moved the clock last, and when, after an event; None while the machine stands still."""
    match happening.what:
        case What.ANSWERS:
            return state.moved
        case What.PAUSED | What.STOPPED:
            return None
        case What.RESUMED if state.trail.stopped:
            return What.BOOTED, happening.at_ns
    return happening.what, happening.at_ns


def voided_by(state: State, what: What) -> Trail | None:
    """Return what a stop makes void, after an event: what was not dealt with, or not to its end."""
    if what in LEAPS or what is What.RESUMED:
        return None
    under_way = state.work.trail if state.work else None
    return next((trail for trail in (under_way, state.trail) if trail and trail.why), state.voided)


def swept(state: State, guest: Guest, found: Cause, view: View) -> Turn:
    """Return what a sweep makes of a state that looks at what runs; `guest` is the machine as it was just listed."""
    state = replace(state, guest=guest)
    if guest.state != "running":
        return Turn(replace(state, right_ns=None, silent_ns=None))
    if state.work:
        return Turn(state)
    if not view.observed:
        return Turn(state, drop=True)
    return begun(state, state.trail if state.trail.due else None, found, view)


def begun(state: State, trail: Trail | None, found: Cause, view: View) -> Turn:
    """Return the state in which work is under way: on the trail where there is one and it may act, else a look."""
    act = view.chosen and view.trusted and (trail is not None or not too_often(state.steps_ns, view.now_ns))
    trail = trail if act else None
    known = state.unsure
    if trail is None:
        known = known or found
        if found is FOUND and known.kind in GROWING:
            known = replace(known, explains_ns=max(known.explains_ns, at_least(view.away_ns)))
    elif trail.why is not None:
        known = None
    work = Work(trail, known, act, view.away_ns)
    return Turn(replace(state, work=work, heard=False, trail=state.trail if trail is None else NOTHING), work)


def ended(state: State, done: Done, view: View) -> Turn:
    """Return what the end of work makes of a state: what it did not deal with, and what has come since, is begun."""
    if state.work is None:
        return Turn(state)
    heard, trail = state.heard, state.trail
    if done.left is not None:
        trail = merged(done.left, trail)
    elif trail.why is None and done.episode and done.episode.verdict is not Verdict.UNREACHABLE:
        trail = replace(trail, due=False)  # that its agent answers is known by then
    state, told = replace(state, work=None, heard=False, trail=trail), None
    if done.episode:
        state, told = accounted(state, done.episode, view.now_ns, heard=heard and trail.due)
    if trail.due and view.chosen and view.trusted and (heard or done.left is None):
        return begun(state, trail, FOUND, view)._replace(told=told)
    return Turn(state, told=told)


def accounted(state: State, episode: Episode, now_ns: int, *, heard: bool) -> tuple[State, Told]:
    """Return the state that remembers an Episode, and how it is reported.

    What was `heard` since is dealt with next, and a node that is silent till then may be on its way.
    """
    silent = episode.verdict is Verdict.UNREACHABLE
    if episode.verdict is Verdict.GOOD:
        state = replace(state, right_ns=now_ns, voided=None)
    if not silent:
        state = replace(state, unsure=episode.cause if unexplained(episode) else None)
    if is_found(episode.cause) and any(isinstance(action, Step) for action in episode.actions):
        state = replace(state, steps_ns=(*state.steps_ns[-OFTEN:], now_ns))
        if too_often(state.steps_ns, now_ns):
            findings = (*episode.findings, pulled_away())
            episode = replace(episode, findings=findings, decision=Decision.REFUSED)
    if silent and heard:
        return state, Told(episode, new=False)
    if silent and state.verdict is not Verdict.UNREACHABLE:
        state = replace(state, silent_ns=now_ns if state.silent_ns is None else state.silent_ns)
        if now_ns - (state.silent_ns or now_ns) < patience(episode.cause):
            return state, Told(episode, new=False)
    else:
        state = replace(state, silent_ns=None)
    before = state.verdict or Verdict.GOOD
    new = bool(episode.actions) or episode.verdict is not before
    return replace(state, verdict=episode.verdict), Told(episode, new=new)


def patience(cause: Cause) -> int:
    """Return how long a node may be silent before that is an alarm: it may be shutting down or booting."""
    return {FOUND.kind: SILENCE_NS, What.BOOTED.value: BOOT_NS}.get(cause.kind, 0)


def is_found(cause: Cause) -> bool:
    """Whether no event told of what a sweep has found."""
    return cause.kind in {FOUND.kind, STEPPED.kind}


def unexplained(episode: Episode) -> bool:
    """Whether a clock may be further behind than its cause explains."""
    return episode.verdict is Verdict.UNSURE or episode.consent == MAX_FORWARD


def pulled_away() -> Finding:
    """Return the finding that stepping a guest again and again does not help it."""
    text = "stepped repeatedly and drifted again: something else is setting this clock, so no more steps are made"
    remedy = "check for a second time daemon, which servers its daemon follows, and this host's clock"
    return Finding("often", Verdict.BAD, text, remedy)


def listed(states: Mapping[Key, State], connection: str, guests: Sequence[Guest]) -> dict[Key, State]:
    """Return the states of all machines after a connection has listed its own.

    Those that it lists are known from then on. Those that it does not list are forgotten, but for one that is worked
    on: it is forgotten at the first listing after that.
    """
    there = {guest.key for guest in guests}
    kept = {key: state for key, state in states.items() if key[0] != connection or key in there or state.work}
    for guest in guests:
        before = kept.get(guest.key) or State(guest, Trail(stopped=not guest.active))
        kept[guest.key] = replace(before, guest=guest)
    return kept


def migrated(state: State, elsewhere: Sequence[State]) -> State:
    """Return the state of a machine that has come here, with what was not dealt with where it was."""
    for other in elsewhere:
        left = voided_by(other, What.STOPPED)
        if left and not state.trail.why:
            state = replace(state, trail=replace(left, due=False))
        state = replace(state, unsure=state.unsure or other.unsure, steps_ns=state.steps_ns or other.steps_ns)
    return state


def was_set(state: State, glance: Episode, tolerance_ns: int, now_ns: int) -> bool:
    """Whether a clock that was within tolerance at an earlier look is off by more than it can have drifted since."""
    if state.right_ns is None or glance.before is None or glance.verdict is not Verdict.BAD:
        return False
    return glance.before.surely_beyond(tolerance_ns + (now_ns - state.right_ns) * DRIFT_PPM // 10**6)


DRIFT_PPM = 1000
"""More than any clock drifts by itself, and less than chronyd slews (83,000 ppm): what is off by more was set."""
