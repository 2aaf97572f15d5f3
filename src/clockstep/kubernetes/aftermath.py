"""What `aftermath` asks of an API server and does there, over the connection that everything else uses."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from clockstep.errors import KubernetesError, cut
from clockstep.kubernetes.api import client_needed
from clockstep.kubernetes.reports import COMPONENT, CONFLICT, LONGEST_NAME
from clockstep.kubernetes.times import text_of
from clockstep.model import Act, KubeAccess, KubeRef
from clockstep.model.damage import Endpoint, Input, Probe, Unread

if TYPE_CHECKING:
    from clockstep.kubernetes.requests import Requests

GROUPS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Certificate": "cert-manager.io/v1",
    "CertificateSigningRequest": "certificates.k8s.io/v1",
}
REPAIRED = "AftermathRepaired"
WITHIN_S = 15.0
"""How long one kind may take to be listed, or one act to be answered."""


class AftermathApi:
    """A Kubernetes cluster by its API server, with the roles KubeDamage and KubeRepairs."""

    def __init__(self, access: KubeAccess, environ: Mapping[str, str]) -> None:
        with client_needed():
            from clockstep.kubernetes.client import Connection
        self._connection = Connection(access, environ, WITHIN_S)

    def gather(self, wanted: Collection[Input]) -> tuple[Mapping[str, tuple[Any, ...]], Mapping[Input, Unread]]:
        """Return what was read, by the names of the fields of `Seen`, and why some was not."""
        from clockstep.kubernetes.gather import gather

        found = gather(self._connection.ask, wanted)
        return found.fields, found.unread

    def probe(self, webhooks: Sequence[Endpoint]) -> tuple[Probe, ...]:
        """Call webhooks through the API server, by requests that change nothing."""
        from clockstep.kubernetes.probes import probes

        return probes(self._connection.ask, webhooks)

    def perform(self, act: Act, at_ns: int) -> str:
        """Do something to an object; return why it was skipped, or nothing if it was done."""
        from clockstep.kubernetes.repairs import budget, perform

        try:
            self._connection.ask(f"{act.deed.value} {act.on}", partial(perform, act, at_ns))
        except KubernetesError as error:
            if budget(error):
                return f"a PodDisruptionBudget forbids it now: {error.message}"
            if error.status == CONFLICT:
                return "it has changed since it was looked at"
            raise
        return ""

    def note(self, act: Act, text: str, at_ns: int) -> None:
        """Record an Event on the object of an act."""
        event = _event(act.on, act.uid, text, at_ns)
        namespace = act.on.namespace or "default"
        self._connection.ask(f"create events in {namespace}", partial(_create, event, namespace))


def _create(event: dict[str, Any], namespace: str, requests: "Requests") -> None:
    requests.create_event_in(event, namespace)


def _event(on: KubeRef, uid: str, text: str, at_ns: int) -> dict[str, Any]:
    unique = f".{REPAIRED.lower()}.{at_ns:x}"
    about = {"kind": on.kind, "name": on.name, "namespace": on.namespace, "apiVersion": GROUPS.get(on.kind, "v1")}
    return {
        "metadata": {"name": f"{on.name[: LONGEST_NAME - len(unique)].rstrip('-.')}{unique}"},
        "involvedObject": {**about, **({"uid": uid} if uid else {})},
        "type": "Normal",
        "reason": REPAIRED,
        "message": cut(text),
        "source": {"component": COMPONENT},
        "firstTimestamp": text_of(at_ns),
        "lastTimestamp": text_of(at_ns),
        "count": 1,
    }
