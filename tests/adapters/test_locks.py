"""One domain, one program: a lock that is let go of with the process that holds it, however that ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from clockstep.errors import BusyError
from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks, account
from clockstep.model import Guest

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
OTHER = """
import sys
from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
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
    assert f"pid {other.pid} of" in refused.value.message
    assert "node" in refused.value.message


def test_that_one_waits_is_said_after_a_moment(guest: Guest) -> None:
    told: list[tuple[str, str]] = []
    locks = DomainLocks(SystemClock(), lambda node, text: told.append((node, text)))
    with locks.hold([guest], SECOND):
        assert told == []
    with another(guest.uuid), pytest.raises(BusyError), locks.hold([guest], 2 * SECOND):
        pass
    assert told[0] == ("node", "locked by another clockstep; waiting for it")


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


SQUATTER = """
import os, socket, sys
if os.geteuid() == 0:
    os.setuid(65534)
lock = socket.socket(socket.AF_UNIX)
lock.bind("\\0clockstep/domain/" + sys.argv[1])
lock.listen(64)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def squatter(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[str]"]:
    """A process of another user that holds the lock, and never lets go of it."""
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: 4242)  # so that it is another user's for whoever asks
    command = [sys.executable, "-I", "-S", "-c", SQUATTER, guest.uuid]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class Late(SystemClock):
    """A clock on which time passes as a test wants."""

    passed_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.passed_ns


def test_a_lock_of_a_user_who_may_not_keep_it_is_waited_for_and_then_passed_over(
    guest: Guest, squatter: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    told: list[str] = []
    locks = DomainLocks(SystemClock(), lambda _node, text: told.append(text), tmp_path / "locks")
    with locks.hold([guest], 50 * MILLISECOND):
        with locks.hold([guest], 0):
            pass
        own = DomainLocks(SystemClock(), folder=tmp_path / "locks")
        with pytest.raises(BusyError), own.hold([guest], 50 * MILLISECOND):
            pass
    assert f"ignoring the lock of another user's process (pid {squatter.pid} of " in told[-1]
    with DomainLocks(SystemClock(), folder=tmp_path / "locks").hold([guest], 50 * MILLISECOND):
        pass


def test_one_that_does_not_wait_passes_over_it_after_a_minute(
    guest: Guest, squatter: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    clock = Late()
    locks = DomainLocks(clock, folder=tmp_path)
    for _ in range(2):
        with pytest.raises(BusyError), locks.hold([guest], 0):
            pass
    clock.passed_ns = 60 * SECOND
    with locks.hold([guest], 0):
        pass


@pytest.fixture
def mute(guest: Guest) -> Iterator["subprocess.Popen[str]"]:
    """A process that has taken the name, and answers nobody."""
    program = SQUATTER.replace("lock.listen(64)\n", "")
    command = [sys.executable, "-I", "-S", "-c", program, guest.uuid]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_name_that_nobody_answers_for_is_passed_over_too(
    guest: Guest, mute: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with DomainLocks(SystemClock(), folder=tmp_path).hold([guest], 50 * MILLISECOND):
        pass


def test_the_minute_is_of_one_holder_and_not_of_the_next(guest: Guest, tmp_path: Path) -> None:
    clock = Late()
    locks = DomainLocks(clock, folder=tmp_path)
    for hours in (0, 1):
        clock.passed_ns = hours * 3600 * SECOND
        command = [sys.executable, "-I", "-S", "-c", SQUATTER, guest.uuid]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout
            assert other.stdout.readline() == "held\n"
            with pytest.raises(BusyError), locks.hold([guest], 0):
                pass
            other.kill()


def test_what_is_held_after_passing_over_is_held_when_the_other_has_let_go(
    guest: Guest, squatter: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with DomainLocks(SystemClock(), folder=tmp_path).hold([guest], 50 * MILLISECOND):
        squatter.kill()
        squatter.wait()
        second = DomainLocks(SystemClock(), folder=tmp_path)
        with pytest.raises(BusyError), second.hold([guest], 50 * MILLISECOND):
            pass
    with DomainLocks(SystemClock(), folder=tmp_path).hold([guest], SECOND):
        pass


def test_the_lock_of_an_account_that_is_believed_is_kept(
    guest: Guest, squatter: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    holder = account(Path(f"/proc/{squatter.pid}").stat().st_uid)
    believing = DomainLocks(SystemClock(), folder=tmp_path, believed={holder})
    with pytest.raises(BusyError), believing.hold([guest], 50 * MILLISECOND):
        pass


def test_a_machine_with_a_very_long_identity_is_locked_too(locks: DomainLocks) -> None:
    host = Guest("host", "a" * 300, "running")
    with another(host.uuid), pytest.raises(BusyError), locks.hold([host], 0):
        pass
