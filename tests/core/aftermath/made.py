"""What checks of the aftermath are tested on: objects of a small cluster, each in order unless it is said how not."""

from typing import Any

from clockstep.model import Certificate, KubeCondition, KubeNode, KubeRef
from clockstep.model.damage import Endpoint, KubePod, KubeService, KubeWorkload, Seen, Served, SigningRequest, TlsSecret
from clockstep.units import DAY_NS, MINUTE_NS, SECOND_NS

NOW = 1_790_000_000 * SECOND_NS
SERVICE = KubeRef("Service", "webhook", "cert-manager")
DEPLOYMENT = KubeRef("Deployment", "webhook", "cert-manager")
CONFIG = KubeRef("ValidatingWebhookConfiguration", "cert-manager-webhook")
LABELS = {"app": "webhook", "pod-template-hash": "5f4d"}
NODE = "node-1"


def certificate(
    begin_ns: int = -DAY_NS, end_ns: int | None = DAY_NS, path: str = "served", name: str = "x"
) -> Certificate:
    """A certificate that is valid between two moments, from now on."""
    return Certificate(path, name, NOW + begin_ns, None if end_ns is None else NOW + end_ns)


LAPSED = certificate(-2 * DAY_NS, -DAY_NS)
EARLY = certificate(MINUTE_NS, DAY_NS)


def node(**changes: Any) -> KubeNode:
    """A Node whose lease is 3 s old."""
    values: dict[str, Any] = {
        "ready": KubeCondition("True"),
        "renewed_ns": NOW - 3 * SECOND_NS,
        "lease_ns": 40 * SECOND_NS,
        "addresses": ("192.0.2.1", "node-1"),
    }
    return KubeNode(NODE, "uid", "", **{**values, **changes})


def pod(name: str = "webhook-5f4d-abcde", namespace: str = "cert-manager", **changes: Any) -> KubePod:
    """A pod of a Deployment's ReplicaSet, that runs for a day."""
    values: dict[str, Any] = {
        "uid": f"uid-{name}",
        "node": NODE,
        "labels": LABELS,
        "owner": KubeRef("ReplicaSet", "webhook-5f4d", namespace),
        "ready": True,
        "created_ns": NOW - DAY_NS,
        "started_ns": NOW - DAY_NS,
        "secrets": ("webhook-tls",),
    }
    return KubePod(KubeRef("Pod", name, namespace), **{**values, **changes})


def seen(**fields: Any) -> Seen:
    """A cluster with a webhook behind a Service, of one Deployment."""
    values: dict[str, Any] = {
        "nodes": (node(),),
        "pods": (pod(),),
        "workloads": (KubeWorkload(DEPLOYMENT, uid="uid-webhook"),),
        "services": (KubeService(SERVICE, {"app": "webhook"}, "10.96.0.7"),),
        "webhooks": (Endpoint(CONFIG, "webhook.cert-manager.io", SERVICE),),
        "served": (Served(SERVICE, 443, certificate(), "same"),),
        "secrets": (TlsSecret(KubeRef("Secret", "webhook-tls", "cert-manager"), certificate(), "same"),),
        "machines": frozenset({NODE}),
    }
    return Seen(NOW, **{**values, **fields})


def request(**changes: Any) -> SigningRequest:
    """A request for a serving certificate that fits its Node in everything."""
    values: dict[str, Any] = {
        "ref": KubeRef("CertificateSigningRequest", "csr-1"),
        "signer": "kubernetes.io/kubelet-serving",
        "username": "system:node:node-1",
        "groups": ("system:nodes", "system:authenticated"),
        "usages": ("digital signature", "server auth"),
        "common_name": "system:node:node-1",
        "organizations": ("system:nodes",),
        "names": ("node-1",),
        "addresses": ("192.0.2.1",),
        "signed": True,
        "uid": "uid-csr",
    }
    return SigningRequest(**{**values, **changes})
