"""Waiting for a cluster and cordoning its Nodes, on real API servers: the machines and their kubelets are simulated."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clockstep.core.targets import Scope
from clockstep.errors import KubernetesError
from clockstep.flows import revert as reverts
from clockstep.flows.snapshot import create
from clockstep.host.locks import DomainLocks
from clockstep.kubernetes.api import KubernetesApi
from clockstep.kubernetes.nodes import CORDONED
from clockstep.model import ClusterPolicy, Freshness, Guest, KubeAccess, KubeNode, Policy, SetReport, Verdict
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from clockstep.units import SECOND_NS
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.tls import Validity
from core.simulation import SECOND, SimClock, SimHypervisor

from .objects import LEASES, NODES, add_node, empty, renew_lease

NAMES = ["node-1", "node-2"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime.now(UTC)


class Kubelets:
    """A cluster as it is asked for its Nodes, each of whose kubelets has renewed its lease by its machine's clock."""

    def __init__(self, cluster: Cluster, machines: SimHypervisor, api: KubernetesApi) -> None:
        self._cluster, self._machines, self._api = cluster, machines, api
        self.silent: set[str] = set()
        self.cordon, self.uncordon = api.cordon, api.uncordon

    def nodes(self) -> list[KubeNode]:
        """Return the Nodes."""
        for name, machine in self._machines.machines.items():
            if machine.running and name not in self.silent:
                now_ns = self._machines.clock.real + machine.offset_ns
                renewed = f"{EPOCH + timedelta(microseconds=now_ns // 1000):%Y-%m-%dT%H:%M:%S.%fZ}"
                self._cluster.admin.patch(f"{LEASES}/{name}", {"spec": {"renewTime": renewed}})
        return self._api.nodes()


class Lab:
    """Machines that are Nodes of a real cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.clock = cluster, SimClock()
        self.clock.real = int((NOW - EPOCH).total_seconds()) * SECOND
        self.machines = SimHypervisor(self.clock, NAMES)
        self.api = KubernetesApi(KubeAccess(str(cluster.kubeconfig)), {})
        self.kubelets = Kubelets(cluster, self.machines, self.api)
        self.journal = FileJournal(folder)
        for guest in self.machines.guests():
            add_node(cluster, guest.name, guest.uuid)
            renew_lease(cluster, guest.name, NOW)

    @property
    def world(self) -> World:
        """What a flow gets."""
        kubernetes: Any = self.kubelets
        locks = DomainLocks(self.clock)
        return World(
            self.machines, self.clock, self.clock, locks, self.journal, lambda _node, _text: None, kubernetes=kubernetes
        )

    def taken(self, aftercare: ClusterPolicy) -> SetReport:
        """Take a snapshot."""
        return create(self.world, self.machines.guests(), "base", Policy(), aftercare=aftercare)

    def reverted(self, aftercare: ClusterPolicy) -> SetReport:
        """Revert to it ten minutes later."""
        self.clock.sleep_ns(600 * SECOND)
        chosen = reverts.choose(self.machines, Scope(), "base")
        report = reverts.revert(self.world, chosen, Policy(), aftercare=aftercare)
        assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 2
        return report

    def cordoned(self) -> dict[str, str | None]:
        """Return which Nodes are cordoned, with their marks."""
        listed = self.cluster.admin.get(NODES)["items"]
        return {
            node["metadata"]["name"]: node["metadata"].get("annotations", {}).get(CORDONED)
            for node in listed
            if node["spec"].get("unschedulable")
        }


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path) -> Lab:
    return Lab(cluster, tmp_path)


def test_a_revert_ends_with_leases_that_are_fresh_and_one_that_is_not_is_named(lab: Lab) -> None:
    wait = ClusterPolicy(deadline_ns=20 * SECOND)
    assert lab.taken(wait).complete
    works = lab.reverted(wait).cluster
    assert works
    assert (works.outcome.value, works.control_plane.value) == ("works", "outside")
    assert [(one.name, one.state, one.ready) for one in works.nodes] == [
        (name, Freshness.FRESH, "True") for name in NAMES
    ]
    lab.kubelets.silent = {"node-2"}
    late = lab.reverted(wait).cluster
    assert late
    assert late.outcome.value == "late"
    assert [one.state for one in late.nodes] == [Freshness.FRESH, Freshness.LEASE_OLD]
    assert late.nodes[1].lease_age_ns is not None
    assert late.nodes[1].lease_age_ns > 600 * SECOND


def test_nodes_are_cordoned_with_a_mark_meanwhile_and_others_cordons_stay(lab: Lab) -> None:
    lab.cluster.kubectl("cordon", "node-2")
    seen: list[dict[str, str | None]] = []
    pause = lab.machines.pause

    def watched(guest: Guest) -> None:
        seen.append(lab.cordoned())
        pause(guest)

    lab.machines.pause = watched  # type: ignore[method-assign]
    assert lab.taken(ClusterPolicy(cordon=True)).complete
    marks = seen[0]
    assert marks.keys() == set(NAMES)
    assert marks["node-2"] is None
    assert marks["node-1"]
    assert marks["node-1"].endswith("snapshot base")
    assert lab.cordoned() == {"node-2": None}
    assert lab.journal.cordons.notes() == []


def test_what_a_process_that_was_killed_has_cordoned_the_command_uncordons(lab: Lab, tmp_path: Path) -> None:
    host, _, rest = lab.journal.cordons.mark("snapshot base", lab.clock.real).split(" ", 2)
    lab.api.cordon("node-1", f"{host} 1/0 {rest}")
    lab.api.cordon("node-2", f"other.{host} 1/0 {rest}")

    def uncordon(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "clockstep", "kubernetes", "uncordon", *words]
        environment = os.environ | {"CLOCKSTEP_STATE": str(tmp_path)}
        done = subprocess.run(
            [*command, "--kubeconfig", lab.cluster.kubeconfig],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stderr

    code, said = uncordon("node-9")
    assert (code, "there is no Node 'node-9'" in said) == (2, True)
    code, said = uncordon()
    assert (code, list(lab.cordoned())) == (0, ["node-2"]), said
    assert "uncordoned node-1" in said
    assert "--any-mark uncordons it" in said
    code, said = uncordon("--any-mark")
    assert (code, list(lab.cordoned())) == (2, ["node-2"])
    code, said = uncordon("node-*", "--any-mark", "--yes")
    assert (code, lab.cordoned()) == (0, {})
    assert uncordon() == (0, "there is no Node to uncordon\n")


TROUBLES = {"away": "refused the connection", "not yet": "is not yet valid", "over": "has expired"}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_clocks_are_corrected_all_the_same_and_why_the_cluster_is_not_known_is_said(
    kubelite: Kubelite, tmp_path: Path, trouble: str
) -> None:
    empty(kubelite)
    lab = Lab(kubelite, tmp_path)
    lab.kubelets.silent = set(NAMES)
    lab.taken(ClusterPolicy(wait=False))
    hour = timedelta(hours=1)
    blocks: dict[str, AbstractContextManager[None]] = {
        "away": kubelite.away(),
        "not yet": kubelite.showing(Validity(NOW + hour, NOW + 2 * hour)),
        "over": kubelite.showing(Validity(NOW - 2 * hour, NOW - hour)),
    }
    with blocks[trouble]:
        state = lab.reverted(ClusterPolicy(deadline_ns=2 * SECOND)).cluster
        assert state
        assert (state.outcome.value, state.nodes) == ("unknown", ())
        assert state.trouble
        assert TROUBLES[trouble] in state.trouble.text
        with pytest.raises(KubernetesError, match="the Nodes cannot be cordoned"):
            lab.reverted(ClusterPolicy(cordon=True))
    again = KubernetesApi(KubeAccess(str(kubelite.kubeconfig)), {})
    assert [node.name for node in again.nodes()] == NAMES


def test_a_control_plane_that_comes_back_while_it_is_waited_for_is_seen(kubelite: Kubelite, tmp_path: Path) -> None:
    empty(kubelite)
    lab = Lab(kubelite, tmp_path)
    lab.taken(ClusterPolicy(wait=False))
    lab.clock.sleep_ns(600 * SECOND)
    asked = 0
    away = kubelite.away()
    nodes = lab.kubelets.nodes

    def coming_back() -> list[KubeNode]:
        nonlocal asked
        asked += 1
        if asked == 1:
            return nodes()
        if asked == 2:
            away.__enter__()
            return lab.api.nodes()
        if asked == 4:
            away.__exit__(None, None, None)
        return nodes() if asked >= 4 else lab.api.nodes()

    lab.kubelets.nodes = coming_back  # type: ignore[method-assign]
    state = lab.reverted(ClusterPolicy(deadline_ns=600 * SECOND_NS)).cluster
    assert asked >= 4
    assert state
    assert (state.outcome.value, state.trouble) == ("works", None)
    assert [one.state for one in state.nodes] == [Freshness.FRESH] * 2
