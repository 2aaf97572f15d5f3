"""A look at a cluster's Nodes beside other work: by the trusted clock, in its time, and a failure costs only itself."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.standing import standing
from clockstep.errors import KubernetesError
from clockstep.flows.cluster import ClusterLook
from clockstep.host.locks import DomainLocks
from clockstep.model import Guest, KubeCondition, KubeNode, KubeState
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import SECOND, SimClock, SimHypervisor

READY = KubeCondition("True", "KubeletReady")
LONG_NS = 20 * SECOND


class Slow(SimulatedKubernetes):
    """A cluster that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def nodes(self) -> list[KubeNode]:
        assert self.let.wait(20)
        return super().nodes()


class Broken(SimulatedKubernetes):
    """A cluster whose client has a bug."""

    def nodes(self) -> list[KubeNode]:
        raise ZeroDivisionError


class Fixture:
    """Two machines, of which the first is a Node."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimClock()
        self.hypervisor = SimHypervisor(self.clock, ["vm-1", "vm-2"])
        self.vm1, self.vm2 = self.hypervisor.guests()
        self.node = KubeNode(
            "w1", "u", self.vm1.uuid, READY, renewed_ns=self.clock.real - 60 * SECOND, lease_ns=40 * SECOND
        )
        self.folder = folder

    def world(self, kubernetes: SimulatedKubernetes | None) -> World:
        clock, locks = self.clock, DomainLocks(self.clock)
        return World(
            self.hypervisor, clock, clock, locks, FileJournal(self.folder), lambda _n, _t: None, kubernetes=kubernetes
        )

    def look(self, kubernetes: SimulatedKubernetes | None, within_ns: int = LONG_NS) -> ClusterLook:
        return ClusterLook(self.world(kubernetes), within_ns)


@pytest.fixture
def fixture(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_without_a_cluster_there_is_nothing_to_say(fixture: Fixture) -> None:
    look = fixture.look(None)
    look.begin()
    assert look.view([fixture.vm1]) == ({}, None)


def test_each_machine_has_what_its_node_says_and_the_rest_is_named(fixture: Fixture) -> None:
    far = KubeNode("far", "v", "99999999-1111-4111-8111-111111111111")
    look = fixture.look(SimulatedKubernetes([fixture.node, far]))
    look.begin()
    states, report = look.view([fixture.vm1, fixture.vm2])
    assert report and report.trouble is None
    assert (report.machineless, report.nodeless, report.doubtful) == (("far",), ("vm-2",), ())
    assert states.keys() == {"vm-1"}
    assert states["vm-1"].ready == READY
    assert states["vm-1"].lease_expired


def test_a_machine_that_is_not_of_the_command_is_no_missing_one(fixture: Fixture) -> None:
    look = fixture.look(SimulatedKubernetes([fixture.node]))
    look.begin()
    states, report = look.view([fixture.vm2])
    assert not states
    assert report and (report.machineless, report.nodeless) == ((), ("vm-2",))


@pytest.mark.parametrize(
    ("renewed_ns", "lease_ns", "age_ns", "expired"),
    [
        (100, 40, 40, False),
        (99, 40, 41, True),
        (200, 40, -60, False),
        (None, 40, None, False),
        (99, None, 41, False),
    ],
)
def test_the_age_of_a_lease_is_by_the_reference_and_ahead_is_negative(
    renewed_ns: int | None, lease_ns: int | None, age_ns: int | None, expired: bool
) -> None:
    guest = Guest("vm", "11111111-1111-4111-8111-111111111111", "running")
    node = KubeNode("w", "u", guest.uuid, renewed_ns=renewed_ns, lease_ns=lease_ns)
    states, _ = standing([guest], [guest], [node], 140)
    assert states["vm"] == KubeState("w", lease_age_ns=age_ns, lease_ns=lease_ns)
    assert states["vm"].lease_expired is expired


def test_a_cluster_that_refuses_costs_only_itself(fixture: Fixture) -> None:
    look = fixture.look(
        SimulatedKubernetes(trouble=KubernetesError("forbidden to list nodes", "grant it", lasting=True))
    )
    look.begin()
    states, report = look.view([fixture.vm1])
    assert not states
    assert report and report.trouble
    assert (report.trouble.text, report.trouble.remedy, report.trouble.lasting) == (
        "forbidden to list nodes",
        "grant it",
        True,
    )


def test_a_bug_in_the_client_costs_only_itself(fixture: Fixture) -> None:
    look = fixture.look(Broken())
    look.begin()
    _, report = look.view([fixture.vm1])
    assert report and report.trouble and report.trouble.internal


def test_one_that_never_answers_is_waited_for_once_and_shown_when_it_does(fixture: Fixture) -> None:
    slow = Slow()
    look = fixture.look(slow, SECOND // 20)
    for _ in range(2):
        look.begin()
        _, report = look.view([fixture.vm1])
        assert report and report.trouble and "did not answer within 50 ms" in report.trouble.text
    assert slow.calls == []  # one question is still open
    slow.by_name = {"w1": fixture.node}
    slow.let.set()
    while not look.view([fixture.vm1]).states:
        look.begin()


def test_that_leases_may_not_be_read_is_said_once_and_the_rest_is_shown(fixture: Fixture) -> None:
    text = "forbidden to list leases"
    node = replace(fixture.node, renewed_ns=None, lease_ns=None, lease_trouble=text)
    look = fixture.look(SimulatedKubernetes([node]))
    look.begin()
    states, report = look.view([fixture.vm1])
    assert states["vm-1"].lease_age_ns is None
    assert report and (report.trouble, report.lease_trouble) == (None, text)
