"""One contract for the simulated cluster and the real clients on real API servers: what one does the others do."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from clockstep.agent.kube.client import NodeReports
from clockstep.agent.options import Reporting
from clockstep.errors import KubernetesError
from clockstep.kubernetes.api import KubernetesApi
from clockstep.kubernetes.reports import COMPONENT
from clockstep.model import KubeAccess, KubeCondition, KubeEvent, KubeNode
from clockstep.ports import Kubernetes
from clockstep_lab.kubernetes.cluster import Cluster
from core.kubernetes_simulation import SimulatedKubernetes

from .objects import EVENTS, add_node, empty, renew_lease

UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
AT = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)
AT_NS = 1_796_040_000_123_456_000
BOUNDS = KubeCondition("False", "ClockInBounds", "+1.2 ms ± 0.4 ms; written by host a", AT_NS, AT_NS)


class Setting(Protocol):
    """A cluster, and how Nodes come into it."""

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""

    def add(self, name: str, uuid: str = UUID, labels: Mapping[str, str] | None = None) -> None:
        """Register a Node that is Ready."""

    def renew(self, name: str) -> None:
        """Renew its lease, at `AT` by its own clock."""

    def cordon(self, name: str) -> None:
        """Cordon it as kubectl does."""

    def events(self) -> list[tuple[str, str, int]]:
        """Return the Events' reasons, messages and counts."""


class Simulated:
    """The one in memory."""

    def __init__(self) -> None:
        self.kubernetes = SimulatedKubernetes()

    def add(self, name: str, uuid: str = UUID, labels: Mapping[str, str] | None = None) -> None:
        """Register a Node."""
        mine = {"kubernetes.io/hostname": name} | dict(labels or {})
        ready = KubeCondition("True", "KubeletReady", "made up")
        self.kubernetes.by_name[name] = KubeNode(name, f"uid-{name}", uuid, ready, labels=tuple(sorted(mine.items())))

    def renew(self, name: str) -> None:
        """Renew its lease."""
        found = self.kubernetes.by_name[name]
        self.kubernetes.by_name[name] = replace(found, renewed_ns=AT_NS, lease_ns=40_000_000_000)

    def cordon(self, name: str) -> None:
        """Cordon it."""
        self.kubernetes.by_name[name] = replace(self.kubernetes.by_name[name], unschedulable=True)

    def events(self) -> list[tuple[str, str, int]]:
        """Return the Events."""
        return sorted((event.reason, event.message, event.count) for event in self.kubernetes.events)


class Real:
    """A real API server, with the client as administrator."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubernetes: Kubernetes = KubernetesApi(KubeAccess(str(cluster.kubeconfig)), {})
        empty(cluster)

    def add(self, name: str, uuid: str = UUID, labels: Mapping[str, str] | None = None) -> None:
        """Register a Node."""
        add_node(self.cluster, name, uuid, labels)

    def renew(self, name: str) -> None:
        """Renew its lease."""
        renew_lease(self.cluster, name, AT)

    def cordon(self, name: str) -> None:
        """Cordon it."""
        self.cluster.kubectl("cordon", name)

    def events(self) -> list[tuple[str, str, int]]:
        """Return the Events."""
        found = [
            event for event in self.cluster.admin.get(EVENTS)["items"] if event["source"]["component"] == COMPONENT
        ]
        return sorted((event["reason"], event["message"], event["count"]) for event in found)


class ByAgent(KubernetesApi):
    """A real API server, whose conditions and Events go through the agent's client."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(KubeAccess(str(cluster.kubeconfig)), {})
        agents = NodeReports(Reporting(str(shutil.copy(cluster.kubeconfig, folder / "kubeconfig"))))
        self.condition = agents.condition  # type: ignore[method-assign]
        self.set_condition = agents.set_condition  # type: ignore[method-assign]
        self.remove_condition = agents.remove_condition  # type: ignore[method-assign]
        self.record = agents.record  # type: ignore[method-assign]


@pytest.fixture(params=["simulated", "kubelite", "control_plane", "kubelite by agent", "control_plane by agent"])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Setting:
    """Each of them, empty."""
    if request.param == "simulated":
        return Simulated()
    real = Real(request.getfixturevalue(request.param.partition(" ")[0]))
    if request.param.endswith("by agent"):
        real.kubernetes = ByAgent(real.cluster, tmp_path)
    return real


def only(setting: Setting) -> KubeNode:
    (node,) = setting.kubernetes.nodes()
    return node


def test_nodes_come_by_name_with_their_leases(setting: Setting) -> None:
    assert setting.kubernetes.nodes() == []
    for name in ("b", "a"):
        setting.add(name, labels={"tier": name})
    setting.renew("b")
    a, b = setting.kubernetes.nodes()
    assert (a.name, a.system_uuid, a.renewed_ns, a.lease_ns, a.lease_trouble) == ("a", UUID, None, None, "")
    assert (b.name, b.renewed_ns, b.lease_ns) == ("b", AT_NS, 40_000_000_000)
    assert a.ready and (a.ready.status, a.ready.reason) == ("True", "KubeletReady")
    assert dict(a.labels) == {"kubernetes.io/hostname": "a", "tier": "a"}
    assert (a.unschedulable, a.cordoned_by, a.problem) == (False, "", None)
    assert a.uid != b.uid != ""


def test_a_condition_is_written_read_and_removed_and_no_other_is_touched(setting: Setting) -> None:
    setting.add("a")
    before = only(setting)
    assert setting.kubernetes.condition("a") is None
    setting.kubernetes.set_condition("a", BOUNDS)
    second = AT_NS // 10**9 * 10**9
    assert setting.kubernetes.condition("a") == replace(BOUNDS, heartbeat_ns=second, changed_ns=second)
    assert only(setting).ready == before.ready
    setting.kubernetes.set_condition(
        "a", replace(BOUNDS, status="True", reason="ClockOutOfBounds", message="odd \x1b[1m")
    )
    found = only(setting).problem
    assert found and (found.status, found.reason, found.message) == ("True", "ClockOutOfBounds", "odd \x1b[1m")
    for _ in range(2):
        setting.kubernetes.remove_condition("a")
        assert setting.kubernetes.condition("a") is None
    assert only(setting) == before


def test_a_node_that_is_gone_is_said(setting: Setting) -> None:
    for ask in (
        lambda: setting.kubernetes.condition("gone"),
        lambda: setting.kubernetes.set_condition("gone", BOUNDS),
        lambda: setting.kubernetes.remove_condition("gone"),
        lambda: setting.kubernetes.cordon("gone", "m"),
        lambda: setting.kubernetes.uncordon("gone", "m"),
    ):
        with pytest.raises(KubernetesError, match='nodes "gone" not found') as caught:
            ask()
        assert caught.value.lasting


def test_an_event_is_recorded_once_and_counted_where_it_happens_again(setting: Setting) -> None:
    setting.add("a")
    event = KubeEvent("a", "Normal", "ClockStepped", "+2 s", AT_NS)
    for _ in range(2):  # as after an answer that was lost
        setting.kubernetes.record(event)
    setting.kubernetes.record(replace(event, reason="ClockUnsure"))
    setting.kubernetes.record(replace(event, at_ns=AT_NS + 10**9, since_ns=AT_NS, count=2, message="+3 s"))
    setting.kubernetes.record(replace(event, node="gone", at_ns=AT_NS + 10**9, since_ns=AT_NS, count=4))
    assert setting.events() == [("ClockStepped", "+2 s", 4), ("ClockStepped", "+3 s", 2), ("ClockUnsure", "+2 s", 1)]


def test_what_is_cordoned_is_uncordoned_by_its_mark_alone(setting: Setting) -> None:
    setting.add("a")
    before = only(setting)
    assert setting.kubernetes.uncordon("a", "mine") is False
    assert setting.kubernetes.cordon("a", "mine") is True
    assert setting.kubernetes.cordon("a", "mine") is False
    assert setting.kubernetes.cordon("a", "other") is False
    assert (only(setting).unschedulable, only(setting).cordoned_by) == (True, "mine")
    assert setting.kubernetes.uncordon("a", "other") is False
    assert only(setting).unschedulable
    assert setting.kubernetes.uncordon("a", "mine") is True
    assert only(setting) == before


def test_what_others_have_cordoned_stays_so(setting: Setting) -> None:
    setting.add("a")
    setting.cordon("a")
    assert setting.kubernetes.cordon("a", "mine") is False
    assert setting.kubernetes.uncordon("a", "mine") is False
    assert (only(setting).unschedulable, only(setting).cordoned_by) == (True, "")
