"""The aftermath in a real API server: what is read of it, what is found, and what is cured and proven."""

import os
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clockstep.core.aftermath.checking import inputs
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.errors import KubernetesError
from clockstep.flows.aftermath import Inside, Scene, aftermath, gathered, planned, repair
from clockstep.flows.damaged_nodes import OF_NODES, unseen
from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference
from clockstep.kubernetes.aftermath import AftermathApi
from clockstep.model import AftermathReport, Healed, KubeAccess, KubeRef, Repair, State
from clockstep.model.damage import Input, Seen
from clockstep.ports import Output
from clockstep.workloads.served import Address, served
from clockstep_lab.kubernetes.api import Api, ApiError
from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.kubeconfig import by_certificate, by_token
from clockstep_lab.kubernetes.kubelite import Kubelite
from clockstep_lab.tls import for_years
from conftest import until

from . import damage
from .damage import CRDS, DEPLOYMENTS, HOUR, NAMESPACE, PODS, Tls, csr, encoded, lapsed, stamp
from .objects import add_node, empty, renew_lease

BY_CODE = {check.code: replace(check, patience_ns=0) for check in CHECKS}
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SERVING = "kubernetes.io/kubelet-serving"
RESERVED = 'failed to reserve container name "x": name "x" is reserved for "4f5e"'


class Here:
    """A way to a node that is this machine."""

    source = "here"

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        done = subprocess.run(list(argv), input=stdin, capture_output=True, check=False, timeout=30)
        return Output(done.returncode, done.stdout.decode(), done.stderr.decode())


def scene(cluster: Cluster, inside: Inside | None = None, kubeconfig: Path | None = None) -> Scene:
    """Whom to ask; nothing is seen from nodes, unless it is said how."""
    api = AftermathApi(KubeAccess(str(kubeconfig or cluster.kubeconfig)), os.environ)
    tell: Callable[[str, str], None] = lambda _of, _text: None  # noqa: E731
    return Scene(api, inside or unseen("no node"), HostReference(), SystemClock(), tell, again_ns=100_000_000)


def found(cluster: Cluster, *codes: str) -> tuple[AftermathReport, Seen]:
    """Look by these checks."""
    return aftermath(scene(cluster), [BY_CODE[code] for code in codes])


def cured(there: Scene, *codes: str, meanwhile: Callable[[Repair], None] = lambda _repair: None) -> AftermathReport:
    """Look by these checks, and repair what they find."""
    checks = [BY_CODE[code] for code in codes]
    report, seen = aftermath(there, checks)
    plans = planned(report, REMEDIES, seen).repairs
    return repair(replace(there, kept=meanwhile), checks, REMEDIES, plans)


@pytest.fixture
def damaged(kubelite: Kubelite) -> Kubelite:
    """A current API server without anything that is broken."""
    empty(kubelite)
    damage.begin(kubelite)
    return kubelite


def test_what_is_read_is_what_the_objects_have(damaged: Kubelite, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    add_node(damaged, "node-1", "5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01")
    renew_lease(damaged, "node-1", now)
    damage.add_deployment(damaged, paused=True)
    waiting = {"name": "x", "state": {"waiting": {"reason": "CreateContainerError", "message": RESERVED}}}
    damage.add_pod(damaged, "webhook-5f4d-a", containerStatuses=[waiting])
    damage.add_service(damaged)
    server = Tls(tmp_path / "pki", for_years())
    damage.add_webhook(damaged, {"service": {"name": "webhook", "namespace": NAMESPACE}, "caBundle": server.bundle})
    data = {"tls.crt": encoded(server.certificate.file.read_bytes()), "tls.key": encoded("the key")}
    secret = {"metadata": {"name": "webhook-tls"}, "type": "kubernetes.io/tls", "data": data}
    damaged.admin.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    seen = gathered(scene(damaged), inputs(CHECKS))
    assert [(one.name, one.renewed_ns) for one in seen.nodes] == [("node-1", int(now.timestamp()) * 10**9)]
    (pod,) = (one for one in seen.pods if one.ref.namespace == NAMESPACE)
    assert (pod.ref.name, pod.node, pod.secrets, pod.waiting[0].message) == (
        "webhook-5f4d-a",
        "node-1",
        ("webhook-tls",),
        RESERVED,
    )
    assert pod.owner == KubeRef("ReplicaSet", "webhook-5f4d", NAMESPACE)
    (workload,) = (one for one in seen.workloads if one.ref.namespace == NAMESPACE)
    assert (workload.ref.kind, workload.paused, workload.settled) == ("Deployment", True, True)
    (webhook,) = seen.webhooks
    assert (webhook.service, webhook.sample) == (KubeRef("Service", "webhook", NAMESPACE), "configmaps")
    assert [one.subject for one in webhook.authorities] == ["clockstep-lab"]
    (kept,) = seen.secrets
    assert kept.certificate.subject == "webhook"
    assert "the key" not in repr(seen)
    assert encoded("the key") not in repr(seen)
    assert {one for one, why in seen.unread.items() if why.absent} == {
        Input.APISERVICES,
        Input.CERTIFICATES,
        Input.CEPH,
    }


def test_a_kind_that_may_not_be_read_costs_only_itself(damaged: Kubelite) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    damaged.admin.create(f"{RBAC}/clusterroles", {"metadata": {"name": "pods-only"}, "rules": [rule]})
    subject = {"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "pods-only", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "pods-only"}, "roleRef": role, "subjects": [subject]}
    damaged.admin.create(f"{RBAC}/clusterrolebindings", binding)
    kubeconfig = damaged.kubeconfig_of("limited", by_certificate(damaged.certificate("limited")))
    limited = scene(damaged, kubeconfig=kubeconfig)
    until(lambda: Input.PODS not in gathered(limited, {Input.PODS}).unread, 10)
    report, _ = aftermath(limited, [BY_CODE["CS-STUCK"], BY_CODE["CS-CRON"], BY_CODE["CS-CSR"]])
    assert [one.state for one in report.checks] == [State.CLEAN, State.NOT_LOOKED, State.NOT_LOOKED]
    assert "forbidden to list cronjobs.batch" in report.checks[1].why


ROLES = Path(__file__).parents[2] / "deploy/kubernetes"


def account(cluster: Cluster, name: str, *roles: str) -> Scene:
    """Return a scene for the token of a service account with these cluster roles."""
    cluster.kubectl("apply", "-f", ROLES / "aftermath-reader.yaml", "-f", ROLES / "aftermath-repairer.yaml")
    cluster.kubectl("delete", "clusterrolebinding", "--ignore-not-found", *roles)
    cluster.kubectl("-n", "default", "create", "serviceaccount", name)
    for role in roles:
        subject = f"--serviceaccount=default:{name}"
        cluster.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", subject)
    token = cluster.token("default", name)
    return scene(cluster, kubeconfig=cluster.kubeconfig_of(name, by_token(token)))


def test_the_reader_may_read_all_and_repair_nothing(damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    there = account(damaged, "reader-of-aftermath", "clockstep-aftermath-reader")
    until(lambda: not gathered(there, {Input.PODS}).unread, 10)
    seen = gathered(there, inputs(CHECKS))
    assert {one for one, why in seen.unread.items() if not why.absent} == set(OF_NODES)
    report = cured(there, "CS-STUCK")
    assert report.repairs[0].outcome is Healed.NOT_HEALED
    assert "forbidden to evict" in report.repairs[0].why


def test_the_repairer_may_carry_cures_out_and_record_them(damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    roles = ("clockstep-aftermath-reader", "clockstep-aftermath-repairer")
    there = account(damaged, "repairer-of-aftermath", *roles)
    until(lambda: not gathered(there, {Input.PODS}).unread, 10)
    assert cured(there, "CS-STUCK").repairs[0].outcome is Healed.HEALED
    (event,) = damaged.admin.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
    assert event["reason"] == "AftermathRepaired"


RBAC = "/apis/rbac.authorization.k8s.io/v1"


def test_a_kind_in_versions_that_are_not_known_is_not_taken_for_absent(damaged: Kubelite) -> None:
    damage.add_crd(damaged, "cert-manager.io", "Certificate", "v1alpha2")
    try:
        until(lambda: "v1alpha2" in gathered(scene(damaged), {Input.CERTIFICATES}).unread[Input.CERTIFICATES].why, 10)
        report, _ = found(damaged, "CS-CERTIFICATE")
        assert report.checks[0].state is State.NOT_LOOKED
    finally:
        damaged.admin.delete(f"{CRDS}/certificates.cert-manager.io")


def test_a_webhook_whose_certificate_lapsed_is_seen_as_the_api_server_sees_it(
    damaged: Kubelite, tmp_path: Path
) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        damage.add_webhook(damaged, {"url": f"https://127.0.0.1:{server.port}/", "caBundle": server.bundle})

        def seen() -> AftermathReport:
            return found(damaged, "CS-SERVING")[0]

        until(lambda: seen().checks[0].state is State.BROKEN, 10)  # the API server learns of a webhook a moment later
        (broken,) = seen().checks[0].broken
        assert broken.on == KubeRef("ValidatingWebhookConfiguration", "example")
        assert "certificate has expired or is not yet valid" in broken.evidence
        assert damaged.admin.get("/api/v1/namespaces/default/configmaps")["items"] == []


def test_a_webhook_that_declares_side_effects_is_not_called(damaged: Kubelite, tmp_path: Path) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        config = {"url": f"https://127.0.0.1:{server.port}/", "caBundle": server.bundle}
        damage.add_webhook(damaged, config, sideEffects="NoneOnDryRun", failurePolicy="Ignore")
        report, seen = found(damaged, "CS-SERVING")
    assert report.checks[0].state is State.NOT_LOOKED
    assert seen.probes[0].skipped == "the API server ignores its failures"


def dialling(wanted: Collection[Input], seen: Seen) -> Seen:
    """See what Services show, from here."""
    services = [(one.service, one.port) for one in seen.webhooks if one.service]
    addresses = [Address(service, "127.0.0.1", port) for service, port in services]
    shown = served(Here(), addresses, 0) if Input.SERVED in wanted else seen.served  # type: ignore[arg-type]
    return replace(seen, served=shown)


@contextmanager
def kubelet(cluster: Cluster, act: Callable[[], None]) -> Iterator[None]:
    """Do what kubelets and controllers would when the Deployment is restarted: a new process, of the new template."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            found = cluster.admin.get(f"{DEPLOYMENTS}/webhook")
            if found["metadata"]["generation"] > found["status"]["observedGeneration"]:
                act()
                status = {**found["status"], "observedGeneration": found["metadata"]["generation"]}
                cluster.admin.patch(f"{DEPLOYMENTS}/webhook/status", {"status": status})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def broken_webhook(cluster: Kubelite, server: Tls, **spec: Any) -> None:
    """A webhook behind a Service, whose pod serves what this server shows."""
    service = {"name": "webhook", "namespace": NAMESPACE, "port": server.port}
    damage.add_service(cluster)
    damage.add_deployment(cluster, **spec)
    ready: Any = {"conditions": [{"type": "Ready", "status": "True"}]}
    damage.add_pod(cluster, "webhook-5f4d-a", **ready)
    damage.add_webhook(cluster, {"service": service, "caBundle": server.bundle})


def test_what_is_served_after_its_end_is_healed_by_a_restart_and_proven(damaged: Kubelite, tmp_path: Path) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        broken_webhook(damaged, server)
        kept: list[Repair] = []
        with kubelet(damaged, lambda: server.show(server.issue(for_years()))):
            report = cured(scene(damaged, dialling), "CS-SERVING", meanwhile=kept.append)
    (done,) = report.repairs
    assert (done.outcome, done.act and done.act.on) == (Healed.HEALED, KubeRef("Deployment", "webhook", NAMESPACE))
    assert report.checks[0].state is State.CLEAN
    assert [one.outcome for one in kept] == [Healed.NOT_HEALED, Healed.HEALED]
    (event,) = damaged.admin.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
    assert (event["reason"], event["involvedObject"]["name"]) == ("AftermathRepaired", "webhook")


def test_a_restart_that_did_not_help_is_not_repeated(damaged: Kubelite, tmp_path: Path) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        broken_webhook(damaged, server)
        _, seen = found(damaged, "CS-SERVING")
        there = scene(damaged, dialling)
        with kubelet(damaged, lambda: None):
            report, seen = aftermath(there, [BY_CODE["CS-SERVING"]])
            (plan,) = planned(report, REMEDIES, seen).repairs
            assert plan.act
            assert there.cluster.perform(plan.act, there.now_ns) == ""
            until(lambda: _settled(damaged), 10)
        report, seen = aftermath(there, [BY_CODE["CS-SERVING"]])
        (again,) = planned(report, REMEDIES, seen).repairs
    assert again.act is None
    assert "which did not help" in again.why


def _settled(cluster: Cluster) -> bool:
    found = cluster.admin.get(f"{DEPLOYMENTS}/webhook")
    return bool(found["metadata"]["generation"] == found["status"]["observedGeneration"])


def test_a_restart_that_an_interrupted_run_began_is_waited_for_and_not_repeated(
    damaged: Kubelite, tmp_path: Path
) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        broken_webhook(damaged, server)
        there = scene(damaged, dialling)
        report, seen = aftermath(there, [BY_CODE["CS-SERVING"]])
        act = planned(report, REMEDIES, seen).repairs[0].act
        assert act
        there.cluster.perform(act, there.now_ns)  # and killed
        before = damaged.admin.get(f"{DEPLOYMENTS}/webhook")["metadata"]["generation"]
        with kubelet(damaged, lambda: server.show(server.issue(for_years()))):
            report = cured(there, "CS-SERVING")
        assert damaged.admin.get(f"{DEPLOYMENTS}/webhook")["metadata"]["generation"] == before
    assert [one.outcome for one in report.repairs] in ([Healed.HEALED], [])


def test_a_paused_workload_is_left(damaged: Kubelite, tmp_path: Path) -> None:
    with Tls(tmp_path / "pki", lapsed()).serving() as server:
        broken_webhook(damaged, server, paused=True)
        report = cured(scene(damaged, dialling), "CS-SERVING")
        assert damaged.admin.get(f"{DEPLOYMENTS}/webhook")["metadata"]["generation"] == 1
    assert (report.repairs[0].outcome, report.repairs[0].act) == (Healed.LEFT, None)
    assert report.repairs[0].why == f"{NAMESPACE}/deployment/webhook is paused"


def stuck(cluster: Cluster, name: str, *, owned: bool) -> None:
    """A pod whose container cannot be made."""
    waiting = {"reason": "CreateContainerError", "message": RESERVED}
    state = [
        {"name": "x", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": {"waiting": waiting}}
    ]
    damage.add_pod(cluster, name, owned=owned, containerStatuses=state)


def delete_evicted(cluster: Cluster, name: str) -> None:
    """Delete a pod that is to go, as its kubelet does when its containers have ended."""
    found = {one["metadata"]["name"]: one for one in cluster.admin.get(PODS)["items"]}
    if found.get(name, {}).get("metadata", {}).get("deletionTimestamp"):
        cluster.admin.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})


def test_a_stuck_pod_is_evicted_and_a_bare_one_is_only_reported(damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    stuck(damaged, "bare", owned=False)
    report = cured(scene(damaged), "CS-STUCK")
    outcomes = {one.broken.on.name: (one.outcome, one.why) for one in report.repairs}
    assert outcomes == {
        "owned": (Healed.HEALED, ""),
        "bare": (Healed.LEFT, "nobody would make this pod again"),
    }
    delete_evicted(damaged, "owned")
    assert [one["metadata"]["name"] for one in damaged.admin.get(PODS)["items"]] == ["bare"]


def test_an_eviction_that_a_budget_forbids_is_skipped_and_said(damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    selector = {"matchLabels": {"app": "webhook"}}
    budgets = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    damaged.admin.create(budgets, {"metadata": {"name": "all"}, "spec": {"minAvailable": 1, "selector": selector}})
    report = cured(scene(damaged), "CS-STUCK")
    (skipped,) = report.repairs
    assert skipped.outcome is Healed.SKIPPED
    assert skipped.why.startswith("a PodDisruptionBudget forbids it now: ")
    assert len(damaged.admin.get(PODS)["items"]) == 1


def test_a_pod_that_another_one_has_taken_the_place_of_is_not_evicted(damaged: Kubelite) -> None:
    stuck(damaged, "owned", owned=True)
    there = scene(damaged)
    report, seen = aftermath(there, [BY_CODE["CS-STUCK"]])
    act = planned(report, REMEDIES, seen).repairs[0].act
    assert act
    assert there.cluster.perform(replace(act, uid="another"), there.now_ns) == "it has changed since it was looked at"
    assert "deletionTimestamp" not in damaged.admin.get(f"{PODS}/owned")["metadata"]


def test_only_a_request_that_fits_its_node_is_approved(damaged: Kubelite) -> None:
    add_node(damaged, "node-1", "")
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "node-1"}]
    damaged.admin.patch("/api/v1/nodes/node-1/status", {"status": {"addresses": addresses}})
    kubelet_of_node = damaged.api_as("system:node:node-1", "system:nodes")
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]}
    damaged.kubectl("delete", "clusterrole,clusterrolebinding", "csr-of-nodes", "--ignore-not-found")
    damaged.admin.create(f"{RBAC}/clusterroles", {"metadata": {"name": "csr-of-nodes"}, "rules": [rule]})
    group = {"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "csr-of-nodes", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "csr-of-nodes"}, "roleRef": role, "subjects": [group]}
    damaged.admin.create(f"{RBAC}/clusterrolebindings", binding)
    usages = ["digital signature", "server auth"]
    for name, address in (("fits", "192.0.2.1"), ("foreign", "192.0.2.99")):
        pem = csr("system:node:node-1", "system:nodes", ("node-1",), (address,))
        spec = {"request": encoded(pem), "signerName": SERVING, "usages": usages}
        body = {"metadata": {"name": name}, "spec": spec}
        until(lambda body=body: _created(kubelet_of_node, body), 10)  # type: ignore[misc]

    def ours(_wanted: Collection[Input], seen: Seen) -> Seen:
        return replace(seen, machines=frozenset({"node-1"}))

    report = cured(scene(damaged, ours), "CS-CSR")
    assert {one.broken.on.name: one.outcome for one in report.repairs} == {
        "fits": Healed.HEALED,
        "foreign": Healed.LEFT,
    }
    (approved,) = damaged.admin.get(f"{CSRS}/fits")["status"]["conditions"]
    assert (approved["type"], approved["status"]) == ("Approved", "True")
    assert "conditions" not in damaged.admin.get(f"{CSRS}/foreign").get("status", {})


def _created(api: Api, body: dict[str, Any]) -> bool:
    try:
        api.create(CSRS, body)
    except ApiError as error:
        assert error.code == 403
        return False
    return True


def test_a_certificate_past_its_renewal_is_issued_again(damaged: Kubelite) -> None:
    damage.add_crd(damaged, "cert-manager.io", "Certificate")
    path = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificates"
    try:
        until(lambda: Input.CERTIFICATES not in gathered(scene(damaged), {Input.CERTIFICATES}).unread, 15)
        damaged.admin.create(
            path, {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "web"}}
        )
        now = datetime.now(UTC)
        ready = {"type": "Ready", "status": "True"}
        status = {"renewalTime": stamp(now - HOUR), "notAfter": stamp(now + HOUR), "conditions": [ready]}
        damaged.admin.patch(f"{path}/web/status", {"status": status})
        seen: list[dict[str, object]] = []

        def issued(repair: Repair) -> None:
            """What cert-manager does when it sees the condition."""
            if repair.why == "it was begun":
                seen.extend(damaged.admin.get(f"{path}/web")["status"]["conditions"])
                renewed = {**status, "renewalTime": stamp(now + HOUR)}
                damaged.admin.patch(f"{path}/web/status", {"status": renewed})

        report = cured(scene(damaged), "CS-CERTIFICATE", meanwhile=issued)
        assert [one.outcome for one in report.repairs] == [Healed.HEALED]
        assert [(one["type"], one["status"], one.get("reason")) for one in seen] == [
            ("Ready", "True", None),
            ("Issuing", "True", "ManuallyTriggered"),
        ]
    finally:
        damaged.admin.delete(f"{CRDS}/certificates.cert-manager.io")


def test_an_api_server_whose_certificate_lapsed_is_named_with_the_command(damaged: Kubelite) -> None:
    with damaged.showing(lapsed()), pytest.raises(KubernetesError, match="has expired") as refused:
        found(damaged, "CS-STUCK")
    assert "kubeadm certs renew" in refused.value.hint


def test_a_lease_from_the_future_is_found_and_what_depends_on_clocks_waits_for_it(cluster: Cluster) -> None:
    add_node(cluster, "node-1", "")
    renew_lease(cluster, "node-1", datetime.now(UTC) + HOUR)
    report, _ = found(cluster, "CS-CLOCK", "CS-STUCK")
    assert [one.state for one in report.checks] == [State.BROKEN, State.NOT_LOOKED]
    assert "in the future" in report.checks[0].broken[0].text
    assert report.checks[1].why.startswith("CS-CLOCK comes first: ")


def test_an_api_that_the_aggregator_cannot_use_is_found(control_plane: ControlPlane) -> None:
    service = {"name": "nobody", "namespace": "default"}
    spec = {
        "group": "x.example.com",
        "version": "v1",
        "service": service,
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    control_plane.admin.create(path, {"metadata": {"name": "v1.x.example.com"}, "spec": spec})
    try:
        until(lambda: found(control_plane, "CS-APISERVICE")[0].checks[0].state is State.BROKEN, 30)
        (broken,) = found(control_plane, "CS-APISERVICE")[0].checks[0].broken
        assert (broken.on.name, broken.evidence.partition(":")[0]) == ("v1.x.example.com", "ServiceNotFound")
        assert "no pod behind it is ready" in broken.text
    finally:
        control_plane.admin.delete(f"{path}/v1.x.example.com")
