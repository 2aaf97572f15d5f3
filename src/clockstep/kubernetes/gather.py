"""What the checks of the aftermath need of a cluster: lists, page by page, of which only the records are kept.

One kind that this account may not read, or that the cluster does not have, costs only itself.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from lightkube.core.resource import api_info

from clockstep.errors import KubernetesError
from clockstep.kubernetes import damage
from clockstep.kubernetes.certificates import secret, signing_request
from clockstep.kubernetes.fields import mapping, mappings, text
from clockstep.kubernetes.nodes import read_lease, read_node
from clockstep.kubernetes.requests import LEASE, LEASES, NODE, Requests
from clockstep.kubernetes.resources import everywhere, namespaced
from clockstep.model.damage import Input, KubeLease, Unread
from clockstep.waiting import begun

MOST = 20_000
"""How many objects of one kind are read."""
CRD = everywhere("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
Reader = Callable[[dict[str, Any], Any], Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is listed: by what, which of its objects, and what is kept of each. `several` is whether a reader
    gives more than one record.
    """

    resource: Any
    reader: Reader
    fields: Mapping[str, str] | None = None
    several: bool = False

    @property
    def name(self) -> str:
        """The kind's name."""
        return str(api_info(self.resource).resource.kind)

    @property
    def plural(self) -> str:
        """How addresses call it, with its group."""
        info = api_info(self.resource)
        return ".".join(filter(None, (info.plural, info.resource.group)))


ADMISSION = "admissionregistration.k8s.io"
KINDS: Mapping[Input, tuple[Kind, ...]] = {
    Input.PODS: (Kind(namespaced("", "v1", "Pod"), damage.pod),),
    Input.EVENTS: tuple(
        Kind(namespaced("", "v1", "Event"), damage.happening, {"reason": reason})
        for reason in ("FailedCreatePodSandBox", "ProvisioningFailed")
    ),
    Input.WORKLOADS: tuple(
        Kind(namespaced("apps", "v1", kind), damage.workload) for kind in ("Deployment", "StatefulSet", "DaemonSet")
    ),
    Input.SERVICES: (Kind(namespaced("", "v1", "Service"), damage.service),),
    Input.WEBHOOKS: tuple(
        Kind(everywhere(ADMISSION, "v1", kind), damage.webhooks, several=True)
        for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    Input.APISERVICES: (Kind(everywhere("apiregistration.k8s.io", "v1", "APIService"), damage.apiservice),),
    Input.SECRETS: (Kind(namespaced("", "v1", "Secret"), secret, {"type": "kubernetes.io/tls"}),),
    Input.CERTIFICATES: (Kind(namespaced("cert-manager.io", "v1", "Certificate"), damage.renewal),),
    Input.SIGNING_REQUESTS: (
        Kind(
            everywhere("certificates.k8s.io", "v1", "CertificateSigningRequest"),
            signing_request,
        ),
    ),
    Input.CRON_JOBS: (Kind(namespaced("batch", "v1", "CronJob"), damage.cron_job),),
    Input.JOBS: (Kind(namespaced("batch", "v1", "Job"), damage.job),),
    Input.CLAIMS: (Kind(namespaced("", "v1", "PersistentVolumeClaim"), damage.claim),),
    Input.STORAGE_CLASSES: (Kind(everywhere("storage.k8s.io", "v1", "StorageClass", "es"), damage.storage_class),),
    Input.CEPH: (Kind(namespaced("ceph.rook.io", "v1", "CephCluster"), damage.ceph),),
}
"""What is listed for an input; Nodes and leases are read together."""
Ask = Callable[[str, Callable[[Requests], Any]], Any]
"""Asks for something, as `list nodes`, with a job; raises KubernetesError."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was read, by the names of the fields of `Seen`, and why some was not."""

    fields: Mapping[str, tuple[Any, ...]]
    unread: Mapping[Input, Unread]


def gather(ask: Ask, wanted: Collection[Input]) -> Gathered:
    """Read all that is wanted, side by side. Raises KubernetesError if the API server answers nothing at all."""
    fields: dict[str, tuple[Any, ...]] = {}
    unread: dict[Input, Unread] = {}
    begins = {one: begun(partial(_listed, ask, KINDS[one])) for one in KINDS if one in wanted}
    if {Input.NODES, Input.LEASES} & set(wanted):
        fields |= _nodes(ask, unread)
    for one, reading in begins.items():
        found = reading.result()
        if isinstance(found, Unread):
            unread[one] = found
        else:
            fields[one.value.replace("-", "_")] = found
    return Gathered(fields, unread)


def _listed(ask: Ask, kinds: Sequence[Kind]) -> tuple[Any, ...] | Unread:
    """Return what is kept of these kinds, or why they cannot be read; raises KubernetesError if nobody answers."""
    try:
        found = [ask(f"list {kind.plural}", partial(_read, kind)) for kind in kinds]
    except KubernetesError as error:
        if not error.status:
            raise
        return _absent(ask, kinds[0]) if error.not_found else Unread(error.message)
    if unread := next((one for one in found if isinstance(one, Unread)), None):
        return unread
    return tuple(one for records in found for one in records)


def _read(kind: Kind, requests: Requests) -> list[Any] | Unread:
    """Return what is kept of a kind's objects; with too many, not all were looked at."""
    objects = requests.all(kind.resource, kind.fields)
    found = list(_records(kind, islice(objects, MOST)))
    return Unread(f"there are more than {MOST} {kind.plural}") if next(objects, None) else found


def _records(kind: Kind, objects: Iterator[dict[str, Any]]) -> Iterator[Any]:
    """Give what is kept of objects; those without a name are none."""
    for found in objects:
        ref = damage.ref_of(found, kind.name)
        record = kind.reader(found, ref) if ref.name else None
        if kind.several:
            yield from record or ()
        elif record is not None:
            yield record


def _absent(ask: Ask, kind: Kind) -> Unread:
    """Return why a kind is not there: the cluster has none, or has it in other versions alone."""
    try:
        found = ask(f"get crd {kind.plural}", lambda requests: requests.get(CRD, kind.plural))
    except KubernetesError as error:
        if error.not_found:
            return Unread(f"the cluster has no {kind.plural}", absent=True)
        return Unread(f"the cluster may have no {kind.plural}: {error.message}")
    versions = [text(one.get("name")) for one in mappings(mapping(found.get("spec")).get("versions"))]
    return Unread(f"{kind.plural} are there as {', '.join(versions) or 'no version'} alone, which is not known here")


def _nodes(ask: Ask, unread: dict[Input, Unread]) -> dict[str, tuple[Any, ...]]:
    """Read Nodes with their leases, and the leases of all others."""

    def leases(requests: Requests) -> tuple[dict[str, Any], list[KubeLease]]:
        of_nodes: dict[str, Any] = {}
        others: list[KubeLease] = []
        for found in islice(requests.all(LEASE), MOST):
            ref = damage.ref_of(found, "Lease")
            if ref.namespace == LEASES:
                of_nodes[ref.name] = read_lease(found)[1]
            else:
                others.append(damage.lease(found, ref))
        return of_nodes, others

    of_nodes, others = _or_unread(partial(ask, "list leases", leases), Input.LEASES, unread) or ({}, [])
    nodes = _or_unread(
        partial(ask, "list nodes", lambda requests: [read_node(one, of_nodes) for one in requests.all(NODE)]),
        Input.NODES,
        unread,
    )
    return {"nodes": tuple(one for one in nodes or () if one.name), "leases": tuple(others)}


def _or_unread(job: Callable[[], T], what: Input, unread: dict[Input, Unread]) -> T | None:
    try:
        return job()
    except KubernetesError as error:
        if not error.status:
            raise
        unread[what] = Unread(error.message)
        return None
