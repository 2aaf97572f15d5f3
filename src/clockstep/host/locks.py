"""One lock for each domain, among all programs of this machine that act on it: two loops would both step its clock.

An abstract socket (unix(7)) with the domain's UUID in its name is the lock. Whoever has bound it holds it, the kernel
lets go of it with the process however that ends, and SO_PEERCRED tells who it is. A file would need a folder in
which root, a user and a service may all write.

Any user may bind any such name. So a lock of a user that is neither root, nor oneself, nor the service is waited for as
every other, and then passed over: files in a folder of one's own keep one's own processes apart from then on.
"""

import errno
import fcntl
import os
import pwd
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from clockstep.errors import BusyError, visible
from clockstep.model import Guest
from clockstep.ports import Clock, Tell
from clockstep.units import MILLISECOND_NS, SECOND_NS
from clockstep.waiting import said_if_slow

PREFIX = "\0clockstep/domain/"
AGAIN_NS = 20 * MILLISECOND_NS
"""How long after one that waited was let go the next try is: another one may be quicker."""
BACKLOG = 64
LONGEST = 64
"""Bytes: with the prefix an address has room for 107 (unix(7))."""
FOREIGN_NS = 60 * SECOND_NS
"""For how long a lock of another user counts for whoever does not wait for locks at all, as the watcher."""


class Holder(NamedTuple):
    """Who holds a lock: `pid` is 0 where it is nobody, or nobody that answers, as clockstep's do."""

    pid: int = 0
    uid: int | None = None
    text: str = ""


class DomainLocks:
    """The locks that this process holds. Holding is by the process: what a flow holds, its threads may take again.

    `believed` are the accounts, beside root and one's own, whose locks are never passed over; `folder` is where locks
    are kept instead of those that are.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Tell = lambda _node, _text: None,
        folder: Path | None = None,
        believed: Collection[str] = (),
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._folder = folder
        self._believed = believed
        self._held: dict[str, tuple[ExitStack, int]] = {}
        self._foreign: dict[str, tuple[int, int]] = {}
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, guests: Sequence[Guest], within_ns: int) -> Iterator[None]:
        """Hold the locks of these guests; raises BusyError where another process keeps one for longer than that."""
        until_ns = self._clock.monotonic_ns() + within_ns
        with ExitStack() as held:
            for guest in sorted(guests, key=lambda guest: guest.uuid):  # in one order, so that none waits in a ring
                self._take(guest, within_ns, until_ns)
                held.callback(self._let_go, guest.uuid)
            yield

    def _take(self, guest: Guest, within_ns: int, until_ns: int) -> None:
        while not self._try(guest.uuid):
            with said_if_slow(self._tell, guest.name, "locked by another clockstep; waiting for it"):
                holder = self._await_release(guest.uuid, until_ns)
            if self._clock.monotonic_ns() >= until_ns:
                if self._passes_over(guest, holder, waited=within_ns > 0):
                    return
                text = f"{guest.name} is locked by another clockstep{holder.text}"
                raise BusyError(text, "wait for it or stop it")

    def _try(self, uuid: str) -> bool:
        with self._guard:
            if uuid in self._held:
                lock, count = self._held[uuid]
            else:
                lock, count = ExitStack(), 0
                if not self._bind(lock, uuid):
                    lock.close()
                    return False
                self._foreign.pop(uuid, None)
            self._held[uuid] = (lock, count + 1)
            return True

    def _bind(self, lock: ExitStack, uuid: str) -> bool:
        """Bind the name; and take the file, if there is one: a process of one's own may hold that alone."""
        bound = lock.enter_context(socket.socket(socket.AF_UNIX))
        try:
            bound.bind(_address(uuid))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        if (file := self._file(uuid)) and file.exists() and not self._take_file(lock, file):
            return False
        bound.listen(BACKLOG)
        return True

    def _file(self, uuid: str) -> Path | None:
        return self._folder / _short(uuid).replace("/", "-") if self._folder else None

    def _take_file(self, lock: ExitStack, file: Path) -> bool:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fcntl.flock(lock.enter_context(FileIO(file, "a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # one's own, or the folder cannot be written
            return False
        return True

    def _passes_over(self, guest: Guest, holder: Holder, *, waited: bool) -> bool:
        """Take a lock of one's own if a user holds the domain's who cannot keep it, and return whether that is so."""
        file, now_ns = self._file(guest.uuid), self._clock.monotonic_ns()
        if file is None or (holder.uid is not None and self._believes(holder.uid)):
            return False
        with self._guard:
            pid, since_ns = self._foreign.get(guest.uuid, (holder.pid, now_ns))
            since_ns = since_ns if pid == holder.pid else now_ns
            self._foreign[guest.uuid] = holder.pid, since_ns
            if not waited and now_ns - since_ns < FOREIGN_NS:
                return False
            lock = ExitStack()
            if not self._take_file(lock, file):
                lock.close()
                return False
            self._held[guest.uuid] = (lock, 1)
        self._tell("", f"{guest.name}: ignoring the lock of another user's process{holder.text}")
        return True

    def _believes(self, uid: int) -> bool:
        return uid in {0, os.geteuid()} or account(uid) in self._believed

    def _let_go(self, uuid: str) -> None:
        with self._guard:
            lock, count = self._held.pop(uuid)
            if count > 1:
                self._held[uuid] = (lock, count - 1)
            else:
                lock.close()

    def _await_release(self, uuid: str, until_ns: int) -> Holder:
        """Wait until the holder closes its socket, which ends the connection to it; return who that was."""
        with socket.socket(socket.AF_UNIX) as waiting:
            holder = Holder()
            try:
                waiting.settimeout(max(0, until_ns - self._clock.monotonic_ns()) / SECOND_NS or 0.001)
                waiting.connect(_address(uuid))
                holder = _named(waiting)
                waiting.recv(1)
            except OSError:  # nobody holds it any more, or the time is up
                self._clock.sleep_ns(AGAIN_NS)
            return holder


def _address(uuid: str) -> str:
    return PREFIX + _short(uuid)


def _short(uuid: str) -> str:
    """Return what identifies a machine in a form that an address has room for: a host's name may be too long."""
    if len(uuid.encode()) <= LONGEST:
        return uuid
    import hashlib  # which loads OpenSSL: most commands need none

    return hashlib.sha256(uuid.encode()).hexdigest()


def account(uid: int) -> str:
    """Return an account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _named(connected: socket.socket) -> Holder:
    pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = ""
    text = f" (pid {pid} of {account(uid)}{f': {visible(command[:80])}' if command else ''})"
    return Holder(pid, uid, text)
