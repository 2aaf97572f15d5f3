"""What became of a Kubernetes cluster after its nodes' clocks were corrected, as `-o json` prints it."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.clock import Trouble
from clockstep.units import SECOND_NS


class Freshness(Enum):
    """What a Node of a corrected machine proves: only `fresh` is proof that it works."""

    FRESH = "fresh"
    LEASE_OLD = "lease-old"
    LEASE_AHEAD = "lease-ahead"
    LEASE_UNKNOWN = "lease-unknown"
    NOT_READY = "not-ready"
    READY_OLD = "ready-old"
    READY_AHEAD = "ready-ahead"
    CLOCK_UNPROVEN = "clock-unproven"
    DOUBTFUL = "doubtful"
    NO_NODE = "no-node"


class ControlPlane(Enum):
    """Where the cluster's control plane is, as its Nodes' roles tell: in the machines of this run, or elsewhere."""

    INSIDE = "inside"
    PARTLY = "partly"
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


class ClusterOutcome(Enum):
    """What waiting for the cluster came to."""

    WORKS = "works"
    LATE = "late"
    UNKNOWN = "unknown"
    UNMATCHED = "unmatched"
    NOT_WAITED = "not-waited"


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    """What is done for the cluster: whether it is waited for, and until when; and whether Nodes are cordoned before."""

    wait: bool = True
    deadline_ns: int = 60 * SECOND_NS
    cordon: bool = False


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A machine as a Node of the cluster, when it was looked at last.

    `name` is its Node's, empty if it has none, and `ready` the status of its condition Ready. `lease_age_ns` is how
    long ago its lease was renewed, by the reference; negative if that is in the future. `fresh_ns` is how long after
    its clock was proven the Node was first seen to be fresh; None if it never was.
    """

    node: str
    state: Freshness
    name: str = ""
    ready: str = ""
    lease_age_ns: int | None = None
    fresh_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the cluster was seen to be after the clocks were corrected.

    `waited_ns` is how long it was waited for, `trouble` why it could not be asked at last, `cordoned` the Nodes that
    clockstep has cordoned and could not uncordon.
    """

    outcome: ClusterOutcome
    control_plane: ControlPlane = ControlPlane.UNKNOWN
    nodes: tuple[ClusterNode, ...] = ()
    waited_ns: int = 0
    trouble: Trouble | None = None
    cordoned: tuple[str, ...] = ()
