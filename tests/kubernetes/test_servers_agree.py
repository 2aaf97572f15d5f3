"""What kubelite does by code of its own is held to what a whole Kubernetes does, where both can be asked the same."""

import os
from typing import Any

import pytest

from clockstep_lab.kubernetes.api import STRATEGIC, Api, ApiError
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.kubelite import Kubelite
from conftest import until

from .objects import EVENTS, NODES, add_node

UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
RUN = f"agree-{os.getpid()}"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
AT = "2026-11-30T12:00:00.123456Z"


def may(api: Api, verb: str, resource: str) -> bool:
    """What the server says of a right of whoever asks."""
    attributes = {"verb": verb, "resource": resource}
    allowed: bool = api.create(REVIEWS, {"spec": {"resourceAttributes": attributes}})["status"]["allowed"]
    return allowed


def test_a_status_patch_adds_a_condition_and_leaves_the_others(cluster: Cluster) -> None:
    add_node(cluster, "node-1", UUID)
    condition = {"type": "ClockProblem", "status": "True", "reason": "ClockOutOfBounds"}
    patched = cluster.admin.patch(f"{NODES}/node-1/status", {"status": {"conditions": [condition]}}, STRATEGIC)
    assert {each["type"]: each["status"] for each in patched["status"]["conditions"]} == {
        "ClockProblem": "True",
        "Ready": "True",
    }


def test_a_write_that_others_have_overtaken_is_a_conflict(cluster: Cluster) -> None:
    node = add_node(cluster, "node-1", UUID)
    cluster.admin.patch(f"{NODES}/node-1", {"spec": {"unschedulable": True}})
    with pytest.raises(ApiError) as refusal:
        cluster.admin.replace(f"{NODES}/node-1", node)
    assert (refusal.value.code, refusal.value.reason) == (409, "Conflict")


def test_an_event_is_in_both_apis_and_shown_with_its_node(cluster: Cluster) -> None:
    add_node(cluster, "node-1", UUID)
    event = {
        "metadata": {"name": RUN},
        "involvedObject": {"kind": "Node", "name": "node-1", "uid": "node-1"},
        "reason": "ClockCorrected",
        "message": "by 190.2 s",
        "type": "Normal",
        "firstTimestamp": "2026-11-30T12:00:00Z",
        "lastTimestamp": "2026-11-30T12:00:00Z",
        "count": 1,
        "source": {"component": "clockstep"},
    }
    cluster.admin.create(EVENTS, event)
    newer = cluster.admin.get(f"/apis/events.k8s.io/v1/namespaces/default/events/{RUN}")
    assert (newer["note"], newer["regarding"]["name"]) == ("by 190.2 s", "node-1")
    shown = cluster.kubectl("describe", "node", "node-1")
    assert "ClockCorrected" in shown
    assert "by 190.2 s" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"involvedObject": {"kind": "Pod", "namespace": "elsewhere", "name": "x"}},
        {"involvedObject": {"kind": "Node", "name": "x"}, "eventTime": AT, "reportingComponent": "clockstep"},
    ],
)
def test_an_event_that_is_not_as_it_must_be_is_refused(cluster: Cluster, wrong: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refusal:
        cluster.admin.create(EVENTS, {"metadata": {"name": f"{RUN}-wrong"}} | wrong)
    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")


def test_who_is_bound_to_no_role_may_do_nothing_and_can_ask(cluster: Cluster) -> None:
    nobody = cluster.api_as(f"{RUN}-nobody")
    assert not may(nobody, "list", "nodes")
    assert may(cluster.admin, "list", "nodes")


def test_a_role_counts_for_what_it_names_and_as_long_as_it_is_bound(cluster: Cluster) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["nodes/status"], "resourceNames": ["node-1"], "verbs": ["patch"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": RUN}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": RUN}
    cluster.admin.create(f"{rbac}/clusterroles", {"metadata": {"name": RUN}, "rules": rules})
    cluster.admin.create(
        f"{rbac}/clusterrolebindings", {"metadata": {"name": RUN}, "roleRef": role, "subjects": [user]}
    )
    bound = cluster.api_as(RUN)

    def code(path: str) -> int:
        try:
            bound.patch(path, {"metadata": {"annotations": {"by": RUN}}})
        except ApiError as error:
            return error.code
        return 0

    for name in ("node-1", "node-2"):
        add_node(cluster, name, UUID)
    until(lambda: code(f"{NODES}/node-1/status") == 0, 10)
    assert code(f"{NODES}/node-2/status") == 403
    assert code(f"{NODES}/node-1") == 403
    cluster.admin.delete(f"{rbac}/clusterrolebindings/{RUN}")
    until(lambda: code(f"{NODES}/node-1/status") == 403, 10)
    cluster.admin.delete(f"{rbac}/clusterroles/{RUN}")


def test_a_custom_resource_is_served_soon_after_it_is_defined(cluster: Cluster) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "string"}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "clocks", "singular": "clock", "kind": "Clock"}
    spec = {"group": "clockstep.test", "scope": "Cluster", "names": names, "versions": [version]}
    cluster.admin.create(definitions, {"metadata": {"name": "clocks.clockstep.test"}, "spec": spec})
    until(lambda: "clockstep.test" in {group["name"] for group in cluster.admin.get("/apis")["groups"]}, 10)
    clock = {"apiVersion": "clockstep.test/v1", "kind": "Clock", "metadata": {"name": "wall"}, "spec": "late"}
    until(lambda: served(cluster.admin, clock), 10)
    with pytest.raises(ApiError, match="422 Invalid"):
        cluster.admin.create("/apis/clockstep.test/v1/clocks", clock | {"metadata": {"name": "other"}, "spec": 1})
    cluster.admin.delete(f"{definitions}/clocks.clockstep.test")


def served(api: Api, clock: dict[str, Any]) -> bool:
    """Whether an object could be created: just after its kind was defined, the server may not have it yet."""
    try:
        api.create("/apis/clockstep.test/v1/clocks", clock)
    except ApiError as error:
        assert error.code == 404
        return False
    return True


def test_a_budget_that_allows_no_disruption_keeps_a_pod_from_eviction(kubelite: Kubelite) -> None:
    pods, admin = "/api/v1/namespaces/default/pods", kubelite.admin
    pod = {"metadata": {"name": RUN, "labels": {"app": RUN}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    admin.create(pods, pod)
    admin.patch(f"{pods}/{RUN}/status", {"status": {"phase": "Running"}})
    selector = {"matchLabels": {"app": RUN}}
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    admin.create(budgets, {"metadata": {"name": RUN}, "spec": {"minAvailable": 1, "selector": selector}})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": RUN}}
    with pytest.raises(ApiError, match="429 TooManyRequests"):
        admin.create(f"{pods}/{RUN}/eviction", eviction)
    admin.delete(f"{budgets}/{RUN}")
    admin.create(f"{pods}/{RUN}/eviction", eviction)
    with pytest.raises(ApiError, match="404"):
        admin.get(f"{pods}/{RUN}")


def test_what_was_in_a_namespace_goes_with_it(kubelite: Kubelite) -> None:
    namespaces, configmaps = "/api/v1/namespaces", f"/api/v1/namespaces/{RUN}/configmaps"
    for _ in range(2):
        kubelite.admin.create(namespaces, {"metadata": {"name": RUN}})
        assert kubelite.admin.get(configmaps)["items"] == []
        kubelite.admin.create(configmaps, {"metadata": {"name": "kept"}})
        kubelite.admin.delete(f"{namespaces}/{RUN}")
