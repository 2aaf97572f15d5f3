"""Connections to one libvirt: how many there are, who has them, and what becomes of one that hangs or breaks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import libvirt
import pytest

from clockstep.errors import HypervisorError, LostConnectionError
from clockstep.machines.libvirt import pool as pools
from clockstep.machines.libvirt.pool import LEAST, MOST, OPENING, Lease, Pool
from clockstep.units import SECOND_NS
from conftest import until

LONG_NS, SOON_NS = 60 * SECOND_NS, SECOND_NS // 20


class Connection:
    """A connection of a libvirt that has every domain."""

    def __init__(self, host: "Host") -> None:
        self.host, self.living = host, True

    def isAlive(self) -> bool:  # noqa: N802 - as libvirt calls it
        return self.living

    def close(self) -> None:
        self.host.open.discard(self)

    def lookupByUUIDString(self, uuid: str) -> tuple["Connection", str]:  # noqa: N802
        return self, uuid


class Host:
    """A libvirt that counts its connections; `gate` lets them be opened."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.most = self.opening = self.most_opening = self.opened = 0
        self.gate = threading.Event()
        self.gate.set()
        self.away: BaseException | None = None
        self.again: list[bool] = []
        self._lock = threading.Lock()

    def connect(self, _uri: str | None, *, again: bool = False) -> Connection:
        with self._lock:
            self.again.append(again)
            self.opening += 1
            self.most_opening = max(self.most_opening, self.opening)
        try:
            self.gate.wait(20)
            if self.away:
                raise self.away
            with self._lock:
                connection = Connection(self)
                self.open.add(connection)
                self.opened += 1
                self.most = max(self.most, len(self.open))
            return connection
        finally:
            with self._lock:
                self.opening -= 1


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(pools, "connect", host.connect)
    return host


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(200) as executor:
        yield executor


@contextmanager
def hanging(pool: Pool, threads: ThreadPoolExecutor, count: int, within_ns: int = LONG_NS) -> Iterator[list[Lease]]:
    """Calls that do not return while this lasts."""
    over, begun = threading.Event(), list[Lease]()

    def hang(number: int) -> None:
        with pool.leased(f"hanging-{number}", within_ns) as lease:
            begun.append(lease)
            over.wait(20)

    calls = [threads.submit(hang, number) for number in range(count)]
    until(lambda: len(begun) == count, 10)
    try:
        yield begun
    finally:
        over.set()
        wait(calls, 20)


def asked(pool: Pool, uuid: str = "node", within_ns: int = LONG_NS) -> Lease:
    with pool.leased(uuid, within_ns) as lease:
        return lease


def test_work_that_is_not_at_the_same_time_has_one_connection(host: Host) -> None:
    pool = Pool(None)
    assert len({asked(pool, f"node-{number}") for number in range(50)}) == 1
    assert len(host.open) == 1


def test_a_host_has_a_bounded_number_of_connections_and_everybody_gets_a_turn(
    host: Host, threads: ThreadPoolExecutor
) -> None:
    pool, busy, doubled = Pool(None), set[Lease](), list[Lease]()

    def work(number: int) -> None:
        with pool.leased(f"node-{number}", LONG_NS) as lease:
            if lease in busy:
                doubled.append(lease)
            busy.add(lease)
            threading.Event().wait(0.002)
            busy.discard(lease)

    for done in [threads.submit(work, number) for number in range(200)]:
        done.result(20)
    assert doubled == []
    assert 1 < host.most <= MOST
    assert host.most_opening <= OPENING


def test_a_call_that_hangs_shares_its_connection_with_nobody(host: Host, threads: ThreadPoolExecutor) -> None:
    pool = Pool(None)
    with hanging(pool, threads, 1) as hung:
        assert asked(pool) not in hung
        assert asked(pool, "hanging-0") not in hung


def test_calls_that_hang_beyond_their_limit_take_nobodys_turn(host: Host, threads: ThreadPoolExecutor) -> None:
    pool = Pool(None)
    with hanging(pool, threads, MOST, SOON_NS):
        assert threads.submit(asked, pool).result(10) is not None
        assert host.most <= MOST + LEAST
    until(lambda: len(host.open) <= LEAST, 10)  # what came back too late is closed


def test_a_call_that_takes_its_time_is_waited_for(host: Host, threads: ThreadPoolExecutor) -> None:
    pool = Pool(None)
    with hanging(pool, threads, MOST) as busy:
        waiting: Future[Lease] = threads.submit(asked, pool)
        assert not wait([waiting], 0.2).done
    assert waiting.result(10) in busy


def test_whoever_gives_a_connection_back_and_wants_one_again_overtakes_nobody(
    host: Host, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MOST", 1)
    monkeypatch.setattr(pools, "LEAST", 0)
    pool, begun, over, order = Pool(None), threading.Event(), threading.Event(), list[str]()

    def greedy() -> None:
        with pool.leased("node-0", LONG_NS):
            begun.set()
            over.wait(20)
        for _ in range(3):
            with pool.leased("node-0", LONG_NS):
                order.append("again")

    def patient(name: str) -> None:
        with pool.leased(name, LONG_NS):
            order.append(name)

    calls = [threads.submit(greedy)]
    assert begun.wait(10)
    for number in range(1, 6):
        calls.append(threads.submit(patient, f"node-{number}"))
        until(lambda number=number: len(pool._turns) == number, 10)  # type: ignore[misc]
    over.set()
    for call in calls:
        call.result(10)
    assert order == [*(f"node-{number}" for number in range(1, 6)), *["again"] * 3]
    assert host.opened == 1


def test_a_connection_that_broke_is_replaced_and_is_not_found_by_the_next(host: Host) -> None:
    pool = Pool(None)
    first = asked(pool)
    first.connection.living = False
    assert asked(pool) is not first
    assert first.connection not in host.open
    assert host.again == [False, True]
    assert pool.losses == 1


def test_a_connection_that_breaks_during_a_call_is_not_used_again(host: Host) -> None:
    pool = Pool(None)
    with pytest.raises(libvirt.libvirtError), pool.leased("node", LONG_NS) as lease:
        lease.connection.living = False
        raise libvirt.libvirtError("broken pipe")
    assert host.open == set()


def test_a_call_that_fails_costs_no_connection(host: Host) -> None:
    pool = Pool(None)
    with pytest.raises(HypervisorError), pool.leased("node", LONG_NS) as lease:
        raise HypervisorError("no")
    assert asked(pool) is lease


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_a_connection_whose_opening_or_use_was_interrupted_is_not_kept(
    host: Host, interrupt: Callable[[], BaseException]
) -> None:
    pool = Pool(None)
    host.away = interrupt()
    for _ in range(2 * MOST):  # none of them counts as one that is there
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            asked(pool)
    host.away = None
    with pytest.raises((KeyboardInterrupt, SystemExit)), pool.leased("node", LONG_NS) as lease:
        raise interrupt()
    assert lease.connection not in host.open
    assert asked(pool) is not lease


def test_a_libvirt_that_is_away_is_said_to_each_and_is_tried_again(host: Host) -> None:
    pool = Pool(None)
    host.away = LostConnectionError("libvirtd is away")
    for _ in range(2 * MOST):
        with pytest.raises(LostConnectionError):
            asked(pool)
    host.away = None
    assert asked(pool).connection in host.open


def test_connections_that_cannot_be_opened_in_time_hold_up_no_other_for_ever(
    host: Host, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "OPEN_NS", SOON_NS)
    pool = Pool(None)
    host.gate.clear()
    stuck = [threads.submit(asked, pool, f"node-{number}") for number in range(OPENING)]
    until(lambda: host.opening == OPENING, 10)
    late = threads.submit(asked, pool)
    until(lambda: host.opening == OPENING + 1, 10)
    host.gate.set()
    assert {one.result(10).connection for one in (*stuck, late)} == host.open


def test_all_connections_are_closed_in_the_end(host: Host, threads: ThreadPoolExecutor) -> None:
    pool = Pool(None)
    with hanging(pool, threads, 2) as busy:
        asked(pool)
        pool.close()
        assert host.open == {one.connection for one in busy}
        with pytest.raises(HypervisorError):
            asked(pool)
    until(lambda: not host.open, 10)
