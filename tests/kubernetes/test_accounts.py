"""The accounts of deploy/kubernetes: with their own tokens they may do what they are for, and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clockstep.agent.kube.client import NodeReports
from clockstep.agent.options import Reporting
from clockstep.errors import KubernetesError
from clockstep.kubernetes.api import KubernetesApi
from clockstep.model import KubeAccess, KubeCondition, KubeEvent
from clockstep.ports import KubeReports
from clockstep_lab.kubernetes import builds
from clockstep_lab.kubernetes.api import STRATEGIC, Api
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubeconfig import by_token
from conftest import quiet, until

from .objects import EVENTS, LEASES, NODES, add_node, apply
from .test_manifests import DEPLOY

UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
AT_NS = 1_800_000_000_000_000_000
CONDITION = KubeCondition("False", "ClockInBounds", "offset within ± 10 ms (clockstep watch@kvm1)", AT_NS, AT_NS)
EVENT = KubeEvent("node-1", "Normal", "ClockStepped", "clock stepped by +36.002 s: reverted", AT_NS)
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
NAMESPACES = ("default", "kube-node-lease", "kube-system", "clockstep")
Right = tuple[str, str, str, str]
"""A namespace, an API group, a resource and a verb."""
RIGHTS: dict[str, set[Right]] = {
    "clockstep-cli": {
        *((namespace, "", "nodes", verb) for namespace in NAMESPACES for verb in ("get", "list")),
        *(("kube-node-lease", "coordination.k8s.io", "leases", verb) for verb in ("get", "list")),
    },
    "clockstep-watcher": {
        *((namespace, "", "nodes", verb) for namespace in NAMESPACES for verb in ("get", "list")),
        *((namespace, "", "nodes/status", "patch") for namespace in NAMESPACES),
        *(("default", "", "events", verb) for verb in ("create", "patch")),
    },
    "clockstep-agent": {
        *((namespace, "", "nodes", "get") for namespace in NAMESPACES),
        *((namespace, "", "nodes/status", "patch") for namespace in NAMESPACES),
        *(("default", "", "events", verb) for verb in ("create", "patch")),
    },
}
ACCOUNTS = tuple(DEPLOY / name for name in ("namespace.yaml", "cli.yaml", "watcher.yaml", "agent.yaml"))
CORDON = {(namespace, "", "nodes", "patch") for namespace in NAMESPACES}


@pytest.fixture
def accounts(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with a Node, its lease and the accounts; without the right to cordon."""
    apply(cluster, *ACCOUNTS)
    add_node(cluster, "node-1", UUID)
    cluster.admin.create(LEASES, {"metadata": {"name": "node-1"}, "spec": {"holderIdentity": "node-1"}})
    yield cluster
    cluster.kubectl("delete", "--ignore-not-found", "--filename", DEPLOY / "cordon.yaml")


def tokened(cluster: Cluster, account: str) -> Api:
    """The API for an account, once the server knows of its rights."""
    api = cluster.api_with(cluster.token("clockstep", account))
    until(lambda: code(api, "GET", f"{NODES}/any") in {200, 404}, 20)
    return api


def clockstep_as(cluster: Cluster, account: str) -> KubernetesApi:
    """The cluster as clockstep asks it, by an account's token."""
    tokened(cluster, account)
    file = cluster.kubeconfig_of(account, by_token(cluster.token("clockstep", account)))
    return KubernetesApi(KubeAccess(str(file)), {})


def code(api: Api, method: str, path: str, body: object = None, kind: str = "application/json") -> int:
    """What a request would be answered with; nothing is changed by it."""
    return api.ask(method, path if method == "GET" else f"{path}?dryRun=All", body, kind)[0]


def may_report(cluster: Cluster, reports: KubeReports) -> None:
    """Write and remove the condition of node-1, and record an Event that happens twice."""
    reports.set_condition("node-1", CONDITION)
    assert reports.condition("node-1") == CONDITION
    reports.remove_condition("node-1")
    assert reports.condition("node-1") is None
    reports.record(EVENT)
    reports.record(KubeEvent("node-1", "Normal", "ClockStepped", EVENT.message, AT_NS + 10**9, 2, AT_NS))
    found = cluster.admin.get(f"{EVENTS}?fieldSelector=source=clockstep")["items"]  # others' are of 1.20's controllers
    assert [one["count"] for one in found] == [2]


def forbidden(account: KubernetesApi, call: str, *arguments: Any) -> str:
    with pytest.raises(KubernetesError) as refused:
        getattr(account, call)(*arguments)
    assert refused.value.status == 403
    return refused.value.message


def test_the_watchers_account_may_all_that_a_watcher_does(accounts: Cluster) -> None:
    watcher = clockstep_as(accounts, "clockstep-watcher")
    (node,) = watcher.nodes()
    assert (node.name, node.system_uuid, node.renewed_ns) == ("node-1", UUID, None)
    may_report(accounts, watcher)
    assert "patch node" in forbidden(watcher, "cordon", "node-1", "mark")


def test_the_command_lines_account_may_read_and_cordon_only_if_that_is_granted_too(accounts: Cluster) -> None:
    cli = clockstep_as(accounts, "clockstep-cli")
    (node,) = cli.nodes()
    assert node.name == "node-1"
    forbidden(cli, "set_condition", "node-1", CONDITION)
    forbidden(cli, "remove_condition", "node-1")
    forbidden(cli, "record", EVENT)
    forbidden(cli, "cordon", "node-1", "mark")
    apply(accounts, DEPLOY / "cordon.yaml")
    until(lambda: _cordoned(cli), 20)
    assert cli.nodes()[0].unschedulable
    assert cli.uncordon("node-1", "mark")
    forbidden(cli, "set_condition", "node-1", CONDITION)
    forbidden(clockstep_as(accounts, "clockstep-watcher"), "cordon", "node-1", "mark")


def _cordoned(cli: KubernetesApi) -> bool:
    try:
        return cli.cordon("node-1", "mark")
    except KubernetesError:
        return False


READS = {
    NODES: (200, 200, 403),
    f"{NODES}/node-1": (200, 200, 200),
    LEASES: (200, 403, 403),
    f"{LEASES}/node-1": (200, 403, 403),
    EVENTS: (403, 403, 403),
    "/api/v1/events": (403, 403, 403),
    "/api/v1/secrets": (403, 403, 403),
    "/api/v1/namespaces/clockstep/secrets": (403, 403, 403),
    "/api/v1/pods": (403, 403, 403),
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases": (403, 403, 403),
}
MADE = {"metadata": {"name": "made"}, "involvedObject": {"kind": "Node", "name": "node-1"}}
CHANGE = {"metadata": {"annotations": {"a": "b"}}}
WRITES: dict[tuple[str, str], tuple[object, int, int, int]] = {
    ("PATCH", f"{NODES}/node-1"): (CHANGE, 403, 403, 403),
    ("PATCH", f"{NODES}/node-1/status"): (CHANGE, 403, 200, 200),
    ("PUT", f"{NODES}/node-1/status"): (MADE, 403, 403, 403),
    ("DELETE", f"{NODES}/node-1"): (None, 403, 403, 403),
    ("POST", NODES): (MADE, 403, 403, 403),
    ("POST", EVENTS): (MADE, 403, 201, 201),
    ("POST", "/api/v1/namespaces/kube-system/events"): (MADE, 403, 403, 403),
    ("PATCH", f"{LEASES}/node-1"): (CHANGE, 403, 403, 403),
    ("POST", "/api/v1/namespaces/clockstep/serviceaccounts/clockstep-cli/token"): ({"spec": {}}, 403, 403, 403),
    ("POST", "/api/v1/namespaces/default/pods"): (MADE, 403, 403, 403),
}


@pytest.mark.parametrize(("column", "account"), [*enumerate(("clockstep-cli", "clockstep-watcher", "clockstep-agent"))])
def test_what_an_account_may_and_may_not_as_the_server_answers_it(accounts: Cluster, column: int, account: str) -> None:
    api = tokened(accounts, account)
    assert {path: code(api, "GET", path) for path in READS} == {path: may[column] for path, may in READS.items()}
    kinds = {"PATCH": STRATEGIC}
    answers = {
        (method, path): code(api, method, path, body, kinds.get(method, "application/json"))
        for (method, path), (body, *_) in WRITES.items()
    }
    assert answers == {what: may[column + 1] for what, may in WRITES.items()}


def rights(api: Api) -> set[Right]:
    """All that an account may do with objects, in all namespaces that matter, as the server says."""
    found = set()
    for namespace in NAMESPACES:
        status = api.create(REVIEW, {"spec": {"namespace": namespace}})["status"]
        assert not status["incomplete"]
        for rule in status["resourceRules"]:
            assert not rule.get("resourceNames")
            found |= {
                (namespace, group, resource, verb)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    return found


def test_an_account_has_exactly_the_rights_that_it_needs(control_plane: ControlPlane) -> None:
    apply(control_plane, *ACCOUNTS)
    anyone = rights(control_plane.api_with(control_plane.token("kube-system", "default")))
    apis = {account: tokened(control_plane, account) for account in RIGHTS}
    assert {account: rights(api) - anyone for account, api in apis.items()} == RIGHTS
    apply(control_plane, DEPLOY / "cordon.yaml")
    until(lambda: rights(apis["clockstep-cli"]) - anyone == RIGHTS["clockstep-cli"] | CORDON, 20)
    control_plane.kubectl("delete", "--filename", DEPLOY / "cordon.yaml")


def test_the_kubeconfig_that_the_script_prints_is_the_accounts_and_has_nothing_else_in_it(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    apply(control_plane, *(DEPLOY / name for name in ("namespace.yaml", "watcher.yaml")))
    tokened(control_plane, "clockstep-watcher")
    environ = os.environ | {
        "PATH": f"{builds.kubernetes(quiet)}:{os.environ['PATH']}",
        "KUBECONFIG": str(control_plane.kubeconfig),
    }
    command = [str(DEPLOY / "kubeconfig.sh"), "clockstep-watcher"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=120)
    file = tmp_path / "kubeconfig"
    file.write_text(done.stdout)
    assert "client-key" not in done.stdout
    watcher = KubernetesApi(KubeAccess(str(file)), {})
    add_node(control_plane, "of-the-script", UUID)
    assert "of-the-script" in [node.name for node in watcher.nodes()]
    watcher.set_condition("of-the-script", CONDITION)
    assert watcher.condition("of-the-script") == CONDITION
    assert NodeReports(Reporting(str(file))).condition("of-the-script") == CONDITION
    control_plane.admin.delete(f"{NODES}/of-the-script")
