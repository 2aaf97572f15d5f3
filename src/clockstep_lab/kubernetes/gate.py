"""The gate: a webhook and an aggregated API of the lab's cluster, in a pod, with a TLS certificate of its own.

Its certificate lives in its process, as that of cert-manager's webhook does (guest/kubernetes, gate.py). The API server
runs outside the guests, so its Service is a name for this machine's loopback, where QEMU leads a port into node-1.
"""

import base64
import time
from pathlib import Path

from clockstep_lab.tls import Authority

from .api import Api, ApiError, Object
from .oci import IMAGE

NAME, NODE, PORT = "gate", "node-1", 8443
GROUP, VERSION = "lab.test", "v1"
TEN_YEARS_S = 10 * 365 * 24 * 3600
PROGRAM = "/usr/lib/clockstep-lab/gate.py"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
GATED = {"gate": "closed"}
"""The labels of a Deployment that the webhook is asked about."""


def objects(namespace: str, authority: Authority) -> list[tuple[str, Object]]:
    """What is to be created, each with the path of its collection."""
    bundle = _encoded(authority.certificate.file)
    keys = {"ca.pem": bundle, "ca.key": _encoded(authority.certificate.key)}
    service = {"type": "ExternalName", "externalName": "localhost", "selector": {"app": NAME}}
    called = {"namespace": namespace, "name": NAME}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    webhook = {
        "name": f"{NAME}.{GROUP}",
        "clientConfig": {"service": called, "caBundle": bundle},
        "rules": [rule],
        "objectSelector": {"matchLabels": GATED},
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "admissionReviewVersions": ["v1"],
    }
    api = {"group": GROUP, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 1}
    return [
        (
            f"/api/v1/namespaces/{namespace}/secrets",
            {"metadata": {"name": NAME}, "data": keys, "stringData": _life(TEN_YEARS_S)},
        ),
        (f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": NAME}, "spec": service}),
        (f"/apis/apps/v1/namespaces/{namespace}/deployments", _deployment(namespace)),
        (WEBHOOKS, {"metadata": {"name": NAME}, "webhooks": [webhook]}),
        (APISERVICES, {"metadata": {"name": _api()}, "spec": {**api, "service": called, "caBundle": bundle}}),
    ]


def lead_to(api: Api, port: int) -> None:
    """Have the API server call the gate at this port of this machine. Raises ApiError and OSError."""
    webhook = api.get(f"{WEBHOOKS}/{NAME}")["webhooks"][0]
    webhook["clientConfig"]["service"]["port"] = port
    api.patch(f"{WEBHOOKS}/{NAME}", {"webhooks": [webhook]})
    api.patch(f"{APISERVICES}/{_api()}", {"spec": {"service": {"port": port}}})


def has_certificate_of(api: Api, namespace: str, life_s: int) -> None:
    """Start the gate anew, with a certificate of so many seconds, which it keeps. Raises ApiError and OSError."""
    later_ones_last(api, namespace, life_s)
    metadata = {"annotations": {f"{GROUP}/restarted": f"{time.time_ns()}"}}
    body = {"spec": {"template": {"metadata": metadata}}}
    api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}", body)


def later_ones_last(api: Api, namespace: str, life_s: int) -> None:
    """Have a gate that is started from now on make a certificate of so many seconds. Raises ApiError and OSError."""
    api.patch(f"/api/v1/namespaces/{namespace}/secrets/{NAME}", {"stringData": _life(life_s)})


def is_rolled_out(api: Api, namespace: str) -> bool:
    """Whether the gate runs as it was told last. Raises ApiError and OSError."""
    found = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")
    status = found["status"]
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return bool(current) and status.get("updatedReplicas") == status.get("readyReplicas") == 1


def trouble(api: Api, namespace: str) -> str:
    """What the API server says when it is asked for what passes the gate; nothing when that works. Raises OSError."""
    if refusal := refused(api, namespace):
        return refusal
    try:
        api.get(f"/apis/{GROUP}/{VERSION}")
    except ApiError as error:  # it looks every 30 s whether the API is there
        return str(error)
    return ""


def refused(api: Api, namespace: str) -> str:
    """What the API server says to a Deployment that the webhook has to admit; nothing when it does. Raises OSError."""
    try:
        api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All", gated("probe"))
    except ApiError as error:
        return str(error)
    return ""


def gated(name: str) -> Object:
    """A Deployment, of no pods, that is created only if the gate says so."""
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": IMAGE}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": name, "labels": GATED}, "spec": spec}


def _deployment(namespace: str) -> Object:
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/usr/bin/python3", PROGRAM, "/etc/gate", f"{NAME}.{namespace}.svc"],
        "volumeMounts": [
            {"name": "authority", "mountPath": "/etc/gate"},
            {"name": "usr", "mountPath": "/usr", "readOnly": True},
        ],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": NODE},
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [
            {"name": "authority", "secret": {"secretName": NAME}},
            {"name": "usr", "hostPath": {"path": "/usr"}},
        ],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"}, "template": template}
    return {"metadata": {"name": NAME}, "spec": spec}


def _life(seconds: int) -> dict[str, str]:
    return {"life": str(seconds)}


def _api() -> str:
    return f"{VERSION}.{GROUP}"


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
