"""What each check of the aftermath finds: a table of cases for each, of what is broken and of what is not."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from shlex import shlex
from typing import Any, NamedTuple

import pytest

from clockstep.core.aftermath import serving
from clockstep.core.aftermath.checking import inputs, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.model import KubeCondition, KubeNode, KubeRef, NodeCertificates, State
from clockstep.model.damage import (
    Ceph,
    Claim,
    ClockStep,
    CronJob,
    Endpoint,
    Input,
    KubeHappening,
    KubeJob,
    KubeLease,
    KubeService,
    PodToken,
    Probe,
    Renewal,
    Seen,
    Served,
    StorageClass,
    TlsSecret,
    Unread,
    Waiting,
)
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from core.aftermath.made import CONFIG, EARLY, LABELS, LAPSED, NODE, NOW, SERVICE, certificate, node, pod, request, seen

BY_CODE = {check.code: check for check in CHECKS}


UID = pod().uid


class Case(NamedTuple):
    """What a cluster has, and what is found there: for each finding a part of its text or evidence."""

    called: str
    fields: dict[str, Any]
    found: tuple[str, ...] = ()


def _files(path: str, begin_ns: int, end_ns: int) -> dict[str, Any]:
    return {"files": (NodeCertificates(NODE, (certificate(begin_ns, end_ns, path),)),)}


REFUSED = KubeHappening(
    KubeRef("Pod", "web-0", "shop"),
    "FailedCreatePodSandBox",
    'plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized',
    NOW - MINUTE_NS,
)
STARTING = pod("web-0", "shop", ready=False, waiting=(Waiting("web", "ContainerCreating"),))
PLUGIN = pod(
    "calico-node-x",
    "kube-system",
    labels={"k8s-app": "calico-node"},
    owner=KubeRef("DaemonSet", "calico-node", "kube-system"),
)
SKEW = "clock skew detected on mon.b, mon.c"
ROOK = KubeRef("CephCluster", "rook-ceph", "rook-ceph")
RENEWAL = Renewal(KubeRef("Certificate", "web", "shop"), "web-tls", NOW - HOUR_NS, NOW + DAY_NS)
API = Endpoint(KubeRef("APIService", "v1beta1.metrics.k8s.io"), "v1beta1.metrics.k8s.io", SERVICE, available=True)
X509 = (
    'failed calling webhook "webhook.cert-manager.io": failed to call webhook: Post "https://webhook.svc:443": '
    "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time is after"
)
RESERVED = 'failed to reserve container name "web_web-0": name "web_web-0" is reserved for "4f5e"'
JOB = KubeRef("Job", "import", "shop")
CLAIM = KubeRef("PersistentVolumeClaim", "data", "shop")
RBD = StorageClass(KubeRef("StorageClass", "rook-ceph-block"), "rook-ceph.rbd.csi.ceph.com")
BUSY = KubeHappening(CLAIM, "ProvisioningFailed", "rpc error: code = Aborted desc = an operation already exists", NOW)


def _job(ago_ns: int, lasts_ns: int, failed_ns: int | None, *steps: ClockStep) -> dict[str, Any]:
    """A Job that began so long ago, and steps that were made since."""
    return {"jobs": (KubeJob(JOB, NOW - ago_ns, lasts_ns, failed_ns),), "steps": steps}


def _claim(kind: StorageClass = RBD, age_ns: int = HOUR_NS, **more: Any) -> dict[str, Any]:
    """A claim of this class that is so old and has no volume."""
    return {"storage_classes": (kind,), "claims": (Claim(CLAIM, kind.ref.name, created_ns=NOW - age_ns, **more),)}


def _step(ago_ns: int, by_ns: int, node: str = NODE) -> ClockStep:
    return ClockStep(node, NOW - ago_ns, by_ns)


DEAD: dict[str, Any] = {"served": (), "probes": (Probe(CONFIG, "webhook.cert-manager.io", X509),)}

CASES: dict[str, tuple[Case, ...]] = {
    "CS-CLOCK": (
        Case("a lease that is 3 s old", {}),
        Case("no lease", {"nodes": (node(renewed_ns=None),)}),
        Case("a lease a second ahead", {"nodes": (node(renewed_ns=NOW + SECOND_NS),)}),
        Case("a lease an hour ahead", {"nodes": (node(renewed_ns=NOW + HOUR_NS),)}, ("1 h in the future",)),
        Case("an old lease, Ready", {"nodes": (node(renewed_ns=NOW - 190 * SECOND_NS),)}, ("Ready, although",)),
        Case("an old lease, not Ready", {"nodes": (node(renewed_ns=NOW - HOUR_NS, ready=KubeCondition("Unknown")),)}),
    ),
    "CS-LEADER": (
        Case("a leader now", {"leases": (KubeLease(KubeRef("Lease", "x", "kube-system"), "a", NOW),)}),
        Case("no leader yet", {"leases": (KubeLease(KubeRef("Lease", "x", "kube-system")),)}),
        Case(
            "a leader from the future",
            {"leases": (KubeLease(KubeRef("Lease", "x", "kube-system"), "a", NOW + HOUR_NS),)},
            ("1 h in the future",),
        ),
    ),
    "CS-CONTROL-PLANE": (
        Case("valid", _files("/etc/kubernetes/pki/apiserver.crt", -DAY_NS, DAY_NS)),
        Case("lapsed", _files("/etc/kubernetes/pki/apiserver.crt", -DAY_NS, -HOUR_NS), ("expired 1 h ago",)),
        Case(
            "of k3s", _files("/var/lib/rancher/k3s/server/tls/x.crt", HOUR_NS, DAY_NS), ("not valid for another 1 h",)
        ),
        Case("a kubelet's", _files("/var/lib/kubelet/pki/kubelet.crt", -DAY_NS, -HOUR_NS)),
        Case("a kubelet's kubeconfig", _files("/etc/kubernetes/kubelet.conf", -DAY_NS, -HOUR_NS)),
    ),
    "CS-KUBELET": (
        Case("valid", _files("/var/lib/kubelet/pki/kubelet-client-current.pem", -DAY_NS, DAY_NS)),
        Case("client", _files("/var/lib/kubelet/pki/kubelet-client-current.pem", -DAY_NS, -HOUR_NS), ("expired",)),
        Case("serving", _files("/var/lib/kubelet/pki/kubelet.crt", -DAY_NS, -HOUR_NS), ("expired",)),
        Case("agent of k3s", _files("/var/lib/rancher/k3s/agent/client-kubelet.crt", HOUR_NS, DAY_NS), ("not valid",)),
        Case("renewed serving", _files("/var/lib/kubelet/pki/kubelet-server-current.pem", -9, -3), ("expired",)),
        Case("control plane's", _files("/etc/kubernetes/pki/apiserver.crt", -DAY_NS, -HOUR_NS)),
    ),
    "CS-CSR": (
        Case("none", {}),
        Case("of another signer", {"signing_requests": (request(signer="example.com/x"),)}),
        Case("a kubelet's", {"signing_requests": (request(),)}, ("kubelet-serving",)),
    ),
    "CS-CNI": (
        Case("nothing failed", {}),
        Case("refused", {"pods": (STARTING, PLUGIN), "events": (REFUSED,)}, ("1 pods on node-1 get no network",)),
        Case("no plugin known", {"pods": (STARTING,), "events": (REFUSED,)}, ("Unauthorized",)),
        Case("it runs by now", {"pods": (pod("web-0", "shop"), PLUGIN), "events": (REFUSED,)}),
        Case("it is gone", {"pods": (PLUGIN,), "events": (REFUSED,)}),
        Case(
            "another reason",
            {
                "pods": (STARTING, PLUGIN),
                "events": (KubeHappening(STARTING.ref, "FailedCreatePodSandBox", "no IP", NOW),),
            },
        ),
    ),
    "CS-CEPH": (
        Case("healthy", {"ceph": (Ceph(ROOK, "HEALTH_OK"),)}),
        Case("two monitors", {"ceph": (Ceph(ROOK, "HEALTH_WARN", {"MON_CLOCK_SKEW": SKEW}),)}, ("mon.b", "mon.c")),
        Case("no monitor named", {"ceph": (Ceph(ROOK, "", {"MON_CLOCK_SKEW": "?"}),)}, ("monitors' clocks",)),
        Case("what follows", {"ceph": (Ceph(ROOK, "", {"OSD_DOWN": "1 osds down"}),)}, ("1 osds down",)),
        Case("another warning", {"ceph": (Ceph(ROOK, "", {"POOL_NO_REDUNDANCY": "?"}),)}),
    ),
    "CS-PVC": (
        Case("none waits", {"storage_classes": (RBD,)}),
        Case("waits for an hour", _claim(), ("Pending for 1 h: rook-ceph.rbd.csi.ceph.com does not make its volume",)),
        Case("with the provisioner's words", {**_claim(), "events": (BUSY,)}, ("an operation already exists",)),
        Case("is a moment old", _claim(age_ns=30 * SECOND_NS)),
        Case("is of the future", _claim(age_ns=-HOUR_NS), ("Pending for 1 h",)),
        Case("of another driver", _claim(StorageClass(RBD.ref, "ebs.csi.aws.com"))),
        Case("of a driver that ends alike", _claim(StorageClass(RBD.ref, "notrbd.csi.ceph.com"))),
        Case("of plain ceph-csi", _claim(StorageClass(RBD.ref, "cephfs.csi.ceph.com")), ("cephfs.csi.ceph.com",)),
        Case("waits for its pod", _claim(StorageClass(RBD.ref, RBD.provisioner, waits=True))),
        Case("its pod is there", _claim(StorageClass(RBD.ref, RBD.provisioner, waits=True), placed=True), ("Pending",)),
    ),
    "CS-CERTIFICATE": (
        Case("due tomorrow", {"certificates": (Renewal(RENEWAL.ref, "s", NOW + DAY_NS, NOW + 2 * DAY_NS),)}),
        Case("overdue", {"certificates": (RENEWAL,)}, ("due 1 h ago",)),
        Case("lapsed", {"certificates": (Renewal(RENEWAL.ref, "s", None, NOW - HOUR_NS),)}, ("it has expired",)),
        Case("never issued", {"certificates": (Renewal(RENEWAL.ref, "s"),)}),
    ),
    "CS-SECRET": (
        Case("valid", {}),
        Case(
            "lapsed",
            {"secrets": (TlsSecret(KubeRef("Secret", "webhook-tls", "cert-manager"), LAPSED, "old"),)},
            ("expired 1 d ago",),
        ),
        Case(
            "kept by cert-manager",
            {
                "secrets": (TlsSecret(KubeRef("Secret", "webhook-tls", "cert-manager"), LAPSED, "old"),),
                "certificates": (Renewal(KubeRef("Certificate", "w", "cert-manager"), "webhook-tls"),),
            },
        ),
        Case("nobody's", {"secrets": (TlsSecret(KubeRef("Secret", "other", "cert-manager"), LAPSED, "old"),)}),
    ),
    "CS-CA": (
        Case("no bundle", {}),
        Case("valid", {"webhooks": (Endpoint(CONFIG, "w", SERVICE, authorities=(LAPSED, certificate())),)}),
        Case("lapsed", {"webhooks": (Endpoint(CONFIG, "w", SERVICE, authorities=(LAPSED,)),)}, ("expired 1 d ago",)),
    ),
    "CS-SERVING": (
        Case("valid", {}),
        Case("lapsed", {"served": (Served(SERVICE, 443, LAPSED, "old"),)}, ("it serves expired 1 d ago",)),
        Case("early", {"served": (Served(SERVICE, 443, EARLY, "new"),)}, ("is not valid for another 1 min",)),
        Case("called", DEAD, ("x509: certificate has expired",)),
        Case("both", {**DEAD, "served": (Served(SERVICE, 443, LAPSED, "old"),)}, ("expired 1 d ago",)),
        Case("not there", {"probes": (Probe(CONFIG, "webhook.cert-manager.io", "connection refused"),)}),
        Case(
            "by URL",
            {"webhooks": (Endpoint(CONFIG, "webhook.cert-manager.io", url="https://example.com"),), **DEAD},
            ("x509",),
        ),
    ),
    "CS-STALE": (
        Case("the same", {}),
        Case(
            "older",
            {"served": (Served(SERVICE, 443, certificate(-2 * DAY_NS), "old"),)},
            ("it serves an older certificate than cert-manager/secret/webhook-tls",),
        ),
        Case("lapsed", {"served": (Served(SERVICE, 443, LAPSED, "old"),)}),
        Case("of another name", {"served": (Served(SERVICE, 443, certificate(-2 * DAY_NS, name="y"), "old"),)}),
        Case("newer", {"served": (Served(SERVICE, 443, certificate(-HOUR_NS), "new"),)}),
    ),
    "CS-APISERVICE": (
        Case("available", {"apiservices": (API,)}),
        Case(
            "not available",
            {
                "apiservices": (
                    Endpoint(API.ref, API.name, SERVICE, available=False, message="FailedDiscoveryCheck: x"),
                )
            },
            ("FailedDiscoveryCheck",),
        ),
        Case(
            "no pods",
            {"pods": (), "apiservices": (Endpoint(API.ref, API.name, SERVICE, available=False),)},
            ("no pod behind it",),
        ),
    ),
    "CS-TOKEN": (
        Case("valid", {"tokens": (PodToken(UID, NOW - HOUR_NS, NOW - HOUR_NS, NOW + HOUR_NS),)}),
        Case("within the leeway", {"tokens": (PodToken(UID, NOW + 50 * SECOND_NS, None, NOW + HOUR_NS),)}),
        Case("early", {"tokens": (PodToken(UID, NOW + HOUR_NS, NOW + HOUR_NS, NOW + DAY_NS),)}, ("in 59 min",)),
        Case("lapsed", {"tokens": (PodToken(UID, None, None, NOW - HOUR_NS),)}, ("expired 1 h ago",)),
        Case("of a pod that is gone", {"tokens": (PodToken("another", None, None, NOW - HOUR_NS),)}),
    ),
    "CS-STUCK": (
        Case("running", {}),
        Case(
            "reserved",
            {"pods": (pod(waiting=(Waiting("web", "CreateContainerError", RESERVED),)),)},
            ("an older one holds its name",),
        ),
        Case("another error", {"pods": (pod(waiting=(Waiting("web", "CreateContainerError", "no such file"),)),)}),
        Case("from the future", {"pods": (pod(started_ns=NOW + HOUR_NS),)}, ("1 h in the future",)),
        Case("on its way out", {"pods": (pod(started_ns=NOW + HOUR_NS, deleting=True),)}),
    ),
    "CS-CRON": (
        Case("ran", {"cron_jobs": (CronJob(KubeRef("CronJob", "x", "shop"), NOW - HOUR_NS),)}),
        Case("never ran", {"cron_jobs": (CronJob(KubeRef("CronJob", "x", "shop")),)}),
        Case("ahead", {"cron_jobs": (CronJob(KubeRef("CronJob", "x", "shop"), NOW + HOUR_NS),)}, ("for another 1 h",)),
        Case("suspended", {"cron_jobs": (CronJob(KubeRef("CronJob", "x", "shop"), NOW + HOUR_NS, suspended=True),)}),
    ),
    "CS-JOB": (
        Case("in time", _job(MINUTE_NS, HOUR_NS, None)),
        Case("too slow", _job(2 * HOUR_NS, HOUR_NS, NOW - HOUR_NS)),
        Case("late, and no step is known", _job(2 * HOUR_NS, HOUR_NS, None)),
        Case(
            "ended by a step",
            _job(DAY_NS, HOUR_NS, NOW - MINUTE_NS, _step(2 * MINUTE_NS, 23 * HOUR_NS + 55 * MINUTE_NS)),
            ("was ended by its deadline of 1 h: of the 23 h 59 min since it began, a node missed 23 h 55 min",),
        ),
        Case("about to be", _job(DAY_NS, HOUR_NS, None, _step(MINUTE_NS, DAY_NS - MINUTE_NS)), ("is about to be",)),
        Case("a step before it", _job(2 * HOUR_NS, HOUR_NS, None, _step(3 * HOUR_NS, DAY_NS))),
        Case("a step after its end", _job(DAY_NS, HOUR_NS, NOW - 22 * HOUR_NS, _step(HOUR_NS, 20 * HOUR_NS))),
        Case(
            "ended while its node was paused",
            _job(5 * HOUR_NS, HOUR_NS, NOW - 4 * HOUR_NS, _step(HOUR_NS, 3 * HOUR_NS + 50 * MINUTE_NS)),
            ("was ended",),
        ),
        Case(
            "too slow, and reverted later",
            _job(
                5 * HOUR_NS,
                HOUR_NS,
                NOW - 4 * HOUR_NS,
                replace(_step(HOUR_NS, 3 * HOUR_NS + 50 * MINUTE_NS), reverted=True),
            ),
        ),
        Case("a step back", _job(2 * HOUR_NS, HOUR_NS, None, _step(HOUR_NS, -2 * HOUR_NS))),
        Case("too slow also without the step", _job(DAY_NS, HOUR_NS, None, _step(HOUR_NS, HOUR_NS))),
        Case(
            "two nodes missed the same, so it had no time left",
            _job(3 * HOUR_NS, 90 * MINUTE_NS, None, _step(HOUR_NS, HOUR_NS), _step(HOUR_NS, HOUR_NS, "node-2")),
        ),
        Case(
            "the second revert skips what the first one did",
            _job(3 * HOUR_NS, HOUR_NS, None, _step(2 * HOUR_NS, HOUR_NS), _step(HOUR_NS, 2 * HOUR_NS)),
        ),
        Case(
            "paused twice",
            _job(3 * HOUR_NS, 90 * MINUTE_NS, None, _step(2 * HOUR_NS, HOUR_NS), _step(0, HOUR_NS)),
            ("missed 2 h",),
        ),
    ),
}


@pytest.mark.parametrize(("code", "case"), [(code, case) for code, cases in CASES.items() for case in cases])
def test_a_check_finds_what_is_broken_and_nothing_else(code: str, case: Case) -> None:
    found = list(BY_CODE[code].find(seen(**case.fields)))
    assert len(found) == len(case.found)
    for one, said in zip(found, case.found, strict=True):
        assert said in f"{one.text} {one.evidence}"
        assert one.code == code
        assert one.cure


EVIL = "a;b $(c) `d` 'e "


def _renamed(found: Any) -> Any:
    """Return records with names of objects and of nodes that mean something to a shell."""
    if isinstance(found, KubeRef):
        return KubeRef(found.kind, f"{EVIL}{found.name}", f"{EVIL}{found.namespace}" if found.namespace else "")
    if isinstance(found, tuple):
        return tuple(map(_renamed, found))
    if not is_dataclass(found) or isinstance(found, type):
        return found
    values = {one.name: _renamed(getattr(found, one.name)) for one in fields(found)}
    named = "name" if isinstance(found, KubeNode) else "node"
    return type(found)(**(values | ({named: f"{EVIL}{values[named]}"} if values.get(named) else {})))


def _commands(code: str, there: Seen) -> list[int]:
    """Return of how many words each command is, as cures that are commands begin."""
    cures = [one.cure for one in BY_CODE[code].find(there)]
    return [
        _words(one)
        for one in cures
        if one.startswith(("kubectl ", "clockstep ", "cmctl ", "systemctl restart kubelet"))
    ]


def _words(command: str) -> int:
    """Return how many words and signs a shell takes a command for."""
    parsed = shlex(command, posix=True, punctuation_chars=True)
    parsed.whitespace_split = True
    return len(list(parsed))


@pytest.mark.parametrize(("code", "case"), [(code, case) for code, cases in CASES.items() for case in cases])
def test_a_cure_is_the_same_command_whatever_its_objects_are_called(code: str, case: Case) -> None:
    plain = seen(**case.fields)
    assert _commands(code, _renamed(plain)) == _commands(code, plain)


def test_every_check_has_cases_of_both_kinds() -> None:
    assert list(CASES) == [check.code for check in CHECKS] == list(dict.fromkeys(check.code for check in CHECKS))
    assert [code for code, cases in CASES.items() if not any(case.found for case in cases)] == []
    assert [code for code, cases in CASES.items() if all(case.found for case in cases)] == []


def test_every_remedy_is_of_a_check() -> None:
    assert {remedy.code for remedy in REMEDIES} <= set(BY_CODE)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
@pytest.mark.parametrize("absent", [False, True])
def test_a_check_whose_input_is_missing_says_so(check: Any, absent: bool) -> None:
    missing = Unread("forbidden to list it", absent=absent)
    (looked,) = look([check], seen(unread={check.needs[0]: missing}))
    assert (looked.state, looked.why) == (State.ABSENT if absent else State.NOT_LOOKED, "forbidden to list it")


def test_what_could_not_be_read_counts_before_what_the_cluster_does_not_have() -> None:
    unread = {Input.CEPH: Unread("no such kind", absent=True), Input.PODS: Unread("forbidden")}
    (looked,) = look([BY_CODE["CS-CEPH"]], seen(unread=unread))
    assert (looked.state, looked.why) == (State.NOT_LOOKED, "forbidden")


def test_one_way_to_see_what_is_served_is_enough() -> None:
    check, served = BY_CODE["CS-SERVING"], Unread("no node")
    (by_node,) = look([check], seen(unread={Input.PROBES: Unread("forbidden")}))
    (by_none,) = look([check], seen(unread={Input.PROBES: Unread("forbidden"), Input.SERVED: served}))
    assert (by_node.state, by_none.state) == (State.CLEAN, State.NOT_LOOKED)


def test_a_webhook_that_was_neither_dialled_nor_called_is_not_clean() -> None:
    check = BY_CODE["CS-SERVING"]
    skipped = Probe(CONFIG, "webhook.cert-manager.io", skipped="it has side effects")
    (looked,) = look([check], seen(served=(), probes=(skipped,)))
    assert (looked.state, looked.why) == (State.NOT_LOOKED, "webhook.cert-manager.io: it has side effects")
    (answered,) = look([check], seen(served=(), probes=(Probe(CONFIG, "webhook.cert-manager.io"),)))
    assert answered.state is State.CLEAN


def test_a_call_that_fails_otherwise_says_nothing_of_the_certificate() -> None:
    away = Probe(CONFIG, "webhook.cert-manager.io", trouble="read: connection reset by peer")
    (looked,) = look([BY_CODE["CS-SERVING"]], seen(served=(), probes=(away,)))
    assert (looked.state, looked.broken) == (State.NOT_LOOKED, ())
    assert looked.why == "webhook.cert-manager.io: read: connection reset by peer"
    (shown,) = look([BY_CODE["CS-SERVING"]], seen(probes=(away,)))
    assert shown.state is State.CLEAN


SHOP = KubeRef("Service", "webhook", "shop")
TLS = TlsSecret(KubeRef("Secret", "webhook-tls", "shop"), LAPSED, "same")


@pytest.mark.parametrize(
    ("changes", "lasting"),
    [
        ({"pods": (pod(namespace="shop", secrets=(), labels={**LABELS, "part-of": "cert-manager"}),)}, False),
        ({"pods": (pod(namespace="shop"),)}, False),  # it mounts a TLS Secret
        ({"pods": (pod(namespace="shop", secrets=()),)}, True),
        ({"pods": (pod(namespace="shop", secrets=("authority",)),)}, True),
        ({"pods": (pod(namespace="shop", secrets=("it",)),), "unread": {Input.SECRETS: Unread("no")}}, False),
        ({"pods": (pod(namespace="shop", secrets=()), pod("b", "shop"))}, False),
        ({"pods": ()}, False),  # nobody knows
        ({"pods": (pod(namespace="shop", secrets=()),), "served": (Served(SHOP, 443, EARLY, "x"),)}, False),
    ],
)
def test_an_expired_certificate_is_waited_for_only_where_another_may_take_its_place(
    changes: dict[str, Any], lasting: bool
) -> None:
    shop = seen(**{"secrets": (TLS,), "services": (KubeService(SHOP, {"app": "webhook"}),), **changes})
    served = changes.get("served", (Served(SHOP, 443, LAPSED, "same"),))
    (looked,) = look([BY_CODE["CS-SERVING"]], replace(shop, served=served))
    assert [one.lasting for one in looked.broken] == [lasting]


def test_a_webhook_that_only_the_api_server_has_called_is_lasting_if_it_says_that_the_certificate_has_expired() -> None:
    services, pods = (KubeService(SHOP, {"app": "webhook"}),), (pod(namespace="shop", secrets=()),)
    webhooks = (Endpoint(CONFIG, "gate.shop", SHOP),)
    for ended, lasting in (": current time 2 is after 1", True), (": current time 1 is before 2", False):
        called = Probe(CONFIG, "gate.shop", trouble=f"x509: {serving.REFUSED[0]}{ended}")
        there = seen(services=services, pods=pods, webhooks=webhooks, probes=(called,), served=())
        (looked,) = look([BY_CODE["CS-SERVING"]], there)
        assert [one.lasting for one in looked.broken] == [lasting]


def test_nodes_whose_files_could_not_be_read_are_not_clean() -> None:
    (looked,) = look([BY_CODE["CS-KUBELET"]], seen(unread_files={"node-2": "no answer"}))
    assert (looked.state, looked.why) == (State.NOT_LOOKED, "node-2: no answer")


def test_a_check_does_not_look_while_one_before_it_finds_something() -> None:
    checks = [BY_CODE["CS-CLOCK"], BY_CODE["CS-CRON"]]
    ahead = node(renewed_ns=NOW + HOUR_NS)
    cron = (CronJob(KubeRef("CronJob", "x", "shop"), NOW + 30 * MINUTE_NS),)
    clock, jobs = look(checks, seen(nodes=(ahead,), cron_jobs=cron))
    assert (clock.state, jobs.state) == (State.BROKEN, State.NOT_LOOKED)
    assert jobs.why.startswith("CS-CLOCK comes first: ")
    assert [one.state for one in look(checks, seen(cron_jobs=cron))] == [State.CLEAN, State.BROKEN]


def test_every_check_has_its_section_and_there_is_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs/aftermath.md").read_text()
    assert re.findall(r"^## (CS-[A-Z-]+)$", page, re.MULTILINE) == [check.code for check in CHECKS]


@pytest.mark.parametrize("code", ["CS-SERVING", "CS-SECRET", "CS-CA"])
def test_what_is_said_of_apiservices_is_said_only_if_they_were_read(code: str) -> None:
    forbidden = seen(unread={Input.APISERVICES: Unread("forbidden to list apiservices")})
    (one,) = look([BY_CODE[code]], forbidden)
    assert (one.state, one.why) == (State.NOT_LOOKED, "forbidden to list apiservices")


def test_an_apiservice_that_is_away_and_was_not_dialled_is_a_gap() -> None:
    other = KubeRef("Service", "metrics", "monitoring")
    away = Endpoint(API.ref, API.name, other, available=False)
    (one,) = look([BY_CODE["CS-SERVING"]], seen(apiservices=(away,)))
    assert (one.state, one.why) == (State.NOT_LOOKED, f"{API.name}: neither dialled from a node nor called")
    (one,) = look([BY_CODE["CS-SERVING"]], seen(apiservices=(API,)))
    assert one.state is State.CLEAN


def test_what_is_dialled_from_a_node_is_known_by_webhooks_apiservices_and_nodes() -> None:
    assert {Input.WEBHOOKS, Input.APISERVICES, Input.NODES} <= inputs([BY_CODE["CS-STALE"]])
    for code in ("CS-SERVING", "CS-KUBELET", "CS-CONTROL-PLANE", "CS-TOKEN"):
        assert Input.NODES in inputs([BY_CODE[code]])


def test_a_service_that_showed_nothing_may_show_an_older_certificate() -> None:
    (one,) = look([BY_CODE["CS-STALE"]], seen(served=(Served(SERVICE, 443, trouble="192.0.2.7:443 is silent"),)))
    assert (one.state, one.why) == (State.NOT_LOOKED, "cert-manager/service/webhook: 192.0.2.7:443 is silent")


@pytest.mark.parametrize("code", ["CS-SERVING", "CS-SECRET", "CS-CA", "CS-STALE"])
def test_a_cluster_without_an_aggregator_is_looked_at_all_the_same(code: str) -> None:
    without = seen(unread={Input.APISERVICES: Unread("the cluster has no apiservices", absent=True)})
    (one,) = look([BY_CODE[code]], without)
    assert one.state is State.CLEAN
