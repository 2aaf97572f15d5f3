"""Guests that stand still together, and every way out of that.

What is under way when the work is interrupted would outlive it, and a guest cannot be resumed while its snapshot is
being taken. So each guest has a lock: resuming waits for what is under way, and forbids what has not begun. Every
pause is written down before it is made, for whoever comes after a kill.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from clockstep.errors import ClockstepError, HypervisorError, JournalError, LostConnectionError
from clockstep.flows.step import BEGIN_NS, Correct, Nodes, Pass
from clockstep.loop.fleet import failures, side_by_side
from clockstep.model import Cause, Episode, Guest, Pause, Policy, Snapshot
from clockstep.ports import World
from clockstep.units import MINUTE_NS, SECOND_NS

PAUSE_NS = 15 * SECOND_NS
SNAPSHOT_NS = 5 * MINUTE_NS

Failures = dict[Guest, ClockstepError]


class Hold:
    """The standstill of one piece of work; only what was paused or put back here is resumed here."""

    def __init__(self, world: World, guests: Sequence[Guest], operation: str) -> None:
        self._world = world
        self._guests = guests
        self._operation = operation
        self._locks = {guest: threading.Lock() for guest in guests}
        self._over: set[Guest] = set()
        self._spans: dict[Guest, tuple[int, int]] = {}
        self._resumed_ns: dict[Guest, int] = {}
        self._still: set[Guest] = set()

    def adopt(self, guests: Sequence[Guest]) -> None:
        """Take over guests that an earlier command paused and did not resume."""
        self._still.update(guests)

    def pause_all(self, snapshots: Mapping[Guest, Snapshot] | None = None) -> Failures:
        """Pause all guests at the same moment, each for its snapshot, and return what went wrong with each."""
        return self._all(lambda guest: self._pause(guest, (snapshots or {}).get(guest)), PAUSE_NS)

    def snapshot_all(self, snapshots: Mapping[Guest, Snapshot]) -> Failures:
        """Take these guests' snapshots, and return what went wrong with each."""
        take = self._world.hypervisor.snapshot
        return self._all(lambda guest: take(guest, snapshots[guest]), SNAPSHOT_NS, list(snapshots), "taken")

    def revert_all(self, targets: Mapping[Guest, Snapshot]) -> Failures:
        """Put all guests back, paused, and return what went wrong with each; one that is back already is left so."""
        left = [guest for guest in self._guests if guest not in self._over]
        return self._all(lambda guest: self._revert(guest, targets[guest]), SNAPSHOT_NS, left, "reverted")

    def release(self) -> None:
        """Write down that all were put back, so that each may run on whatever becomes of this run."""
        pauses = self._world.journal.pauses()
        for guest in self._guests:
            with self._locks[guest], suppress(JournalError):  # they are about to run on
                if guest in self._still and guest.uuid in pauses:
                    self._world.journal.note(replace(pauses[guest.uuid], released=True))

    def resume_all(self) -> Failures:
        """Resume whatever still stands still from here, when what is under way with it has ended."""
        return failures(side_by_side(self._guests, self.resume, SNAPSHOT_NS))

    def resume(self, guest: Guest) -> int:
        """Resume a guest if it stands still from here, and return the monotonic time after that in nanoseconds."""
        self._over.add(guest)
        with self._locks[guest]:
            if guest in self._still:
                self._world.hypervisor.resume(guest)
                self._resumed_ns[guest] = self._world.clock.monotonic_ns()
                self._still.discard(guest)
                self._world.journal.strike(guest.uuid)
        return self._world.clock.monotonic_ns()

    def still(self) -> list[Guest]:
        """Return the guests that stand still from here, or may."""
        return [guest for guest in self._guests if guest in self._still]

    def correct_all(
        self, causes: Mapping[Guest, Cause], policy: Policy, node: Nodes, correct: Correct
    ) -> tuple[tuple[Episode, ...], Failures]:
        """Correct all clocks; those too of guests that could not be resumed at once, as soon as they are.

        Return what was seen and done, and which still could not be resumed.
        """
        began_ns = self._world.clock.monotonic_ns()
        episodes = Pass(self._world, causes, policy, node).each(correct, BEGIN_NS)
        late = self.still()
        failed = self.resume_all()
        if resumed := [guest for guest in late if guest not in failed]:
            names = ", ".join(guest.name for guest in resumed)
            self._world.tell("", f"{names}: resumed late; correcting now")
            away_ns = self._world.clock.monotonic_ns() - began_ns
            later = {guest: explaining_more(causes[guest], away_ns) for guest in resumed}
            corrected = {episode.node: episode for episode in Pass(self._world, later, policy, node).each(correct)}
            episodes = tuple(corrected.get(episode.node, episode) for episode in episodes)
        return episodes, failed

    def spread_ns(self) -> int | None:
        """Return how far apart the pauses can have been at most; None before all are paused."""
        if len(self._spans) < len(self._guests) or not self._spans:
            return None
        return max(after for _, after in self._spans.values()) - min(before for before, _ in self._spans.values())

    def since_ns(self) -> int:
        """Return the monotonic time at which the first pause can have begun."""
        return min((before for before, _ in self._spans.values()), default=self._world.clock.monotonic_ns())

    def stalled_ns(self) -> int | None:
        """Return for how long a guest stood still at most; None where none was paused and resumed here."""
        stalls = [self._resumed_ns[guest] - self._spans[guest][0] for guest in self._resumed_ns if guest in self._spans]
        return max(stalls, default=None)

    def _all(
        self,
        act: Callable[[Guest], object],
        within_ns: int,
        guests: Sequence[Guest] | None = None,
        done: str = "",
    ) -> Failures:
        """Do it to these, or to all; where it may take long, tell of how many it is `done`."""
        these = self._guests if guests is None else guests

        def locked(guest: Guest) -> None:
            with self._locks[guest]:
                if guest in self._over:
                    raise HypervisorError(f"{guest.name} is already being resumed")
                act(guest)

        def tell(count: int) -> None:
            if done:
                self._world.tell("", f"{count} of {len(these)} {done}")

        return failures(side_by_side(these, locked, within_ns, tell))

    def _pause(self, guest: Guest, snapshot: Snapshot | None) -> None:
        now_ns = self._world.reference.now().at_ns
        self._world.journal.note(
            Pause(guest.uuid, guest.name, self._operation, now_ns, now_ns, snapshot, connection=guest.connection)
        )
        before = self._world.clock.monotonic_ns()
        try:
            self._world.hypervisor.pause(guest)
        except LostConnectionError:
            self._still.add(guest)  # perhaps: resuming one that runs does no harm
            raise
        except HypervisorError:
            self._world.journal.strike(guest.uuid)
            raise
        self._still.add(guest)
        self._spans[guest] = (before, self._world.clock.monotonic_ns())

    def _revert(self, guest: Guest, snapshot: Snapshot) -> None:
        if guest in self._still:
            return
        now_ns, before = self._world.reference.now().at_ns, self._world.journal.pauses().get(guest.uuid)
        pause = Pause(
            guest.uuid,
            guest.name,
            self._operation,
            now_ns,
            snapshot.created_ns,
            snapshot,
            released=False,
            connection=guest.connection,
        )
        self._world.journal.note(pause)
        try:
            self._world.hypervisor.revert(guest, snapshot.name)
        except LostConnectionError:
            raise  # it may be back: its note says so
        except HypervisorError:
            self._as_before(guest, before)
            raise
        self._still.add(guest)

    def _as_before(self, guest: Guest, before: Pause | None) -> None:
        """After a revert that failed: what was noted before counts again, and one that may stand still stays noted."""
        if before:
            self._world.journal.note(before)
            return
        with suppress(HypervisorError):
            if self._world.hypervisor.state(guest) != "paused":
                self._world.journal.strike(guest.uuid)


def explaining_more(cause: Cause, by_ns: int) -> Cause:
    """Return a cause that explains so much more, which has passed since."""
    return replace(cause, explains_ns=cause.explains_ns + by_ns)
