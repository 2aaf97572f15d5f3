"""The client on real API servers: rights, conflicts, an API that is away, its certificate, and what kubectl shows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from clockstep.core.labels import parse_selector
from clockstep.errors import KubernetesError, UsageError
from clockstep.kubernetes.api import TRIES, KubernetesApi
from clockstep.kubernetes.requests import Requests
from clockstep.model import KubeAccess, KubeCondition, KubeEvent
from clockstep_lab.kubernetes.api import ApiError
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.kubeconfig import by_token
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.tls import Validity

from .objects import NODES, add_node, renew_lease

UUID = "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01"
NOW, HOUR = datetime.now(UTC), timedelta(hours=1)
NOW_NS = int(NOW.timestamp()) * 10**9


def api_of(cluster: Cluster) -> KubernetesApi:
    return KubernetesApi(KubeAccess(str(cluster.kubeconfig)), {})


class Disturbed(KubernetesApi):
    """Somebody changes a Node each time that it was read, so many times."""

    def __init__(self, cluster: Cluster, times: int) -> None:
        super().__init__(KubeAccess(str(cluster.kubeconfig)), {})
        self.cluster, self.times = cluster, times

    def _node(self, node: str) -> Mapping[str, Any]:
        found = super()._node(node)
        if self.times:
            self.times -= 1
            self.cluster.admin.patch(f"{NODES}/{node}", {"metadata": {"labels": {"seen": str(self.times)}}})
        return found


def test_a_change_that_others_come_before_is_made_on_what_they_have_left(cluster: Cluster) -> None:
    add_node(cluster, "a", UUID)
    assert Disturbed(cluster, TRIES - 1).cordon("a", "mine") is True
    (found,) = api_of(cluster).nodes()
    assert (found.cordoned_by, dict(found.labels)["seen"]) == ("mine", "0")
    with pytest.raises(KubernetesError) as caught:
        Disturbed(cluster, TRIES).uncordon("a", "mine")
    assert caught.value.status == 409
    assert api_of(cluster).nodes()[0].unschedulable


def test_a_list_of_several_pages_is_whole(cluster: Cluster) -> None:
    for number in range(5):
        add_node(cluster, f"n{number}", UUID)
    connection = api_of(cluster)._connection()
    found = connection.ask(
        "list nodes", lambda one: [node["metadata"]["name"] for node in Requests(one.client, 2).nodes()]
    )
    assert found == [f"n{number}" for number in range(5)]


def grant(cluster: Cluster, name: str, rules: list[dict[str, list[str]]]) -> KubernetesApi:
    """Return the cluster for an account with these rights, by its own token."""
    for path, body in (
        ("/api/v1/namespaces/default/serviceaccounts", {}),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", {"rules": rules}),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
            },
        ),
    ):
        try:
            cluster.admin.create(path, {"metadata": {"name": name}, **body})
        except ApiError as error:
            assert error.code == 409
    return KubernetesApi(KubeAccess(str(cluster.kubeconfig_of(name, by_token(cluster.token("default", name))))), {})


def test_an_account_without_a_right_learns_which_it_lacks(cluster: Cluster) -> None:
    add_node(cluster, "a", UUID)
    api = grant(cluster, "powerless", [])
    calls: dict[str, Callable[[], object]] = {
        "list nodes": api.nodes,
        "get node a": lambda: api.condition("a"),
        "patch nodes/status a": lambda: api.remove_condition("a"),
        "create events in default": lambda: api.record(KubeEvent("a", "Normal", "R", "m", NOW_NS)),
    }
    for what, call in calls.items():
        with pytest.raises(
            KubernetesError, match=f"forbidden to {what}: .*system:serviceaccount:default:powerless"
        ) as caught:
            call()
        assert (caught.value.status, caught.value.lasting) == (403, True)


def test_an_account_that_may_read_nodes_and_not_leases_gets_the_nodes(cluster: Cluster) -> None:
    add_node(cluster, "a", UUID)
    renew_lease(cluster, "a", NOW)
    api = grant(cluster, "half", [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}])
    found = granted(api)
    assert (found[0].name, found[0].renewed_ns) == ("a", None)
    assert "forbidden to list leases in kube-node-lease" in found[0].lease_trouble


def granted(api: KubernetesApi) -> list[Any]:
    """Return the Nodes once the server has taken in who may read them."""
    for _ in range(100):
        try:
            return api.nodes()
        except KubernetesError as error:
            if error.status != 403:
                raise
    raise AssertionError("the right was not granted")


def test_a_token_that_is_none_is_refused(cluster: Cluster) -> None:
    file = cluster.kubeconfig_of("stranger", by_token("made-up"))
    with pytest.raises(KubernetesError, match="refuses the credentials: Unauthorized") as caught:
        KubernetesApi(KubeAccess(str(file)), {}).nodes()
    assert caught.value.status == 401


def test_a_server_that_was_away_is_asked_again_when_it_is_back(kubelite: Kubelite) -> None:
    api = api_of(kubelite)
    before = api.nodes()
    with kubelite.away(), pytest.raises(KubernetesError, match="refused the connection") as caught:
        api.nodes()
    assert not caught.value.lasting
    assert api.nodes() == before


@pytest.mark.parametrize(
    ("validity", "said"),
    [(Validity(NOW + HOUR, NOW + 2 * HOUR), "is not yet valid"), (Validity(NOW - 2 * HOUR, NOW - HOUR), "has expired")],
)
def test_a_servers_certificate_that_does_not_count_now_is_said_so(
    kubelite: Kubelite, validity: Validity, said: str
) -> None:
    api = api_of(kubelite)
    with kubelite.showing(validity), pytest.raises(KubernetesError, match=f"certificate of the API server .* {said}"):
        api.nodes()
    api.nodes()


def test_kubectl_describes_a_node_with_the_condition_and_the_events(cluster: Cluster) -> None:
    add_node(cluster, "a", UUID)
    api = api_of(cluster)
    api.set_condition("a", KubeCondition("True", "ClockOutOfBounds", "-36.002 s ± 4 ms", NOW_NS, NOW_NS))
    api.record(KubeEvent("a", "Warning", "ClockStepped", "+36.002 s, reverted", NOW_NS))
    assert api.cordon("a", "mine")
    said = [line.split(None, 2) for line in cluster.kubectl("describe", "node", "a").splitlines()]
    assert ["Unschedulable:", "true"] in said
    assert ["ClockProblem", "True"] in [words[:2] for words in said]
    assert any(words[:2] == ["Warning", "ClockStepped"] and "+36.002 s, reverted" in words[2] for words in said)


SELECTORS = [
    *("tier=db", "tier==db", "tier!=db", "tier in (db,web)", "tier in (db, )", "tier notin (db)", "tier", "!tier"),
    *("gone=x", "gone!=x", "gone=", "gone notin (x)", "tier in ()", "tier=db,size", "size>3", "size<3", "size>x"),
    *("empty=", "empty in ()", "a.example/b=c", "!a.example/b", "tier =  db", "tier in(db)", "in", "in in (in)"),
    *("tier=db,", "tier in db", "tier==db=db", "=db", "tier=db web", "-a=b", "a/b/c", "tier in (db", "Ä=b", "tier>"),
    *(
        "! tier",
        "tier notin(db,web)",
        "tier=d b",
        "x" * 64,
        "tier=" + "x" * 64,
        "tier in (db),!gone,size>1",
        "size > 3",
    ),
]


def test_a_selector_means_what_it_means_to_the_server(cluster: Cluster) -> None:
    add_node(cluster, "a", UUID, {"tier": "db", "size": "4", "empty": "", "in": "in"})
    add_node(cluster, "b", UUID, {"tier": "web", "size": "2", "a.example/b": "c"})
    add_node(cluster, "c", UUID, {"size": "many"})
    nodes = api_of(cluster).nodes()
    for text in SELECTORS:
        try:
            found = cluster.admin.get(f"{NODES}?labelSelector={quote(text)}")["items"]
            expected = [node["metadata"]["name"] for node in found]
        except ApiError as error:
            assert error.code == 400
            with pytest.raises(UsageError):
                parse_selector(text)
        else:
            selector = parse_selector(text)
            assert [node.name for node in nodes if selector.selects(dict(node.labels))] == expected, text
