"""One domain, one program: a lock that is let go of with the process that holds it, however that ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from clockstep.errors import BusyError
from clockstep.kernel.clock import SystemClock
from clockstep.locks import DomainLocks
from clockstep.model import Guest

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
OTHER = """
import sys
from clockstep.kernel.clock import SystemClock
from clockstep.locks import DomainLocks
from clockstep.model import Guest
print("begins", flush=True)
with DomainLocks(SystemClock()).hold([Guest(uuid, uuid, "running") for uuid in sys.argv[1:]], 20 * 10**9):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def guest() -> Guest:
    return Guest("node", str(uuid4()), "running")


@pytest.fixture
def locks() -> DomainLocks:
    return DomainLocks(SystemClock())


@contextmanager
def another(*uuids: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the locks of these."""
    command = [sys.executable, "-c", OTHER, *uuids]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert [process.stdout.readline() for _ in range(2)] == ["begins\n", "held\n"]
        yield process
        process.kill()


def test_what_another_process_holds_is_refused_with_its_name(guest: Guest, locks: DomainLocks) -> None:
    with another(guest.uuid) as other, pytest.raises(BusyError) as refused, locks.hold([guest], 50 * MILLISECOND):
        pass
    assert f"process {other.pid}" in refused.value.message
    assert "node" in refused.value.message


def test_what_a_killed_process_held_is_free_at_once(guest: Guest, locks: DomainLocks) -> None:
    with another(guest.uuid) as other:
        other.kill()
        other.wait()
        with locks.hold([guest], SECOND):
            pass


def test_one_that_waits_gets_it_when_it_is_let_go_of(guest: Guest, locks: DomainLocks) -> None:
    with locks.hold([guest], SECOND):
        command = [sys.executable, "-c", OTHER, guest.uuid]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "begins\n"
    assert other.communicate("")[0] == "held\n"


def test_a_process_may_take_again_what_it_holds(guest: Guest, locks: DomainLocks) -> None:
    with locks.hold([guest], SECOND):
        with locks.hold([guest], SECOND):
            pass
        with pytest.raises(BusyError), DomainLocks(SystemClock()).hold([guest], 20 * MILLISECOND):
            pass


def test_where_one_of_several_is_busy_none_stays_held(guest: Guest, locks: DomainLocks) -> None:
    second = Guest("other", str(uuid4()), "running")
    with another(second.uuid), pytest.raises(BusyError), locks.hold([guest, second], 50 * MILLISECOND):
        pass
    with DomainLocks(SystemClock()).hold([guest], 50 * MILLISECOND):
        pass
