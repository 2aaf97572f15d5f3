"""What cures do to a cluster: each is one patch, one eviction or one approval, of the object as it was looked at."""

from collections.abc import Mapping
from typing import Any

from lightkube.types import PatchType

from clockstep.errors import KubernetesError
from clockstep.kubernetes.damage import RESTARTED
from clockstep.kubernetes.requests import Requests
from clockstep.kubernetes.resources import Approval, Eviction, namespaced
from clockstep.kubernetes.times import text_of
from clockstep.model import Act, Deed

KUBECTL = "kubectl.kubernetes.io/restartedAt"
"""What kubectl rollout restart writes: people look for it."""
CERTIFICATE = namespaced("cert-manager.io", "v1", "Certificate")
REASON = "ClockstepAftermath"
CONDITION = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered"}
"""As `cmctl renew` writes it (cmd/ctl/pkg/renew)."""


def perform(act: Act, at_ns: int, requests: Requests) -> None:
    """Do it; raises what lightkube does. A change of the object since it was looked at is a conflict, 409."""
    match act.deed:
        case Deed.RESTART:
            change = {"metadata": {"uid": act.uid}, **_restarted(at_ns)}
            requests.change(namespaced("apps", "v1", act.on.kind), act.on.name, act.on.namespace, change)
        case Deed.EVICT:
            requests.create_below(_eviction(act), act.on.name, act.on.namespace)
        case Deed.RENEW:
            _renew(act, at_ns, requests)
        case Deed.APPROVE:
            _approve(act, requests)


def _eviction(act: Act) -> Eviction:
    body: dict[str, Any] = {
        "metadata": {"name": act.on.name, "namespace": act.on.namespace},
        "deleteOptions": {"preconditions": {"uid": act.uid}},
    }
    return Eviction(**body)


def _restarted(at_ns: int) -> Mapping[str, Any]:
    annotations = {KUBECTL: text_of(at_ns), RESTARTED: str(at_ns)}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def _renew(act: Act, at_ns: int, requests: Requests) -> None:
    """Set the condition Issuing, of the object as it is now: conditions of custom resources are one list."""
    found = requests.get(CERTIFICATE, act.on.name, act.on.namespace)
    kept = [one for one in (found.get("status") or {}).get("conditions") or [] if one.get("type") != CONDITION["type"]]
    made = {**CONDITION, "message": REASON, "lastTransitionTime": text_of(at_ns)}
    change = {
        "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
        "status": {"conditions": [*kept, made]},
    }
    requests.change(CERTIFICATE.Status, act.on.name, act.on.namespace, change)


def _approve(act: Act, requests: Requests) -> None:
    """Approve a request that is the one that was looked at: its spec never changes, its name may be another's now."""
    condition = {"type": "Approved", "status": "True", "reason": REASON, "message": "it fits its Node"}
    change = {"metadata": {"uid": act.uid}, "status": {"conditions": [condition]}}
    requests.change(Approval, act.on.name, "", change, PatchType.STRATEGIC)


TOO_MANY = 429


def budget(error: KubernetesError) -> bool:
    """Whether an eviction was refused because of a PodDisruptionBudget."""
    return error.status == TOO_MANY
