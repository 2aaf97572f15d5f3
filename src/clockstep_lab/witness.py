"""The judge: what each guest's clock really said, heard over virtio-serial; it shares no code with the product.

Two ports for each guest (guest/witness.c). The *stream* brings the guest's CLOCK_REALTIME every 10 ms, one way: it
tells wrong from right, with a tolerance above its own delay. The *echo* returns a nonce with the guest's clock: each
look has two sides, so its error is known, half of the round trip, and residuals come from here. QEMU serves each port
to one listener at a time, and a revert makes a new QEMU with a new socket, which is connected to anew.
"""

import itertools
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from .domain import witness_socket

RETRY_S = 0.01
ECHO_EVERY_S = 0.02
STREAMS_S = 10
TOLERANCE_FLOOR_NS = 20_000_000
GUEST_RESOLUTION_NS = 1_000


@dataclass(frozen=True)
class Stamp:
    """One line of the stream: the guest's clock, and when it was heard (this machine's clocks), in nanoseconds."""

    heard_ns: int
    heard_monotonic_ns: int
    guest_ns: int
    connection: int

    @property
    def lag_ns(self) -> int:
        """How far the guest's clock is behind, plus the stream's delay."""
        return self.heard_ns - self.guest_ns


@dataclass(frozen=True)
class Look:
    """One echo: the guest's clock minus this machine's, in nanoseconds; the truth lies within `error_ns` of it."""

    at_monotonic_ns: int
    offset_ns: int
    error_ns: int
    connection: int

    def surely_within(self, limit_ns: int) -> bool:
        return abs(self.offset_ns) + self.error_ns <= limit_ns


class Echo:
    """The echo port of one guest. Raises OSError where nobody answers."""

    _nonces = itertools.count(time.monotonic_ns())

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(1)
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def look(self, timeout_s: float, connection: int = 0) -> Look:
        """Ask once. Raises OSError (TimeoutError, ConnectionError) without an answer to this very nonce in time."""
        nonce = b"%x" % next(self._nonces)
        until = time.monotonic() + timeout_s
        asked_ns, asked_monotonic_ns = time.time_ns(), time.monotonic_ns()
        self._socket.sendall(nonce + b"\n")
        heard = b""
        while not (answer := _answer_to(nonce, heard)):
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            chunk = self._socket.recv(4096)
            took_ns = time.monotonic_ns() - asked_monotonic_ns
            if not chunk:
                raise ConnectionError("the guest's QEMU has gone")
            heard += chunk
        error_ns = took_ns // 2 + GUEST_RESOLUTION_NS
        return Look(asked_monotonic_ns + took_ns // 2, answer - (asked_ns + took_ns // 2), error_ns, connection)


def _answer_to(nonce: bytes, heard: bytes) -> int | None:
    """The clock in the answer to this nonce; answers to others, from before a timeout or a revert, are passed over."""
    for line in heard.split(b"\n")[:-1]:
        words = line.split()
        if len(words) == 2 and words[0] == nonce and words[1].isdigit():
            return int(words[1])
    return None


@dataclass
class Testimony:
    """All that was heard of one guest since listening began, in the order it was heard."""

    stamps: list[Stamp] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    connections: int = 0

    def forget(self) -> None:
        """Drop what was heard, but not how often the guest has come back."""
        self.stamps.clear()
        self.looks.clear()

    def since(self, monotonic_ns: int) -> "Testimony":
        """What was heard from this moment of this machine's monotonic clock on."""
        stamps = [stamp for stamp in list(self.stamps) if stamp.heard_monotonic_ns >= monotonic_ns]
        looks = [look for look in list(self.looks) if look.at_monotonic_ns >= monotonic_ns]
        return Testimony(stamps, looks, self.connections)

    def returned(self, connections: int) -> "Testimony":
        """What was heard since the guest came back in a new QEMU; `connections` is how many there had been before.

        A stamp that was heard then as well was written before the snapshot, and lay in the port's queue: a revert has
        it delivered once more.
        """
        stamps = list(self.stamps)
        anew = next((stamp for stamp in stamps if stamp.connection > connections), None)
        if anew is None:
            return Testimony(connections=self.connections)
        before = {stamp.guest_ns for stamp in stamps if stamp.connection <= connections}
        heard = self.since(anew.heard_monotonic_ns)
        return replace(heard, stamps=[stamp for stamp in heard.stamps if stamp.guest_ns not in before])

    def tolerance_ns(self) -> int:
        """A lag that the stream itself never has: twice the 99th percentile of its delay while the clock was right."""
        lags = sorted(abs(stamp.lag_ns) for stamp in list(self.stamps))
        return max(TOLERANCE_FLOOR_NS, 2 * lags[math.ceil(len(lags) * 0.99) - 1] if lags else 0)


@dataclass(frozen=True)
class Verdict:
    """What the witness says of one guest's way back from a jump; all in nanoseconds.

    behind_by: how far its clock was behind when it was first heard. wrong_for: for how long, in all, the newest stamp
    of its stream was beyond the tolerance. right_within: from when it was first heard until it was right to stay,
    None while it is not. residual and witness_error: the last echo's offset, and its error.
    """

    behind_by_ns: int
    wrong_for_ns: int
    right_within_ns: int | None
    residual_ns: int
    witness_error_ns: int


def judge(heard: Testimony, tolerance_ns: int, limit_ns: int = 10_000_000) -> Verdict:
    """Judge what was heard from a guest's return on. Raises ValueError when nothing was."""
    if not heard.stamps or not heard.looks:
        raise ValueError("the witness heard nothing")
    began_ns = min(heard.stamps[0].heard_monotonic_ns, heard.looks[0].at_monotonic_ns)
    wrong = [stamp for stamp in heard.stamps if abs(stamp.lag_ns) > tolerance_ns]
    last = heard.looks[-1]
    right_ns = right_since(heard.looks, limit_ns)
    return Verdict(
        behind_by_ns=-heard.looks[0].offset_ns if not wrong else wrong[0].lag_ns,
        wrong_for_ns=_in_all(heard.stamps, tolerance_ns),
        right_within_ns=right_ns - began_ns if right_ns else None,
        residual_ns=last.offset_ns,
        witness_error_ns=last.error_ns,
    )


def _in_all(stamps: list[Stamp], tolerance_ns: int) -> int:
    pairs = itertools.pairwise(stamps)
    return sum(b.heard_monotonic_ns - a.heard_monotonic_ns for a, b in pairs if abs(a.lag_ns) > tolerance_ns)


def right_since(looks: list[Look], limit_ns: int) -> int | None:
    """When the clock became right to stay, on this machine's monotonic clock; None while it is not.

    That is the first look that is surely within the limit and after which no look is surely beyond it.
    """
    since = None
    for look in reversed(looks):
        if abs(look.offset_ns) - look.error_ns > limit_ns:
            break
        if look.surely_within(limit_ns):
            since = look.at_monotonic_ns
    return since


class Witness:
    """Listens to the guests of a lab, each on both ports, for as long as the `with` block lasts.

    Each echo takes a guest about a millisecond of a core, and each stamp more: where many share few cores,
    `echo_every_s` is longer, and streams are listened to only while it is asked for (`hear_streams`).
    """

    def __init__(
        self, folder: Path, names: list[str], echo_every_s: float = ECHO_EVERY_S, *, streams: bool = True
    ) -> None:
        self._echo_every_s = echo_every_s
        self.heard = {name: Testimony() for name in names}
        self._stop = threading.Event()
        self._streams = threading.Event()
        if streams:
            self._streams.set()
        ears = [(self._hear_stream, "stream"), (self._hear_echoes, "echo")]
        self._threads = [
            threading.Thread(target=ear, args=(witness_socket(folder, name, port), self.heard[name]), daemon=True)
            for name in names
            for ear, port in ears
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(3)

    def await_looks(self, count: int = 5, timeout_s: float = 10) -> None:
        """Wait until every guest has answered this many further echoes. Raises TimeoutError, naming who did not."""
        want = {name: len(heard.looks) + count for name, heard in self.heard.items()}
        until = time.monotonic() + timeout_s
        while missing := [name for name, number in want.items() if len(self.heard[name].looks) < number]:
            if time.monotonic() > until:
                raise TimeoutError(f"no echo from {', '.join(missing)}")
            self._stop.wait(ECHO_EVERY_S)

    def await_right(self, limit_ns: int, timeout_s: float) -> bool:
        """Wait until every guest's newest echo is surely within the limit; whether that came in time."""
        until = time.monotonic() + timeout_s
        while not all(heard.looks and heard.looks[-1].surely_within(limit_ns) for heard in self.heard.values()):
            if time.monotonic() > until:
                return False
            self._stop.wait(ECHO_EVERY_S)
        return True

    @contextmanager
    def hear_streams(self) -> Iterator[None]:
        """Listen to the streams as well, from their first stamps on, until the block ends."""
        self._streams.set()
        try:
            until = time.monotonic() + STREAMS_S
            while missing := [name for name, heard in self.heard.items() if not heard.stamps]:
                if time.monotonic() > until:
                    raise TimeoutError(f"no stream from {', '.join(missing)}")
                self._stop.wait(ECHO_EVERY_S)
            yield
        finally:
            self._streams.clear()

    def _hear_stream(self, path: Path, heard: Testimony) -> None:
        connection = 0
        while not self._stop.is_set():
            if not self._streams.wait(RETRY_S):
                connection = 0
                continue
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as port:
                port.settimeout(0.5)
                port.connect(str(path))
                connection = connection + 1 if connection else max(1, heard.connections)
                self._read_stream(port, heard, connection)
            self._stop.wait(RETRY_S)

    def _read_stream(self, port: socket.socket, heard: Testimony, connection: int) -> None:
        rest = b""
        whole = False  # the first line may be the end of one
        while self._streams.is_set() and not self._stop.is_set():
            try:
                chunk = port.recv(65536)
            except TimeoutError:  # a paused guest says nothing
                continue
            now_ns, now_monotonic_ns = time.time_ns(), time.monotonic_ns()
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                words = line.split()
                if whole and len(words) == 3:
                    heard.stamps.append(Stamp(now_ns, now_monotonic_ns, int(words[1]), connection))
                whole = True

    def _hear_echoes(self, path: Path, heard: Testimony) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                echo = Echo(path)
                heard.connections += 1
                try:
                    while not self._stop.wait(self._echo_every_s):
                        with suppress(TimeoutError):
                            heard.looks.append(echo.look(0.5, heard.connections))
                finally:
                    echo.close()
            self._stop.wait(RETRY_S)
