"""Connections to one libvirt: a few, each used by one piece of work at a time.

libvirt works on at most five requests of one connection and on twenty of all at a time (max_client_requests and
max_workers in libvirtd.conf), and each connection over ssh is a login. So work takes turns, in the order in which it
comes: readings of machines that run on already do not hold up the resume of others. A call that hangs keeps its
connection to itself: after the time limit of the call that connection is given up, and another may be opened instead.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from clockstep.errors import HypervisorError
from clockstep.machines.libvirt.connection import alive, close, connect
from clockstep.units import SECOND_NS

MOST = 15
"""With the one that lists machines and hears events it is 16 for each libvirt."""
LEAST = 4
"""So many are usable however many others hang."""
OPENING = 4
"""How many are opened at once: sshd turns away logins at random beyond ten that have not ended (MaxStartups)."""
OPEN_NS = 30 * SECOND_NS


class Lease:
    """A connection for one piece of work, which is to be over at `until_ns` of the monotonic clock."""

    def __init__(self, connection: Any, within_ns: int) -> None:
        self.connection = connection
        self.until_ns = 0
        self.renew(within_ns)
        self._domains: dict[str, Any] = {}

    def renew(self, within_ns: int) -> None:
        """Give the next call this time from now on."""
        self.until_ns = time.monotonic_ns() + within_ns

    def knows(self, uuid: str) -> bool:
        """Whether this connection has been asked for a domain."""
        return uuid in self._domains

    def domain(self, uuid: str) -> Any:
        """Return a domain on this connection; raises libvirtError if there is none."""
        if uuid not in self._domains:
            self._domains[uuid] = self.connection.lookupByUUIDString(uuid)
        return self._domains[uuid]

    def close(self) -> None:
        """Let go of the connection, and of its domains, which would keep it open."""
        self._domains.clear()
        close(self.connection)


class Opening:
    """A connection that is being opened."""

    def __init__(self) -> None:
        self.until_ns = time.monotonic_ns() + OPEN_NS


class Pool:
    """The connections to one address; `losses` counts those that broke."""

    def __init__(self, uri: str | None) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._turns: deque[threading.Condition] = deque()  # of those that wait, in the order in which they came
        self._idle: list[Lease] = []
        self._busy: set[Lease] = set()
        self._given_up: set[Lease] = set()
        self._openings: set[Opening] = set()
        self._connected = False
        self._closed = False
        self.losses = 0

    @contextmanager
    def leased(self, uuid: str, within_ns: int) -> Iterator[Lease]:
        """Lend a connection, one that knows this domain if it can be; after `within_ns` it is not waited for.

        Raises HypervisorError if none can be opened: LostConnectionError if that was possible before.
        """
        lease, keep = self._taken(uuid, within_ns), False
        try:
            yield lease
            keep = True
        except Exception:
            keep = alive(lease.connection)
            raise
        finally:
            self._give_back(lease, keep=keep)

    def close(self) -> None:
        """Close all that is idle now, and what is busy as soon as it is not."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._wake_first()
        for lease in idle:
            lease.close()

    def _taken(self, uuid: str, within_ns: int) -> Lease:
        broken: list[Lease] = []
        try:
            with self._lock, self._turn() as turn:
                while (lease := self._idle_one(uuid, broken)) is None and not self._may_open():
                    turn.wait(self._next_limit_s())
                if lease is None:
                    opening = Opening()
                    self._openings.add(opening)
                else:
                    lease.renew(within_ns)
                    self._busy.add(lease)
        finally:
            for one in broken:
                one.close()
        return lease or self._opened(opening, within_ns)

    @contextmanager
    def _turn(self) -> Iterator[threading.Condition]:
        """Wait until those have had their turn that came before: whoever gives a connection back overtakes nobody."""
        turn = threading.Condition(self._lock)
        try:
            self._turns.append(turn)
            while self._turns[0] is not turn:
                turn.wait()
            yield turn
        finally:
            with suppress(ValueError):  # an interrupt was quicker
                self._turns.remove(turn)
            self._wake_first()

    def _wake_first(self) -> None:
        if self._turns:
            self._turns[0].notify()

    def _idle_one(self, uuid: str, broken: list[Lease]) -> Lease | None:
        """Return an idle connection that is alive, the one used last; those that broke are to be closed."""
        if self._closed:
            raise HypervisorError("the connections to libvirt were closed")
        dead = [lease for lease in self._idle if not alive(lease.connection)]
        if dead:
            self.losses += len(dead)
            self._idle = [lease for lease in self._idle if lease not in dead]
            broken.extend(dead)
        if not self._idle:
            return None
        lease = next((lease for lease in reversed(self._idle) if lease.knows(uuid)), self._idle[-1])
        self._idle.remove(lease)
        return lease

    def _may_open(self) -> bool:
        """Whether there is room for one more; what is beyond its time limit is given up before."""
        now_ns = time.monotonic_ns()
        hung = {lease for lease in self._busy if lease.until_ns <= now_ns}
        self._busy -= hung
        self._given_up |= hung
        opening = sum(one.until_ns > now_ns for one in self._openings)
        usable = len(self._idle) + len(self._busy) + opening
        there = usable + len(self._given_up)
        return opening < OPENING and (there < MOST or usable < LEAST)

    def _next_limit_s(self) -> float:
        waited_for = [*(one.until_ns for one in self._busy), *(one.until_ns for one in self._openings)]
        now_ns = time.monotonic_ns()
        return min((until_ns - now_ns for until_ns in waited_for if until_ns > now_ns), default=SECOND_NS) / SECOND_NS

    def _opened(self, opening: Opening, within_ns: int) -> Lease:
        """Open a connection; of one whose opening is interrupted nothing is kept."""
        try:
            lease = Lease(connect(self._uri, again=self._connected), within_ns)
            with self._lock:
                self._connected = True
                self._busy.add(lease)
            return lease
        finally:
            with self._lock:
                self._openings.discard(opening)
                self._wake_first()

    def _give_back(self, lease: Lease, *, keep: bool) -> None:
        """Take a connection back; one that broke, was interrupted or was given up is closed."""
        with self._lock:
            keep = keep and lease in self._busy and not self._closed
            self._busy.discard(lease)
            self._given_up.discard(lease)
            if keep:
                self._idle.append(lease)
            self._wake_first()
        if not keep:
            self.losses += 1
            lease.close()
