"""The work on one machine: a look, and correction of what was found, on a thread of its own."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from clockstep.core.checks import left_to_daemon
from clockstep.core.events import FOUND, STEPPED, Done, Work, unexplained, was_set
from clockstep.core.trail import Trail, cause, overtakes
from clockstep.errors import BusyError, ClockstepError, HypervisorError, InternalError, ReachError
from clockstep.flows.freeze import GONE, Freezer
from clockstep.flows.glance import glance
from clockstep.flows.watch.watched import Orders, Watched, drop
from clockstep.loop.company import Company
from clockstep.loop.episodes import unreached
from clockstep.loop.prove import prove
from clockstep.loop.run import begin
from clockstep.loop.settle import settle
from clockstep.model import Cause, Decision, Episode, Freeze, Guest, Snapshot, Step, Verdict, What
from clockstep.ports import Node, Reach, World
from clockstep.reach.guard import start
from clockstep.units import SECOND_NS

STARTING_NS = 3 * SECOND_NS
AGAIN_NS = SECOND_NS // 100
CURRENT_NS = 2 * SECOND_NS
"""How long libvirt may take after a revert to say which snapshot is the current one."""
GUARD_LEASE_S = 3600
GUARD_EVERY_NS, GUARD_TAKES_NS = 300 * SECOND_NS, 5 * SECOND_NS
"""A guard that is kept is replaced when half of its lease is over, and outlives its watcher by what is left of it. How
often it is looked after, and how long an event of that guest may have to wait for that."""


class Worker:
    """Works on the machines of a world by what the `orders` are at that moment."""

    def __init__(self, world: World, orders: Callable[[], Orders]) -> None:
        self._world = world
        self._clock = world.clock
        self._orders = orders
        self._company = Company()

    @property
    def orders(self) -> Orders:
        """What the watcher goes by now."""
        return self._orders()

    def work(self, watched: Watched, work: Work, done: Callable[[Done], None]) -> None:
        """Do the work and say what it came to, whatever that is."""
        guest, trail = watched.guest, work.trail
        why = self._why(work, None)
        try:
            result = self._dealt_with(watched, work)
        except BusyError:
            result = Done(guest.key, left=trail)  # another clockstep has it; the next sweep looks again
        except ClockstepError as error:
            result = Done(guest.key, unreached(guest.name, why, error, self._world.reference), trail)
        except Exception as error:  # noqa: BLE001 - a bug in the work on one guest is told, and ends nothing
            result = Done(guest.key, unreached(guest.name, why, InternalError(error), self._world.reference), trail)
        done(result)

    def _dealt_with(self, watched: Watched, work: Work) -> Done:
        guest, trail = watched.guest, work.trail
        if trail is not None:  # an open connection survives a pause and not a revert, a guard neither that nor a boot
            if trail.why is not What.RESUMED:
                drop(watched)
            watched.guarded_ns = None
        if trail is None:
            found = work.known or FOUND
            seen = self._glance(watched, found)
            if found.kind == FOUND.kind and self._was_set(watched, seen):
                found = STEPPED
                seen = replace(seen, cause=found)
            if work.act and seen.verdict is Verdict.GOOD:
                self._see_to_guard(watched)
            if not work.act or seen.verdict is not Verdict.BAD or self._needs_consent(seen):
                return Done(guest.key, seen)
            work = replace(work, known=found)
        elif not self._runs_soon(guest):
            return Done(guest.key, left=replace(trail, due=False))
        with self._world.locks.hold([guest], 0):
            snapshot = self._snapshot(guest)
            episode = self._healed(watched, work, snapshot)
            reverted = trail is not None and trail.why is What.REVERTED
            if reverted and unexplained(episode) and (another := self._another(guest, snapshot)):
                episode = self._healed(watched, work, another)
            return Done(guest.key, episode, trail if episode.verdict is Verdict.UNREACHABLE else None)

    def _why(self, work: Work, snapshot: Snapshot | None) -> Cause:
        """Return the cause of the work, for a machine that runs from this snapshot."""
        if work.known or work.trail is None:
            return work.known or FOUND
        return cause(work.trail, self._age(snapshot), work.away_ns)

    def _another(self, guest: Guest, snapshot: Snapshot | None) -> Snapshot | None:
        """Wait a moment for a guest's current snapshot to be another one: libvirt tells of a revert before that."""
        until_ns = self._clock.monotonic_ns() + CURRENT_NS
        while (now := self._snapshot(guest)) == snapshot and self._clock.monotonic_ns() < until_ns:
            self._clock.sleep_ns(AGAIN_NS)
        return now if now != snapshot else None

    def _healed(self, watched: Watched, work: Work, snapshot: Snapshot | None) -> Episode:
        guest, began_ns = watched.guest, self._clock.monotonic_ns()
        why = self._why(work, snapshot)
        freezer = Freezer(self._world)
        if snapshot:  # also where no event told of a revert
            freezer.adopt({guest: snapshot})
        node, world = Node(guest.name, self._reach(watched)), self._world
        with freezer.kept():
            run = begin(node, why, self.orders.policy, self._clock, world.reference, world.tell, self._company)
            try:
                if prove(run):
                    freezer.thaw(guest, run)
                episode = settle(run, lambda: overtakes(watched.state.trail, began_ns))
            finally:
                self._company.leave(run)
        for one in freezer.report():
            self._tell_of_workloads(one, episode, work.trail)
        return episode

    def _tell_of_workloads(self, one: Freeze, episode: Episode, trail: Trail | None) -> None:
        """Tell what became of workloads in the snapshot; that none stood still counts only after a revert."""
        stepped = any(isinstance(action, Step) for action in episode.actions)
        if one.trouble is GONE and not (stepped and trail is not None and trail.why is What.REVERTED):
            return
        self._world.tell("", f"{one.node}: {one.trouble.text if one.trouble else 'its workloads were thawed'}")

    def _needs_consent(self, seen: Episode) -> bool:
        """Whether nothing may be done about a clock; its daemon, which may slew a small offset, was not asked yet."""
        return seen.decision is Decision.CONSENT and not left_to_daemon(seen.facts, self.orders.policy)

    def _was_set(self, watched: Watched, glance: Episode) -> bool:
        return was_set(watched.state, glance, self.orders.policy.tolerance_ns, self._clock.monotonic_ns())

    def _glance(self, watched: Watched, found: Cause) -> Episode:
        """Return what one look at the clock alone says."""
        try:
            node = Node(watched.guest.name, self._reach(watched))
            return glance(node, found, self.orders.policy, self._clock, self._world.reference)
        except ReachError as error:
            drop(watched)  # there may be another way the next time
            return unreached(watched.guest.name, found, error, self._world.reference)

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
        reach = watched.reach  # which may be dropped meanwhile
        if reach is None:
            reach = watched.reach = self._world.hypervisor.reach(watched.guest)
        return reach

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
        return None if snapshot is None else max(0, self._world.reference.now().at_ns - snapshot.created_ns)
