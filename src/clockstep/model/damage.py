"""What is gathered of a cluster that a wrong time may have damaged: no more than the checks of the aftermath need.

Of a Secret that is the certificate alone, of a pod neither environment nor commands. Moments are nanoseconds since
1970; None if the object does not say, or says what is no time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from clockstep.model.certificates import Certificate, NodeCertificates
from clockstep.model.kubernetes import KubeNode, KubeRef


class Input(Enum):
    """What a check may need; each is one right in the cluster, a way to its nodes, or the history of their clocks."""

    NODES = "nodes"
    LEASES = "leases"
    PODS = "pods"
    EVENTS = "events"
    WORKLOADS = "workloads"
    SERVICES = "services"
    WEBHOOKS = "webhooks"
    APISERVICES = "apiservices"
    SECRETS = "secrets"
    CERTIFICATES = "certificates"
    SIGNING_REQUESTS = "signing-requests"
    CRON_JOBS = "cron-jobs"
    JOBS = "jobs"
    CLAIMS = "claims"
    STORAGE_CLASSES = "storage-classes"
    CEPH = "ceph"
    PROBES = "probes"
    SERVED = "served"
    FILES = "files"
    TOKENS = "tokens"
    KUBELETS = "kubelets"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container of a pod does not run, in the kubelet's words."""

    container: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class KubePod:
    """A pod. `owner` is its controller; a `mirror` is the image of a static pod, which no API call restarts.

    `secrets` are those that it mounts; `started_ns` is when the container that started last did, by its node's clock.
    """

    ref: KubeRef
    uid: str = ""
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: KubeRef | None = None
    mirror: bool = False
    ready: bool = False
    deleting: bool = False
    created_ns: int | None = None
    started_ns: int | None = None
    waiting: tuple[Waiting, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KubeWorkload:
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet; `owner` is what keeps it, as a Deployment its ReplicaSets.

    `restarted_ns` is when clockstep restarted it last; `settled` is whether its pods are all of its present template.
    """

    ref: KubeRef
    owner: KubeRef | None = None
    paused: bool = False
    settled: bool = True
    restarted_ns: int | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class KubeService:
    """A Service; without a `selector` nobody knows what stands behind it."""

    ref: KubeRef
    selector: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is called by the API server: a webhook or an APIService, through a Service, or at a `url` of its own.

    `authorities` are the certificates of its caBundle, by which the API server trusts it. `available` and `message` are
    the condition Available of an APIService; None for a webhook. `sample` is a kind of object whose creation would be
    sent to a webhook, with such labels; `unprobed` is why there is none.
    """

    ref: KubeRef
    name: str
    service: KubeRef | None = None
    port: int = 443
    url: str = ""
    authorities: tuple[Certificate, ...] = ()
    available: bool | None = None
    message: str = ""
    changed_ns: int | None = None
    sample: str = ""
    sample_labels: Mapping[str, str] = field(default_factory=dict)
    unprobed: str = ""


@dataclass(frozen=True, slots=True)
class TlsSecret:
    """The certificate of a Secret of type kubernetes.io/tls; its key is never kept."""

    ref: KubeRef
    certificate: Certificate
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """A Certificate of cert-manager."""

    ref: KubeRef
    secret: str
    renewal_ns: int | None = None
    not_after_ns: int | None = None
    issuing: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A CertificateSigningRequest that waits for approval, with what it asks for.

    `trouble` is why the request in it cannot be read; `signed` is whether it is signed by the key that it is for.
    """

    ref: KubeRef
    signer: str
    username: str
    groups: tuple[str, ...] = ()
    usages: tuple[str, ...] = ()
    common_name: str = ""
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    others: bool = False
    signed: bool = False
    trouble: str = ""
    created_ns: int | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class KubeLease:
    """A Lease that is no Node's: who leads."""

    ref: KubeRef
    holder: str = ""
    renewed_ns: int | None = None


@dataclass(frozen=True, slots=True)
class CronJob:
    """A CronJob, and when it was last scheduled."""

    ref: KubeRef
    scheduled_ns: int | None = None
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class KubeJob:
    """A Job with a deadline, that runs or was ended by it; `lasts_ns` is how long it may run from `started_ns` on.

    `failed_ns` is when its deadline ended it, by the controller's clock.
    """

    ref: KubeRef
    started_ns: int
    lasts_ns: int
    failed_ns: int | None = None
    owner: KubeRef | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim without a volume; it is `placed` once a node was chosen for the pod that needs it."""

    ref: KubeRef
    storage_class: str
    placed: bool = False
    created_ns: int | None = None


@dataclass(frozen=True, slots=True)
class StorageClass:
    """A StorageClass; where it `waits`, a claim gets its volume only with the first pod that needs it."""

    ref: KubeRef
    provisioner: str
    waits: bool = False


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A step of a node's clock by `by_ns`, at that moment by the reference; `reverted` is whether after a revert."""

    node: str
    at_ns: int
    by_ns: int
    reverted: bool = False


@dataclass(frozen=True, slots=True)
class KubeletUnit:
    """How a node's kubelet is run: its `unit` of systemd, empty if that is none that may be restarted.

    `restarts` are those by clockstep that were carried out since the node booted: for which mark, and how many
    nanoseconds ago. `bootstraps` is whether it has a kubeconfig to ask for its first certificate with.
    """

    node: str
    unit: str = ""
    restarts: Mapping[str, int] = field(default_factory=dict)
    bootstraps: bool = False


@dataclass(frozen=True, slots=True)
class Ceph:
    """A CephCluster of Rook, by its status: what each health check says, by its name."""

    ref: KubeRef
    health: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    checked_ns: int | None = None


@dataclass(frozen=True, slots=True)
class KubeHappening:
    """An Event that the cluster has of one of its objects."""

    on: KubeRef
    reason: str
    message: str
    last_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of calling a webhook through the API server, by a request that changes nothing; empty if it answered.

    `skipped` is why it was not called.
    """

    ref: KubeRef
    name: str
    trouble: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate that is shown behind a Service, as dialled from a node; `trouble` is why none was."""

    service: KubeRef
    port: int
    certificate: Certificate | None = None
    fingerprint: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class PodToken:
    """When the token of a pod with this UID was issued and is valid, by the claims in it; the token is not kept."""

    uid: str
    issued_ns: int | None = None
    not_before_ns: int | None = None
    expires_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Why an input could not be had; `absent` if the cluster has no such kind, and so nothing of it to break."""

    why: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was gathered; what is in `unread` is missing. `now_ns` is the reference's, when that was.

    `unread_files`, `unread_tokens` and `unread_kubelets` say of which nodes those could not be read, and why.
    `machines` are the Nodes whose machines are known, `steps` those of clocks that this host's history has.
    """

    now_ns: int
    unread: Mapping[Input, Unread] = field(default_factory=dict)
    nodes: tuple[KubeNode, ...] = ()
    leases: tuple[KubeLease, ...] = ()
    pods: tuple[KubePod, ...] = ()
    events: tuple[KubeHappening, ...] = ()
    workloads: tuple[KubeWorkload, ...] = ()
    services: tuple[KubeService, ...] = ()
    webhooks: tuple[Endpoint, ...] = ()
    apiservices: tuple[Endpoint, ...] = ()
    secrets: tuple[TlsSecret, ...] = ()
    certificates: tuple[Renewal, ...] = ()
    signing_requests: tuple[SigningRequest, ...] = ()
    cron_jobs: tuple[CronJob, ...] = ()
    jobs: tuple[KubeJob, ...] = ()
    claims: tuple[Claim, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    ceph: tuple[Ceph, ...] = ()
    probes: tuple[Probe, ...] = ()
    served: tuple[Served, ...] = ()
    files: tuple[NodeCertificates, ...] = ()
    unread_files: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[PodToken, ...] = ()
    unread_tokens: Mapping[str, str] = field(default_factory=dict)
    kubelets: tuple[KubeletUnit, ...] = ()
    unread_kubelets: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[ClockStep, ...] = ()
    machines: frozenset[str] = frozenset()
