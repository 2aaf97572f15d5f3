"""What a hypervisor promises, asked of the simulated one, of several as one, and of libvirt's own test driver alike."""

from collections.abc import Iterator
from typing import Protocol

import libvirt
import pytest

from clockstep.errors import HypervisorError
from clockstep.host.clock import SystemClock
from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.machines.several import Several
from clockstep.model import Guest, Snapshot
from clockstep.ports import Machines, Power, Snapshots
from core.simulation import SimClock, SimHypervisor

TEST_DRIVER = "test:///default"


class Hypervisor(Machines, Power, Snapshots, Protocol):
    """The roles that are held against each other here."""


SET = Snapshot("of all <&> ünïts", 1_800_000_000_123_456_789, "set-1", ("test", "other"))


@pytest.fixture(params=["simulated", "several", "libvirt"])
def hypervisor(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    if request.param == "simulated":
        yield SimHypervisor(SimClock(), ["test"])
        return
    if request.param == "several":
        yield Several({"here": SimHypervisor(SimClock(), ["test"]), "there": SimHypervisor(SimClock(), [])})
        return
    real = Libvirt(TEST_DRIVER, SystemClock())
    yield real
    domain = libvirt.open(TEST_DRIVER).lookupByName("test")
    for snapshot in domain.listAllSnapshots():
        snapshot.delete()
    if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        domain.resume()


def only(hypervisor: Hypervisor) -> Guest:
    (guest,) = hypervisor.guests()
    return guest


def test_a_running_guest_is_listed(hypervisor: Hypervisor) -> None:
    assert (only(hypervisor).name, only(hypervisor).state) == ("test", "running")


def test_a_paused_guest_is_paused_until_it_is_resumed(hypervisor: Hypervisor) -> None:
    hypervisor.pause(only(hypervisor))
    assert only(hypervisor).state == "paused"
    hypervisor.resume(only(hypervisor))
    assert only(hypervisor).state == "running"


def test_a_snapshot_remembers_its_set_whatever_its_name(hypervisor: Hypervisor) -> None:
    guest = only(hypervisor)
    hypervisor.pause(guest)
    hypervisor.snapshot(guest, SET)
    assert hypervisor.snapshots(guest) == [SET]


def test_a_reverted_guest_is_left_paused(hypervisor: Hypervisor) -> None:
    guest = only(hypervisor)
    hypervisor.pause(guest)
    hypervisor.snapshot(guest, SET)
    hypervisor.resume(guest)
    hypervisor.revert(guest, SET.name)
    assert only(hypervisor).state == "paused"


def test_a_snapshot_is_forgotten(hypervisor: Hypervisor) -> None:
    guest = only(hypervisor)
    hypervisor.pause(guest)
    hypervisor.snapshot(guest, SET)
    hypervisor.forget(guest, SET.name)
    assert hypervisor.snapshots(guest) == []


def test_a_second_snapshot_of_the_same_name_is_refused(hypervisor: Hypervisor) -> None:
    guest = only(hypervisor)
    hypervisor.pause(guest)
    hypervisor.snapshot(guest, SET)
    with pytest.raises(HypervisorError):
        hypervisor.snapshot(guest, Snapshot(SET.name, SET.created_ns, "another set", SET.members))


def test_a_snapshot_that_is_there_already_is_completed(hypervisor: Hypervisor) -> None:
    guest = only(hypervisor)
    hypervisor.pause(guest)
    for _ in range(2):
        hypervisor.snapshot(guest, SET)
    assert hypervisor.snapshots(guest) == [SET]


@pytest.mark.parametrize("operation", ["revert", "forget"])
def test_what_is_not_there_is_refused(hypervisor: Hypervisor, operation: str) -> None:
    with pytest.raises(HypervisorError):
        getattr(hypervisor, operation)(only(hypervisor), "nothing")


def test_a_paused_guest_is_not_paused_again(hypervisor: Hypervisor) -> None:
    hypervisor.pause(only(hypervisor))
    with pytest.raises(HypervisorError):
        hypervisor.pause(only(hypervisor))


def test_a_guest_that_runs_already_is_left_to_run(hypervisor: Hypervisor) -> None:
    hypervisor.resume(only(hypervisor))
    assert only(hypervisor).state == "running"
