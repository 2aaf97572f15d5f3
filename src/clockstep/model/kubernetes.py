"""What Kubernetes says of nodes, and what it is told of their clocks."""

from dataclasses import dataclass

CLOCK_PROBLEM = "ClockProblem"
"""The type of the Node condition that clockstep keeps; problem polarity, as node-problem-detector's are."""


@dataclass(frozen=True, slots=True)
class KubeAccess:
    """Which Kubernetes cluster is meant, by a kubeconfig.

    An empty `kubeconfig` is what KUBECONFIG names, or ~/.kube/config; an empty `context` is its current one.
    `passive`: it may start no program and send no file, because nobody named the configuration that names it.
    """

    kubeconfig: str = ""
    context: str = ""
    passive: bool = False


@dataclass(frozen=True, slots=True)
class KubeCondition:
    """A condition of a Node; `status` is `True`, `False` or `Unknown`, as Kubernetes writes it.

    Times are nanoseconds since 1970 by the clock of whoever wrote them, in whole seconds; None if they cannot be read.
    `heartbeat_ns` is when it was written last, `changed_ns` when its status changed.
    """

    status: str
    reason: str = ""
    message: str = ""
    heartbeat_ns: int | None = None
    changed_ns: int | None = None


@dataclass(frozen=True, slots=True)
class KubeNode:
    """A Node of Kubernetes, as the API server has it.

    `system_uuid` is the UUID that its firmware shows, in lower case: that of the domain, or with the first three fields
    in the other byte order. `renewed_ns` is its lease's renewTime, by the clock of the node itself; None if there is no
    lease. `lease_ns` is for how long a renewal counts. `problem` is the condition ClockProblem, whoever wrote it.
    `cordoned_by` is the mark of whoever cordoned it through clockstep; empty if nobody did. `lease_trouble` is why the
    leases could not be read; empty if they were.
    """

    name: str
    uid: str
    system_uuid: str
    ready: KubeCondition | None = None
    roles: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()
    version: str = ""
    unschedulable: bool = False
    cordoned_by: str = ""
    renewed_ns: int | None = None
    lease_ns: int | None = None
    problem: KubeCondition | None = None
    lease_trouble: str = ""


@dataclass(frozen=True, slots=True)
class KubeState:
    """What a Kubernetes cluster says of a machine, as the Node that it is.

    `lease_age_ns` is how long ago its lease was renewed, by the reference: the node wrote the moment by its own clock,
    so it is off by as much as that is, and negative if that is ahead. None if there is no lease, or it could not be
    read. `lease_ns` is for how long a renewal counts.
    """

    name: str
    roles: tuple[str, ...] = ()
    ready: KubeCondition | None = None
    unschedulable: bool = False
    cordoned_by: str = ""
    lease_age_ns: int | None = None
    lease_ns: int | None = None
    problem: KubeCondition | None = None

    @property
    def lease_expired(self) -> bool:
        """Whether its lease counts no more, by the reference: nobody has heard of the node in time."""
        if self.lease_age_ns is None or self.lease_ns is None:
            return False
        return self.lease_age_ns > self.lease_ns


@dataclass(frozen=True, slots=True)
class KubeEvent:
    """An Event on a Node, in the form in which `kubectl describe node` shows it.

    `type` is `Normal` or `Warning`; `at_ns` is nanoseconds since 1970 by the reference. One that has happened `count`
    times, at first at `since_ns` (None for `at_ns`), takes the place of the one with the same node, reason and first
    moment.
    """

    node: str
    type: str
    reason: str
    message: str
    at_ns: int
    count: int = 1
    since_ns: int | None = None

    @property
    def first_ns(self) -> int:
        """When it happened at first, in nanoseconds since 1970 by the reference."""
        return self.at_ns if self.since_ns is None else self.since_ns


@dataclass(frozen=True, slots=True)
class Cordon:
    """A Node that clockstep cordons, as it is written down before, and as long as it may be cordoned.

    `uid` tells it from one of the same name in another cluster; `mark` is what the Node bears meanwhile.
    """

    name: str
    uid: str
    mark: str


@dataclass(frozen=True, slots=True, order=True)
class KubeRef:
    """An object of a cluster; `namespace` is empty for one that has none."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """Return it as kubectl takes it, with its namespace before it."""
        return f"{self.namespace}/{self.kind.lower()}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"
