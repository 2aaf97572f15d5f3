"""The lab's Kubernetes servers are what tests take them for."""

import filecmp
import os
import select
import signal
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clockstep_lab.errors import LabError
from clockstep_lab.kubernetes import builds
from clockstep_lab.kubernetes.api import STRATEGIC, Api, ApiError
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.processes import of_lab
from clockstep_lab.tls import Validity
from conftest import quiet, until
from lab.running import lab

from .conftest import started
from .objects import LEASES, NODES, add_node, apply, empty, renew_lease

READER = Path(__file__).parent / "manifests/reader.yaml"
UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def refused(api: Api, path: str = NODES) -> int:
    """The code with which a request is refused; 0 if it is not."""
    try:
        api.get(path)
    except ApiError as error:
        return error.code
    return 0


def test_each_server_has_the_version_that_it_is_there_for(kubelite: Kubelite, control_plane: ControlPlane) -> None:
    assert kubelite.admin.get("/version")["gitVersion"] == "v1.36.4-kubelite"
    assert control_plane.admin.get("/version")["gitVersion"] == "v1.20.2"


def test_a_node_and_its_lease_are_kept_as_a_kubelet_writes_them(cluster: Cluster) -> None:
    at = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)
    add_node(cluster, "node-1", UUID, {"zone": "a"})
    renew_lease(cluster, "node-1", at)
    (node,) = cluster.admin.get(f"{NODES}?labelSelector=zone%3Da")["items"]
    assert node["status"]["nodeInfo"]["systemUUID"] == UUID
    assert cluster.admin.get(f"{LEASES}/node-1")["spec"]["renewTime"] == "2026-11-30T12:00:00.123456Z"


def test_an_accounts_token_has_the_accounts_rights_and_no_more(cluster: Cluster) -> None:
    apply(cluster, READER)
    reader = cluster.api_with(cluster.token("default", "reader"))
    until(lambda: not refused(reader), 10)
    assert refused(reader, "/api/v1/secrets") == 403
    with pytest.raises(ApiError, match="403"):
        reader.delete(f"{NODES}/node-1")
    assert refused(cluster.api_with("made-up")) == 401


def test_a_token_counts_only_while_it_is_valid(control_plane: ControlPlane) -> None:
    apply(control_plane, READER)

    def code(begins: timedelta, ends: timedelta) -> int:
        token = control_plane.token_for("default", "reader", Validity(NOW + begins, NOW + ends))
        return refused(control_plane.api_with(token))

    until(lambda: code(-HOUR, HOUR) == 0, 10)
    assert code(-2 * HOUR, -HOUR) == 401
    assert code(HOUR, 2 * HOUR) == 401


def test_a_kubelet_may_write_its_own_node_only(control_plane: ControlPlane) -> None:
    empty(control_plane)
    for name in ("node-1", "node-2"):
        add_node(control_plane, name, UUID)
    kubelet = control_plane.api_as("system:node:node-1", "system:nodes")
    patch = {"metadata": {"annotations": {"seen": "yes"}}}
    assert kubelet.patch(f"{NODES}/node-1", patch, STRATEGIC)["metadata"]["annotations"]["seen"] == "yes"
    with pytest.raises(ApiError, match="is not allowed to modify node"):
        kubelet.patch(f"{NODES}/node-2", patch, STRATEGIC)


def test_pods_of_a_daemonset_are_made_and_scheduled_to_made_up_nodes(control_plane: ControlPlane) -> None:
    empty(control_plane)
    add_node(control_plane, "node-1", UUID)
    daemonsets = "/apis/apps/v1/namespaces/default/daemonsets"
    container = {"name": "main", "image": "none"}
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    control_plane.admin.create(daemonsets, {"metadata": {"name": "agent"}, "spec": spec})

    def nodes() -> list[str]:
        pods = control_plane.admin.get("/api/v1/namespaces/default/pods?labelSelector=app%3Dagent")["items"]
        return [pod["spec"].get("nodeName", "") for pod in pods]

    until(lambda: nodes() == ["node-1"], 30)
    control_plane.admin.delete(f"{daemonsets}/agent")


def test_its_certificate_can_be_of_any_time_and_is_good_again_after(kubelite: Kubelite) -> None:
    with kubelite.showing(Validity(NOW + HOUR, NOW + 2 * HOUR)), pytest.raises(ssl.SSLError, match="not yet valid"):
        kubelite.admin.get(NODES)
    assert refused(kubelite.admin) == 0


def test_the_api_goes_away_and_comes_back_as_it_was(cluster: Cluster) -> None:
    add_node(cluster, "node-1", UUID)
    with cluster.away(), pytest.raises(ConnectionRefusedError):
        cluster.admin.get(NODES)
    assert cluster.admin.get(f"{NODES}/node-1")["status"]["nodeInfo"]["systemUUID"] == UUID
    assert all(server.pids() for server in cluster.servers)


def test_etcd_answers_nobody_without_a_certificate(kubelite: Kubelite) -> None:
    authority = kubelite.authority.certificate.file
    assert Api(kubelite.ports["etcd"], authority, certificate=kubelite.certificate("etcd-client")).is_ready("/health")
    with pytest.raises(OSError, match="certificate required"):
        Api(kubelite.ports["etcd"], authority).get("/health")


@pytest.mark.kubernetes
def test_a_killed_server_is_started_again_and_all_end_with_the_lab() -> None:
    with started(Kubelite, "killed") as cluster:
        add_node(cluster, "node-1", UUID)
        (api,) = cluster.api_server.pids()
        ended = os.pidfd_open(api)
        os.kill(api, signal.SIGKILL)
        assert select.select([ended], [], [], 30)[0], "all its threads have ended, and its port is free"
        os.close(ended)
        again = Kubelite(cluster.folder, quiet)
        assert not again.api_server.pids()
        again.start()
        assert again.admin.get(f"{NODES}/node-1")["metadata"]["name"] == "node-1"
    assert not of_lab(cluster.folder)
    assert not cluster.folder.exists()


@pytest.mark.parametrize("content", [b"#!/bin/sh\necho something else\n", b"no program", b""])
@pytest.mark.parametrize("name", ["kubelite", "kubelite.xz"])
def test_a_given_program_that_is_no_kubelite_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabError, match=f"{name} (is no kubelite|can't be used)") as refusal:
        builds.take(tmp_path / name, tmp_path / "taken")
    assert builds.GIVEN_KUBELITE in refusal.value.hint


def test_a_given_kubelite_is_taken(kubelite: Kubelite, tmp_path: Path) -> None:
    (running,) = kubelite.api_server.pids()
    given = Path(f"/proc/{running}/exe").resolve()
    builds.take(given, tmp_path / "kubelite")
    assert filecmp.cmp(given, tmp_path / "kubelite", shallow=False)


def test_pruning_leaves_what_runs(kubelite: Kubelite, tmp_path: Path) -> None:
    running = builds.kubelite(quiet).name
    for name in (running, "kubelite-0123456789abcdef"):
        (tmp_path / name).mkdir()
    pruned = lab("prune", CLOCKSTEP_LAB_CACHE=str(tmp_path))
    assert f"{running} kept: a running lab uses it" in pruned.stderr
    assert [path.name for path in tmp_path.iterdir()] == [running]
