"""What a remedy does about a finding, and what it leaves: pure decisions, on made-up clusters."""

from dataclasses import replace
from typing import Any

import pytest

from clockstep.core.aftermath.checking import chosen, inputs, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.planning import BY_USER, MOST, plan
from clockstep.core.aftermath.signing import objection
from clockstep.model import Act, Deed, Healed, KubeRef, Repair
from clockstep.model.damage import (
    Ceph,
    Endpoint,
    Input,
    KubeHappening,
    KubeWorkload,
    PodToken,
    Renewal,
    Seen,
    Served,
    Unread,
    Waiting,
)
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from core.aftermath.made import DEPLOYMENT, EARLY, LAPSED, NOW, SERVICE, pod, request, seen

RESERVED = (Waiting("x", "CreateContainerError", "name is reserved for"),)


def planned(code: str, there: Seen) -> tuple[Repair, ...]:
    """Return what would be done about what one check finds."""
    return plan(look(chosen(CHECKS, [code], []), there), REMEDIES, there)


def served_late(**fields: Any) -> Seen:
    """A cluster with a webhook that serves a certificate that has lapsed a day ago."""
    return seen(served=(Served(SERVICE, 443, LAPSED, "old"),), **fields)


def workload(**changes: Any) -> tuple[KubeWorkload, ...]:
    return (KubeWorkload(DEPLOYMENT, uid="uid-webhook", **changes),)


def test_the_workload_behind_a_service_is_restarted() -> None:
    (one,) = planned("CS-SERVING", served_late())
    assert one.act == Act(Deed.RESTART, DEPLOYMENT, "CS-SERVING", "uid-webhook")
    assert one.broken.cure == "kubectl rollout restart -n cert-manager deployment/webhook"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"pods": ()}, "no pod stands behind it"),
        ({"services": ()}, "no pod stands behind it"),
        ({"pods": (pod(owner=None),)}, "is not kept by a Deployment"),
        ({"workloads": ()}, "is not kept by a Deployment"),
        ({"workloads": workload(paused=True)}, "is paused"),
        ({"workloads": workload(owner=KubeRef("Operator", "x", "cert-manager"))}, "is not kept by a Deployment"),
        ({"workloads": workload(restarted_ns=NOW - HOUR_NS)}, "which did not help"),
        ({"pods": (pod(), pod("other", owner=KubeRef("StatefulSet", "other", "cert-manager")))}, "several workloads"),
    ],
)
def test_what_is_not_restarted_is_left_with_the_reason(fields: dict[str, Any], why: str) -> None:
    (one,) = planned("CS-SERVING", served_late(**fields))
    assert (one.outcome, one.act) == (Healed.LEFT, None)
    assert why in one.why


def test_a_restart_from_before_the_damage_is_no_try_to_cure_it() -> None:
    (one,) = planned("CS-SERVING", served_late(workloads=workload(restarted_ns=NOW - 2 * DAY_NS)))
    assert one.act and not one.act.begun


def test_a_restart_that_is_under_way_is_waited_for() -> None:
    (one,) = planned("CS-SERVING", served_late(workloads=workload(restarted_ns=NOW - MINUTE_NS, settled=False)))
    assert one.act and one.act.begun


def test_of_damage_without_a_beginning_only_a_late_restart_counts_as_a_try() -> None:
    def of(ago_ns: int) -> Repair:
        early = (Served(SERVICE, 443, EARLY, "new"),)
        return planned("CS-SERVING", seen(served=early, workloads=workload(restarted_ns=NOW - ago_ns)))[0]

    assert of(MINUTE_NS).act is None
    assert of(HOUR_NS).act


def test_nothing_in_kube_system_is_restarted_for_a_certificate() -> None:
    system = "kube-system"
    service = KubeRef("Service", "metrics", system)
    there = seen(
        pods=(pod("m-5f4d-x", system, owner=KubeRef("ReplicaSet", "m-5f4d", system)),),
        workloads=(KubeWorkload(KubeRef("Deployment", "m", system)),),
        services=(replace(seen().services[0], ref=service),),
        apiservices=(Endpoint(KubeRef("APIService", "v1.m"), "v1.m", service, available=False),),
    )
    (one,) = planned("CS-APISERVICE", there)
    assert one.act is None
    assert "is in kube-system" in one.why


def test_one_workload_is_restarted_once_for_two_findings() -> None:
    other = KubeRef("Service", "other", "cert-manager")
    there = served_late()
    there = replace(
        there,
        served=(*there.served, Served(other, 443, LAPSED, "old")),
        services=(*there.services, replace(there.services[0], ref=other)),
    )
    first, second = planned("CS-SERVING", there)
    assert first.act
    assert (second.outcome, second.act) == (Healed.SKIPPED, None)


def test_no_more_is_cured_at_once_than_the_cap() -> None:
    pods = tuple(pod(f"pod-{number}", waiting=RESERVED) for number in range(MOST + 3))
    repairs = planned("CS-STUCK", seen(pods=pods))
    assert len([one for one in repairs if one.act]) == MOST
    assert all("run it again" in one.why for one in repairs[MOST:])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"owner": None}, "nobody would make this pod again"),
        ({"mirror": True}, "it is a static pod"),
        ({"owner": KubeRef("Job", "import", "cert-manager")}, "job/import may not make this pod again"),
        ({"owner": KubeRef("VirtualMachineInstance", "db", "cert-manager")}, "may not make this pod again"),
        ({"owner": KubeRef("Node", "node-1", "cert-manager")}, "may not make this pod again"),
    ],
)
def test_a_pod_that_nobody_makes_again_is_not_evicted(changes: dict[str, Any], why: str) -> None:
    (one,) = planned("CS-STUCK", seen(pods=(pod(waiting=RESERVED, **changes),)))
    assert one.act is None
    assert why in one.why


def test_a_pod_of_a_paused_workload_is_left() -> None:
    (one,) = planned("CS-STUCK", seen(pods=(pod(waiting=RESERVED),), workloads=workload(paused=True)))
    assert (one.act, one.why) == (None, "cert-manager/deployment/webhook is paused")
    unread = {Input.WORKLOADS: Unread("forbidden")}
    (one,) = planned("CS-STUCK", seen(pods=(pod(waiting=RESERVED),), workloads=(), unread=unread))
    assert (one.act, one.why) == (None, "it is not known whether its workload is paused: forbidden")
    assert Input.WORKLOADS in inputs(chosen(CHECKS, ["CS-STUCK"], []))
    assert Input.WORKLOADS in inputs(chosen(CHECKS, ["CS-TOKEN"], []))


def test_in_kube_system_no_pod_is_made_again_for_its_token() -> None:
    of_system = pod(namespace="kube-system")
    (one,) = planned("CS-TOKEN", seen(pods=(of_system,), tokens=(PodToken(of_system.uid, NOW + DAY_NS),)))
    assert one.act is None
    assert "is in kube-system" in one.why


def test_an_envoy_beside_cilium_is_not_taken_for_the_networks_plugin() -> None:
    def of(app: str) -> Any:
        owner = KubeRef("DaemonSet", app, "kube-system")
        return pod(f"{app}-x", "kube-system", labels={"k8s-app": app}, owner=owner)

    starting = pod("web-0", "shop", ready=False, waiting=(Waiting("web", "ContainerCreating"),))
    event = KubeHappening(starting.ref, "FailedCreatePodSandBox", "Unauthorized", NOW - SECOND_NS)
    (one,) = planned("CS-CNI", seen(pods=(of("cilium-envoy"), of("cilium"), starting), events=(event,)))
    assert one.act and one.act.on.name == "cilium-x"


def test_an_event_from_before_the_networks_pod_was_made_again_has_it_made_again_no_more() -> None:
    owner = KubeRef("DaemonSet", "calico-node", "kube-system")
    plugin = pod("c", "kube-system", labels={"k8s-app": "calico-node"}, owner=owner, created_ns=NOW - 20 * MINUTE_NS)
    starting = pod("web-0", "shop", ready=False, waiting=(Waiting("web", "ContainerCreating"),))
    event = KubeHappening(starting.ref, "FailedCreatePodSandBox", "Unauthorized", NOW - 21 * MINUTE_NS)
    (one,) = planned("CS-CNI", seen(pods=(plugin, starting), events=(event,)))
    assert one.act is None
    assert "which did not help" in one.why


def test_a_network_plugin_is_made_again_on_its_own_node_and_once() -> None:
    def of(age_ns: int) -> Repair:
        owner = KubeRef("DaemonSet", "calico-node", "kube-system")
        plugin = pod("calico-a", "kube-system", labels={"k8s-app": "calico-node"}, owner=owner, created_ns=NOW - age_ns)
        starting = pod("web-0", "shop", ready=False, waiting=(Waiting("web", "ContainerCreating"),))
        event = KubeHappening(starting.ref, "FailedCreatePodSandBox", "Unauthorized", NOW - SECOND_NS)
        return planned("CS-CNI", seen(pods=(plugin, starting), events=(event,)))[0]

    old, fresh, tried = of(DAY_NS).act, of(MINUTE_NS).act, of(5 * MINUTE_NS)
    assert old and not old.begun and old.on.name == "calico-a"
    assert fresh and fresh.begun
    assert tried.act is None and "which did not help" in tried.why


def test_a_token_that_is_valid_in_minutes_is_waited_for_and_no_pod_made_again() -> None:
    def of(ahead_ns: int) -> Repair:
        return planned("CS-TOKEN", seen(tokens=(PodToken(pod().uid, NOW + ahead_ns),)))[0]

    soon, late = of(3 * MINUTE_NS), of(HOUR_NS)
    assert soon.act is None and soon.why == "it is valid in 2 min: wait"
    assert late.act and late.act.deed is Deed.EVICT


def monitor(name: str, **changes: Any) -> Any:
    labels = {"app": "rook-ceph-mon", "mon": name}
    return pod(f"rook-ceph-mon-{name}-x", "rook-ceph", labels=labels, **changes)


def test_a_monitor_is_made_again_only_while_the_others_keep_the_quorum() -> None:
    def of(*pods: Any) -> Repair:
        cluster = Ceph(KubeRef("CephCluster", "c", "rook-ceph"), "", {"MON_CLOCK_SKEW": "clock skew detected on mon.b"})
        return planned("CS-CEPH", seen(pods=pods, ceph=(cluster,)))[0]

    whole = of(monitor("a"), monitor("b"), monitor("c"))
    assert whole.act and whole.act.on.name == "rook-ceph-mon-b-x"
    for fewer in (of(monitor("a"), monitor("b"), monitor("c", ready=False)), of(monitor("a"), monitor("b"))):
        assert fewer.act is None
        assert "quorum" in fewer.why


def test_a_certificate_is_issued_again_unless_that_is_under_way_or_fails() -> None:
    def of(**changes: Any) -> Repair:
        one = Renewal(KubeRef("Certificate", "web", "shop"), "s", NOW - HOUR_NS, **changes)
        return planned("CS-CERTIFICATE", seen(certificates=(one,)))[0]

    fresh, under_way, failing = of().act, of(issuing=True).act, of(issuing=True, failed="last failed at noon")
    assert fresh and not fresh.begun
    assert under_way and under_way.begun
    assert failing.act is None and "last failed at noon" in failing.why


def test_what_has_no_remedy_is_the_users() -> None:
    (one,) = planned("CS-CLOCK", seen(nodes=(replace(seen().nodes[0], renewed_ns=NOW + HOUR_NS),)))
    assert (one.act, one.why) == (None, BY_USER)


CLIENT = {
    "signer": "kubernetes.io/kube-apiserver-client-kubelet",
    "usages": ("key encipherment", "digital signature", "client auth"),
    "names": (),
    "addresses": (),
}


@pytest.mark.parametrize("changes", [{}, CLIENT, {"names": ()}, {"addresses": ()}])
def test_a_request_that_fits_its_node_in_everything_may_be_approved(changes: dict[str, Any]) -> None:
    assert objection(request(**changes), seen()) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"username": "system:node:node-9"}, "there is no such Node"),
        ({"username": "node-1"}, "not asked for by a node"),
        ({"username": "system:serviceaccount:x:y"}, "not asked for by a node"),
        ({"groups": ("system:authenticated",)}, "not asked for by a node"),
        ({"common_name": "system:node:node-2"}, "name or the organisation"),
        ({"common_name": "system:admin"}, "name or the organisation"),
        ({"organizations": ("system:nodes", "system:masters")}, "name or the organisation"),
        ({"organizations": ()}, "name or the organisation"),
        ({"addresses": ("192.0.2.1", "192.0.2.9")}, "not all the Node's"),
        ({"names": ("kubernetes.default.svc",)}, "not all the Node's"),
        ({"names": (), "addresses": ()}, "not all the Node's"),
        ({"others": True}, "not all the Node's"),
        ({"usages": ("digital signature", "server auth", "client auth")}, "usages"),
        ({"usages": ("server auth",)}, "usages"),
        ({"signed": False}, "not signed by its own key"),
        ({"trouble": "the request in it cannot be read"}, "cannot be read"),
        ({**CLIENT, "names": ("node-1",)}, "a client has no addresses"),
        ({**CLIENT, "usages": ("digital signature", "server auth")}, "usages"),
    ],
)
def test_a_request_that_does_not_fit_its_node_is_left(changes: dict[str, Any], why: str) -> None:
    assert why in objection(request(**changes), seen())


def test_a_request_of_a_node_whose_machine_is_not_ours_is_left() -> None:
    assert objection(request(), seen(machines=frozenset())) == "the machine of that Node is not one of these"
