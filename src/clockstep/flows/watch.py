"""Watching guests for as long as one likes: whoever reverts, resumes or wakes them, their clocks are brought right.

Events say at once that something happened; a sweep finds what no event told of. One thread takes in all of it and
keeps all that is remembered; each guest is worked on by a thread of its own, one at a time, so that one that hangs
delays nobody.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from clockstep.core.checks import MAX_FORWARD, judge, measured, worst
from clockstep.core.offset import sandwich
from clockstep.core.plan import SLACK_NS, consent, decide, explained
from clockstep.core.watching import LEAPS, OFTEN, Trail, cause, follow, merged, overtakes, too_often
from clockstep.errors import BusyError, ClockstepError, HypervisorError, InternalError, ReachError
from clockstep.flows.freeze import GONE, Freezer
from clockstep.loop.heal import Company, anchored, heal, jumped, unreached
from clockstep.model import (
    Cause,
    Decision,
    Episode,
    Facts,
    Finding,
    Freeze,
    Guest,
    Happening,
    Offset,
    Policy,
    Snapshot,
    Step,
    Verdict,
    What,
)
from clockstep.ports import Clock, Listed, Node, Reach, World
from clockstep.reach.guard import start
from clockstep.units import SECOND_NS, show_duration

FOUND = Cause("found")
STEPPED = Cause("set-by-other")
DRIFT_PPM = 1000
"""More than any clock drifts by itself, and less than chronyd slews (83,000 ppm): what is off by more was set."""
TICK_NS = SECOND_NS // 2
SAME_NS = SECOND_NS
"""Events of one guest that come within this time are of one happening: a revert is told of three times."""
SLEPT_NS = SECOND_NS
STARTING_NS = 3 * SECOND_NS
AGAIN_NS = SECOND_NS // 100
CURRENT_NS = 2 * SECOND_NS
"""How long libvirt may take after a revert to say which snapshot is the current one."""
GUARD_LEASE_S = 3600
GUARD_EVERY_NS, GUARD_TAKES_NS = 300 * SECOND_NS, 5 * SECOND_NS
"""A guard that is kept is replaced when half of its lease is over, and outlives its watcher by what is left of it. How
often it is seen to, and how long an event of that guest may have to wait for that."""
SILENCE_NS, BOOT_NS = 25 * SECOND_NS, 300 * SECOND_NS
"""How long a silent node is given before that is told, since it may be shutting down; and how long a boot may take."""
SURVEY_NS = SECOND_NS // 2
"""How long a sweep waits for a hypervisor; what comes later is taken in by the next one."""


Key = tuple[str, str]


class Done(NamedTuple):
    """What work on a guest came to: an Episode where there is one to tell; `left` is what is still to be done."""

    key: Key
    episode: Episode | None = None
    left: Trail | None = None


@dataclass
class Watched:
    """What is remembered of a guest.

    `silent_ns` is since when it does not answer. `handled_ns` is when what is being dealt with, or was last, has
    happened; `right_ns` when the clock was seen to be right last; `unsure` is the cause that does not explain how far
    off the clock is, and no sweep makes it explain more; `guarded_ns` is when it was last seen to that the guest has a
    guard, since the last event, and `unguarded` whether it was told that it takes none.
    """

    guest: Guest
    trail: Trail = field(default_factory=Trail)
    unsure: Cause | None = None
    busy: bool = False
    silent_ns: int | None = None
    handled_ns: int | None = None
    right_ns: int | None = None
    steps_ns: list[int] = field(default_factory=list)
    verdict: Verdict | None = None
    reach: Reach | None = None
    guarded_ns: int | None = None
    unguarded: bool = False


@dataclass
class Orders:
    """What a watcher goes by; it may be given others while it watches.

    Guests that are `chosen` are brought right; all others that run are looked at, if it `observes_all`, and left alone.
    Nothing is stepped while this machine's clock is not one that it `trusts`. With `guards`, each that is chosen is
    seen to have one.
    """

    chosen: Callable[[Guest], bool]
    policy: Policy
    trusts: Callable[[], bool] = lambda: True
    guards: bool = False
    observes_all: bool = False

    def observed(self, guest: Guest) -> bool:
        """Whether sweeps look at a guest."""
        return self.observes_all or self.chosen(guest)


class Flag(Protocol):
    """Whatever says that the watch is over."""

    def is_set(self) -> bool:
        """Whether it is."""


class Listener(Protocol):
    """Whoever is told what the watcher sees."""

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode. It is `new` where a clock was stepped, or its verdict is another than before."""

    def alive(self) -> None:
        """Take the time, twice a second: the watcher goes on."""


class Watcher:
    """Watches all guests of a world by its `orders`."""

    def __init__(self, world: World, orders: Orders, listener: Listener) -> None:
        self.orders = orders
        self._world = world
        self._clock = world.clock
        self._listener = listener
        self._silent: dict[str, str] = {}
        self._company = Company()
        self._inbox: queue.SimpleQueue[Happening | Done] = queue.SimpleQueue()
        self._watched: dict[Key, Watched] = {}
        self._anchor = anchored(self._clock)
        self._asleep = slept(self._clock)

    def run(self, every_ns: int, over: Flag) -> None:
        """Watch until it is over; sweep that often. Raises HypervisorError where there are no events to be had."""
        self._world.hypervisor.subscribe(self._inbox.put)
        self.sweep(FOUND)
        self._world.tell("", f"watching; every {show_duration(every_ns)} all clocks are looked at")
        next_ns = self._clock.monotonic_ns() + every_ns
        while not over.is_set():
            self._listener.alive()
            self.take_in(min(TICK_NS, max(0, next_ns - self._clock.monotonic_ns())))
            found = self.host_changed()
            if found or self._clock.monotonic_ns() >= next_ns:
                self.sweep(found or FOUND)
                next_ns = self._clock.monotonic_ns() + every_ns
        for watched in self._watched.values():
            drop(watched)

    def take_in(self, within_ns: int) -> None:
        """Take in what comes within that time, and what has come already."""
        try:
            item = self._inbox.get(timeout=within_ns / SECOND_NS)
            while True:
                self._happened(item) if isinstance(item, Happening) else self._ended(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            return

    def sweep(self, found: Cause) -> None:
        """Look at all that runs and is observed; a hypervisor that does not answer is asked again at the next sweep."""
        surveyed = self._world.hypervisor.survey(SURVEY_NS)
        self._listener.surveyed(surveyed)
        for listed in surveyed:
            self._heard_from(listed)
            if listed.error is None:
                self._forget_all_but(listed)
        for guest in [guest for listed in surveyed for guest in listed.guests]:
            off = Trail(stopped=not guest.active)
            watched = self._watched.setdefault(guest.key, Watched(guest, off))
            watched.guest = guest
            if guest.state != "running":
                watched.right_ns = watched.silent_ns = None
            elif not watched.busy and not self.orders.observed(guest):
                drop(watched)
            elif not watched.busy:
                self._begin(watched, watched.trail if watched.trail.due else None, found)

    def _heard_from(self, listed: Listed) -> None:
        """Tell that a hypervisor does not answer, once, and that it does again."""
        said = listed.error.message if listed.error else ""
        if said != self._silent.get(listed.connection, ""):
            self._silent[listed.connection] = said
            for watched in self._watched.values():  # what happened meanwhile was not heard
                watched.right_ns = None
            again = f"libvirt at {listed.connection or 'its default address'} answers again"
            self._world.tell("", f"{said}; trying again" if said else again)

    def _forget_all_but(self, listed: Listed) -> None:
        there = {guest.key for guest in listed.guests}
        for key, watched in list(self._watched.items()):
            if key[0] == listed.connection and key not in there and not watched.busy:
                drop(self._watched.pop(key))

    def host_changed(self) -> Cause | None:
        """Return why all guests are looked at now: this machine has slept, or its own clock was set."""
        asleep, anchor = slept(self._clock), self._anchor
        away_ns = asleep - self._asleep
        self._asleep = asleep
        if away_ns > SLEPT_NS:
            self._anchor = anchored(self._clock)
            self._world.tell("", f"this machine has slept for {show_duration(away_ns)}")
            return Cause("host-woke", away_ns + SLACK_NS)
        if moved_ns := jumped(anchor, self._clock):
            self._anchor = anchored(self._clock)
            self._world.tell("", f"this machine's own clock was set by {show_duration(abs(moved_ns))}")
            return Cause("host-clock-set")
        return None

    def _happened(self, happening: Happening) -> None:
        key = (happening.connection, happening.uuid)
        if key not in self._watched:  # the sweep finds what is new
            self.sweep(FOUND)
        watched = self._watched.get(key)
        if watched is None:
            return
        handled_ns = watched.handled_ns
        trail = follow(watched.trail, happening)
        if trail.due and handled_ns is not None and happening.at_ns - handled_ns < SAME_NS:
            return
        watched.trail, watched.unsure = trail, None
        if happening.what in {What.STOPPED, What.BOOTED}:
            watched.silent_ns = None
        if trail.due and happening.what in LEAPS and watched.busy and (reach := watched.reach):
            reach.close()  # what waits there for an answer would wait for one from before
        if trail.due and not watched.busy and self.orders.chosen(watched.guest):
            self._begin(watched, trail, FOUND)

    def _begin(self, watched: Watched, trail: Trail | None, found: Cause) -> None:
        watched.busy = True
        pulled = too_often(watched.steps_ns, self._clock.monotonic_ns())
        act = self.orders.chosen(watched.guest) and self.orders.trusts() and (trail is not None or not pulled)
        trail = trail if act else None
        if trail is not None:
            watched.trail = Trail()
            watched.handled_ns = self._clock.monotonic_ns() if trail.since_ns is None else trail.since_ns
        cause_found = watched.unsure or found
        work = threading.Thread(target=self._work, args=(watched, trail, cause_found, act), daemon=True)
        work.start()

    def _work(self, watched: Watched, trail: Trail | None, found: Cause, act: bool) -> None:
        guest, why = watched.guest, found if trail is None else cause(trail)
        try:
            done = self._dealt_with(watched, trail, found, act)
        except BusyError:
            done = Done(guest.key, left=trail)  # another clockstep has it; the next sweep looks again
        except ClockstepError as error:
            done = Done(guest.key, unreached(guest.name, why, error, self._clock), trail)
        except Exception as error:  # noqa: BLE001 - a bug in the work on one guest is told, and ends nothing
            done = Done(guest.key, unreached(guest.name, why, InternalError(error), self._clock), trail)
        self._inbox.put(done)

    def _dealt_with(self, watched: Watched, trail: Trail | None, found: Cause, act: bool) -> Done:
        guest = watched.guest
        if trail is not None:  # an open connection survives a pause and not a revert, a guard neither that nor a boot
            if trail.why is not What.RESUMED:
                drop(watched)
            watched.guarded_ns = None
        if trail is None:
            glance = self._glance(watched, found)
            if found == FOUND and self._was_set(watched, glance):
                found = STEPPED
                glance = replace(glance, cause=found)
            if act and glance.verdict is Verdict.GOOD:
                self._see_to_guard(watched)
            if not act or glance.verdict is not Verdict.BAD or glance.decision is Decision.CONSENT:
                return Done(guest.key, glance)
        elif not self._runs_soon(guest):
            return Done(guest.key, left=replace(trail, due=False))
        with self._world.locks.hold([guest], 0):
            snapshot = self._snapshot(guest)
            episode = self._healed(watched, trail, found, snapshot)
            reverted = trail is not None and trail.why is What.REVERTED
            if reverted and unexplained(episode) and (another := self._another(guest, snapshot)):
                episode = self._healed(watched, trail, found, another)
            return Done(guest.key, episode, trail if episode.verdict is Verdict.UNREACHABLE else None)

    def _another(self, guest: Guest, snapshot: Snapshot | None) -> Snapshot | None:
        """Wait a moment for a guest's current snapshot to be another one: libvirt tells of a revert before that."""
        until_ns = self._clock.monotonic_ns() + CURRENT_NS
        while (now := self._snapshot(guest)) == snapshot and self._clock.monotonic_ns() < until_ns:
            self._clock.sleep_ns(AGAIN_NS)
        return now if now != snapshot else None

    def _healed(self, watched: Watched, trail: Trail | None, found: Cause, snapshot: Snapshot | None) -> Episode:
        guest, began_ns = watched.guest, self._clock.monotonic_ns()
        why = found if trail is None else cause(trail, self._age(snapshot))
        freezer = Freezer(self._world)
        if snapshot:  # also where no event told of a revert
            freezer.adopt({guest: snapshot})
        node, world = Node(guest.name, self._reach(watched)), self._world
        with freezer.kept():
            episode = heal(
                node,
                why,
                self.orders.policy,
                self._clock,
                world.tell,
                self._company,
                lambda: freezer.proven(guest, node),
                lambda: overtakes(watched.trail, began_ns),
            )
        for one in freezer.report():
            self._tell_of_workloads(one, episode, trail)
        return episode

    def _tell_of_workloads(self, one: Freeze, episode: Episode, trail: Trail | None) -> None:
        """Tell what became of workloads in the snapshot; that none stood still counts only after a revert."""
        stepped = any(isinstance(action, Step) for action in episode.actions)
        if one.trouble is GONE and not (stepped and trail is not None and trail.why is What.REVERTED):
            return
        self._world.tell("", f"{one.node}: {one.trouble.text if one.trouble else 'its workloads were thawed'}")

    def _was_set(self, watched: Watched, glance: Episode) -> bool:
        """Whether a clock that was right at an earlier look is wrong by more than it can have drifted since."""
        if watched.right_ns is None or glance.before is None or glance.verdict is not Verdict.BAD:
            return False
        elapsed_ns = self._clock.monotonic_ns() - watched.right_ns
        return glance.before.surely_beyond(self.orders.policy.tolerance_ns + elapsed_ns * DRIFT_PPM // 10**6)

    def _glance(self, watched: Watched, found: Cause) -> Episode:
        """Return what one look at the clock alone says."""
        began_ns, at_ns = self._clock.monotonic_ns(), self._clock.realtime_ns()
        try:
            facts = Facts((self._reach(watched).clock(self.orders.policy.tolerance_ns),))
        except ReachError as error:
            drop(watched)  # there may be another way the next time
            return unreached(watched.guest.name, found, error, self._clock)
        policy = explained(self.orders.policy, found)
        findings = judge(facts, policy)
        offset = measured(facts)
        took_ns = self._clock.monotonic_ns() - began_ns
        name, verdict = watched.guest.name, worst(findings)
        seen = Episode(name, found, verdict, offset, (), offset, facts, findings, at_ns, took_ns)
        return replace(seen, decision=decide(facts, policy), consent=consent(facts, policy))

    def _ended(self, done: Done) -> None:
        watched = self._watched.get(done.key)
        if watched is None:
            return
        watched.busy = False
        happened_since = watched.trail.due
        if done.left is not None:
            watched.trail = merged(done.left, watched.trail)
        if done.episode:
            self._account(watched, done.episode, happened_since=happened_since)
        if watched.trail.due and (happened_since or done.left is None) and self.orders.chosen(watched.guest):
            self._begin(watched, watched.trail, FOUND)

    def _account(self, watched: Watched, episode: Episode, *, happened_since: bool) -> None:
        """Remember what was done, and tell it; a node that something has happened to since is seen to next."""
        now_ns = self._clock.monotonic_ns()
        watched.unsure = episode.cause if unexplained(episode) else None
        if episode.verdict is Verdict.GOOD:
            watched.right_ns = now_ns
        if episode.cause in {FOUND, STEPPED} and any(isinstance(action, Step) for action in episode.actions):
            watched.steps_ns = [*watched.steps_ns[-OFTEN:], now_ns]
            if too_often(watched.steps_ns, now_ns):
                findings = (*episode.findings, pulled_away())
                episode = replace(episode, findings=findings, decision=Decision.REFUSED)
        silenced = episode.verdict is Verdict.UNREACHABLE and happened_since
        if silenced or self._may_come(watched, episode, now_ns):
            self._listener.seen(episode, new=False)
            return
        before = watched.verdict or Verdict.GOOD
        watched.verdict = episode.verdict
        self._listener.seen(episode, new=bool(episode.actions) or episode.verdict is not before)

    def _may_come(self, watched: Watched, episode: Episode, now_ns: int) -> bool:
        """Whether a node that does not answer may be shutting down or booting: that is no alarm yet."""
        if episode.verdict is not Verdict.UNREACHABLE or watched.verdict is Verdict.UNREACHABLE:
            watched.silent_ns = None
            return False
        watched.silent_ns = watched.silent_ns or now_ns
        patience = {FOUND.kind: SILENCE_NS, What.BOOTED.value: BOOT_NS}.get(episode.cause.kind, 0)
        return now_ns - watched.silent_ns < patience

    def _see_to_guard(self, watched: Watched) -> None:
        """Have a guest have a guard, where they are to be kept: it is then in every snapshot that anybody takes."""
        guest, now_ns = watched.guest, self._clock.monotonic_ns()
        seen_ns = watched.guarded_ns
        if not self.orders.guards or (seen_ns is not None and now_ns - seen_ns <= GUARD_EVERY_NS):
            return
        with suppress(BusyError), self._world.locks.hold([guest], 0):
            watched.guarded_ns = now_ns
            there = start(self._reach(watched), now_ns + GUARD_TAKES_NS, GUARD_LEASE_S, GUARD_LEASE_S // 2)
            if not there and not watched.unguarded:
                self._world.tell("", f"{guest.name}: no guard could be started; after a revert its step takes longer")
            watched.unguarded = not there

    def _reach(self, watched: Watched) -> Reach:
        if watched.reach is None:
            watched.reach = self._world.hypervisor.reach(watched.guest)
        return watched.reach

    def _runs_soon(self, guest: Guest) -> bool:
        """Wait a moment for a guest to run: one that is restored is told of while it is paused yet, and not again."""
        until_ns = self._clock.monotonic_ns() + STARTING_NS
        while True:
            if self._world.hypervisor.state(guest) == "running":
                return True
            if self._clock.monotonic_ns() > until_ns:
                return False
            self._clock.sleep_ns(AGAIN_NS)

    def _snapshot(self, guest: Guest) -> Snapshot | None:
        with suppress(HypervisorError):
            return self._world.hypervisor.current(guest)
        return None

    def _age(self, snapshot: Snapshot | None) -> int | None:
        return None if snapshot is None else max(0, self._clock.realtime_ns() - snapshot.created_ns)


def drop(watched: Watched) -> None:
    """Let go of the way to a guest."""
    if watched.reach:
        watched.reach.close()
        watched.reach = None


def unexplained(episode: Episode) -> bool:
    """Whether a clock may be further behind than its cause explains."""
    return episode.verdict is Verdict.UNSURE or episode.consent == MAX_FORWARD


def pulled_away() -> Finding:
    """Return the finding that stepping a guest again and again does not help it."""
    text = "stepped again and again, and wrong again: something pulls its clock away, so it is left alone now"
    remedy = "see whether two time daemons fight, whom its daemon follows, and whether this machine's clock is right"
    return Finding("often", Verdict.BAD, text, remedy)


def slept(clock: Clock) -> int:
    """Return for how long this machine has slept since it was booted, in nanoseconds."""
    offset: Offset = sandwich(clock.monotonic_ns(), clock.boottime_ns(), clock.monotonic_ns())
    return offset.value_ns
