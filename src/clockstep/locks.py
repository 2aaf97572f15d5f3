"""One lock for each domain, among all programs of this machine that act on it: two loops would both step its clock.

An abstract socket (unix(7)) with the domain's UUID in its name is the lock. Whoever has bound it holds it, the kernel
lets go of it with the process however that ends, and SO_PEERCRED tells who it is. A file would need a folder in
which root, a user and a service may all write.
"""

import errno
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clockstep.errors import BusyError
from clockstep.model import Guest
from clockstep.ports import Clock
from clockstep.units import MILLISECOND_NS, SECOND_NS

PREFIX = "\0clockstep/domain/"
AGAIN_NS = 20 * MILLISECOND_NS
"""How long after one that waited was let go the next try is: another one may be quicker."""
BACKLOG = 64


class DomainLocks:
    """The locks that this process holds. Holding is by the process: what a flow holds, its threads may take again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[socket.socket, int]] = {}
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, guests: Sequence[Guest], within_ns: int) -> Iterator[None]:
        """Hold the locks of these guests; raises BusyError where another process keeps one for longer than that."""
        until_ns = self._clock.monotonic_ns() + within_ns
        with ExitStack() as held:
            for guest in sorted(guests, key=lambda guest: guest.uuid):  # in one order, so that none waits in a ring
                self._take(guest, until_ns)
                held.callback(self._let_go, guest.uuid)
            yield

    def _take(self, guest: Guest, until_ns: int) -> None:
        while not self._try(guest.uuid):
            holder = self._await_release(guest.uuid, until_ns)
            if self._clock.monotonic_ns() >= until_ns:
                raise BusyError(f"another clockstep works on {guest.name}{holder}", "let it end, or end it")

    def _try(self, uuid: str) -> bool:
        with self._guard:
            if uuid in self._held:
                lock, count = self._held[uuid]
            else:
                lock, count = socket.socket(socket.AF_UNIX), 0
                try:
                    lock.bind(PREFIX + uuid)
                except OSError as error:
                    lock.close()
                    if error.errno != errno.EADDRINUSE:
                        raise
                    return False
                lock.listen(BACKLOG)
            self._held[uuid] = (lock, count + 1)
            return True

    def _let_go(self, uuid: str) -> None:
        with self._guard:
            lock, count = self._held.pop(uuid)
            if count > 1:
                self._held[uuid] = (lock, count - 1)
            else:
                lock.close()

    def _await_release(self, uuid: str, until_ns: int) -> str:
        """Wait until the holder closes its socket, which ends the connection to it; return who that was, in words."""
        with socket.socket(socket.AF_UNIX) as waiting:
            holder = ""
            try:
                waiting.settimeout(max(0, until_ns - self._clock.monotonic_ns()) / SECOND_NS or 0.001)
                waiting.connect(PREFIX + uuid)
                holder = _named(waiting)
                waiting.recv(1)
            except OSError:  # nobody holds it any more, or the time is up
                self._clock.sleep_ns(AGAIN_NS)
            return holder


def _named(connected: socket.socket) -> str:
    pid, _, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = ""
    return f": process {pid}" + (f" ({command[:80]})" if command else "")
