"""Guests that are paused together and resumed on every way out.

A pause that is still under way when the work is interrupted would outlive it, and a guest cannot be resumed while its
snapshot is being taken. So each guest has a lock: resuming waits for what is under way, and forbids what has not begun.
"""

import threading
from collections.abc import Sequence

from clockstep.errors import ClockstepError, HypervisorError
from clockstep.fleet import side_by_side
from clockstep.model import Guest, Snapshot
from clockstep.ports import Clock, Hypervisor
from clockstep.units import MINUTE_NS, SECOND_NS

PAUSE_NS = 15 * SECOND_NS
SNAPSHOT_NS = 5 * MINUTE_NS


class Hold:
    """The pauses of one piece of work; only what was paused here is resumed here."""

    def __init__(self, hypervisor: Hypervisor, guests: Sequence[Guest], clock: Clock) -> None:
        self._hypervisor = hypervisor
        self._guests = guests
        self._clock = clock
        self._locks = {guest: threading.Lock() for guest in guests}
        self._over: set[Guest] = set()
        self._spans: dict[Guest, tuple[int, int]] = {}
        self._paused: set[Guest] = set()

    def pause_all(self) -> dict[str, ClockstepError | None]:
        """Pause all guests at the same moment, and return what went wrong with each."""
        return side_by_side(self._guests, self._pause, PAUSE_NS)

    def snapshot_all(self, snapshot: Snapshot) -> dict[str, ClockstepError | None]:
        """Take the snapshot of all guests, and return what went wrong with each."""
        return side_by_side(self._guests, lambda guest: self._snapshot(guest, snapshot), SNAPSHOT_NS)

    def resume_all(self) -> dict[str, int | ClockstepError]:
        """Resume whatever is still paused from here, when a snapshot of it that is under way has ended."""
        return side_by_side(self._guests, self.resume, SNAPSHOT_NS)

    def resume(self, guest: Guest) -> int:
        """Resume a guest if it is paused from here, and return the monotonic time after that in nanoseconds."""
        self._over.add(guest)
        with self._locks[guest]:
            if guest in self._paused:
                self._hypervisor.resume(guest)
                self._paused.discard(guest)
        return self._clock.monotonic_ns()

    def spread_ns(self) -> int | None:
        """Return how far apart the pauses can have been at most; None before all are paused."""
        if len(self._spans) < len(self._guests) or not self._spans:
            return None
        return max(after for _, after in self._spans.values()) - min(before for before, _ in self._spans.values())

    def since_ns(self) -> int:
        """Return the monotonic time at which the first pause can have begun."""
        return min((before for before, _ in self._spans.values()), default=self._clock.monotonic_ns())

    def _pause(self, guest: Guest) -> None:
        with self._locks[guest]:
            self._refuse_over(guest)
            before = self._clock.monotonic_ns()
            self._hypervisor.pause(guest)
            self._paused.add(guest)
            self._spans[guest] = (before, self._clock.monotonic_ns())

    def _snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        with self._locks[guest]:
            self._refuse_over(guest)
            self._hypervisor.snapshot(guest, snapshot)

    def _refuse_over(self, guest: Guest) -> None:
        if guest in self._over:
            raise HypervisorError(f"{guest.name} is to run on already")
