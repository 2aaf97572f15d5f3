"""Several hypervisors as one: every guest knows its connection, and names stay apart."""

import threading
import time
from collections.abc import Callable

import pytest

from clockstep.errors import HypervisorError, UsageError
from clockstep.machines.several import Several
from clockstep.model import Guest, Snapshot
from clockstep.reach.agent import AgentReach
from conftest import until
from core.simulation import MILLISECOND, SECOND, SimClock, SimGuest, SimHypervisor

MARKED = Snapshot("base", 1, "set", ("web",))


@pytest.fixture
def here() -> SimHypervisor:
    return SimHypervisor(SimClock(), ["db", "web"])


@pytest.fixture
def there() -> SimHypervisor:
    return SimHypervisor(SimClock(), ["cache", "web"])


@pytest.fixture
def both(here: SimHypervisor, there: SimHypervisor) -> Several:
    return Several({"qemu:///system": here, "qemu+ssh://b/system": there})


def test_every_guest_is_listed_with_its_connection(both: Several) -> None:
    assert [(guest.name, guest.connection) for guest in both.guests()] == [
        ("cache", "qemu+ssh://b/system"),
        ("db", "qemu:///system"),
        ("web@qemu+ssh://b/system", "qemu+ssh://b/system"),
        ("web@qemu:///system", "qemu:///system"),
    ]


def test_what_is_done_with_a_guest_is_done_at_its_own_connection(
    both: Several, here: SimHypervisor, there: SimHypervisor
) -> None:
    web = next(guest for guest in both.guests() if guest.name == "web@qemu+ssh://b/system")
    both.pause(web)
    both.snapshot(web, MARKED)
    both.revert(web, "base")
    both.resume(web)
    both.forget(web, "base")
    assert both.snapshots(web) == []
    assert [operation for operation, _ in there.calls] == ["pause", "snapshot", "revert", "resume", "forget"]
    assert {name for _, name in there.calls} == {"web"}
    assert here.calls == []


def test_a_connection_that_fails_is_not_taken_for_one_without_guests(here: SimHypervisor) -> None:
    class Broken(SimHypervisor):
        def guests(self) -> list[Guest]:
            raise HypervisorError("no")

    with pytest.raises(HypervisorError):
        Several({"a": here, "b": Broken(SimClock(), [])}).guests()


def test_one_that_does_not_answer_holds_up_none_of_the_others_and_is_listened_to_later(here: SimHypervisor) -> None:
    answered = threading.Event()
    asked: list[int] = []

    class Slow(SimHypervisor):
        def guests(self) -> list[Guest]:
            asked.append(1)
            assert answered.wait(20)
            return super().guests()

    both = Several({"a": here, "b": Slow(SimClock(), ["web"])})
    for silent in (False, True, True):  # only one that has not answered by the next survey is said to be silent
        quick, slow = both.survey(50 * MILLISECOND)
        assert [guest.name for guest in quick.guests] == ["db", "web"]
        assert (slow.error is not None) == silent
    assert len(asked) == 1
    answered.set()
    quick, slow = both.survey(20 * SECOND)
    assert [guest.name for guest in slow.guests] == ["web@b"]
    assert [guest.name for guest in quick.guests] == ["db", "web@a"]


def test_one_that_is_always_slow_is_asked_anew_each_time_and_never_said_to_be_silent(here: SimHypervisor) -> None:
    class Slow(SimHypervisor):
        def guests(self) -> list[Guest]:
            time.sleep(0.08)
            return super().guests()

    machines = Slow(SimClock(), ["web"])
    both = Several({"a": here, "b": machines})
    both.survey(10 * MILLISECOND)
    for count in range(3):
        until(lambda: all(asked.done() for asked in both._asked.values()), 5)
        machines.machines[f"new{count}"] = SimGuest(machines.clock)
        assert both.survey(10 * MILLISECOND)[1].error is None
    until(lambda: all(asked.done() for asked in both._asked.values()), 5)
    assert "new2" in {guest.name for guest in both.survey(10 * MILLISECOND)[1].guests}


class Entered:
    """A connection whose machines have the role `Inside` alone."""

    def __init__(self) -> None:
        self.machine = SimGuest(SimClock())

    def guests(self) -> list[Guest]:
        return [Guest("web", "web", "running")]

    def reach(self, guest: Guest) -> AgentReach:
        assert guest.name == "web"
        return self.machine.reach()


def test_a_machine_does_what_it_has_a_role_for_and_refuses_all_else_in_a_sentence(here: SimHypervisor) -> None:
    both = Several({"qemu:///system": here, "ssh": Entered()})
    web = next(guest for guest in both.guests() if guest.connection == "ssh")
    both.subscribe(lambda _happening: None)
    assert both.reach(web).clock().offset.surely_within(MILLISECOND)
    refused: list[Callable[[], object]] = [
        lambda: both.pause(web),
        lambda: both.snapshots(web),
        lambda: both.revert(web, "base"),
        lambda: both.around(web),
    ]
    for act in refused:
        with pytest.raises(UsageError, match=r"web@ssh cannot be .*: it has no known hypervisor"):
            act()


def test_closing_waits_for_no_connection_that_does_not_answer(here: SimHypervisor) -> None:
    answered, closed = threading.Event(), list[str]()

    class Held(Entered):
        def close(self) -> None:
            answered.wait(20)
            closed.append("held")

    class Quick(Entered):
        def close(self) -> None:
            closed.append("quick")

    Several({"a": here, "b": Held(), "c": Quick()}).close()
    assert closed == ["quick"]
    answered.set()
