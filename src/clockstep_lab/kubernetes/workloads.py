"""What runs on the lab's cluster: on each node a pod that stamps the time and holds a token of ten minutes; a gate."""

from http import HTTPStatus

from clockstep_lab.tls import Authority

from . import gate
from .api import Api, ApiError, Object
from .oci import IMAGE

NAMESPACE, STAMPER = "shop", "stamper"
TOKEN_S = 600
"""The shortest that a pod's token may live (TokenRequest)."""
TOKENS = "/var/run/secrets/tokens"
STAMP = "trap 'exit 0' TERM; while :; do date +%s >/tmp/stamp; sleep 1 & wait; done"


def apply(api: Api, authority: Authority) -> None:
    """Create the workloads, as far as they are not there; this authority makes the gate's certificate.

    Raises ApiError and OSError.
    """
    _create(api, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    _create(api, f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets", _stampers())
    for path, body in gate.objects(NAMESPACE, authority):
        _create(api, path, body)


def _create(api: Api, path: str, body: Object) -> None:
    try:
        api.create(path, body)
    except ApiError as error:
        if error.code != HTTPStatus.CONFLICT:
            raise


def _stampers() -> Object:
    labels = {"app": STAMPER}
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}}
    container = {
        "name": STAMPER,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/busybox/sh", "-c", STAMP],
        "volumeMounts": [{"name": "token", "mountPath": TOKENS}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [{"name": "token", "projected": {"sources": [token]}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"metadata": {"name": STAMPER}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
