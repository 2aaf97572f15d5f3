"""How old the nodes' leases are by this machine's clock, whatever theirs say, and whether the nodes say Ready."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .api import Api, Object

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Renewal:
    """When a node says that it has renewed its lease, by its own clock, in ns of CLOCK_REALTIME.

    `version` is another one after each renewal.
    """

    renewed_ns: int
    version: str

    def age_ns(self) -> int:
        """How old it is now, by this machine's clock."""
        return time.time_ns() - self.renewed_ns


def renewal(api: Api, node: str) -> Renewal:
    """A node's lease as it is now; one that was never renewed is as old as time. Raises ApiError and OSError."""
    lease = api.get(f"{LEASES}/{node}")
    text = lease["spec"].get("renewTime")
    renewed_ns = int(datetime.fromisoformat(text).timestamp() * SECOND_NS) if text else 0
    return Renewal(renewed_ns, lease["metadata"]["resourceVersion"])


def oldest_ns(api: Api, nodes: Sequence[str]) -> int:
    """The age of the oldest of these nodes' leases."""
    return max(renewal(api, node).age_ns() for node in nodes)


def is_ready(api: Api, node: str) -> bool:
    """Whether a node says that it is Ready."""
    return is_true(api.get(f"/api/v1/nodes/{node}"), "Ready")


def is_true(thing: Object, condition: str) -> bool:
    """Whether this condition of a node or a pod is True."""
    conditions = thing["status"].get("conditions", ())
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def micro_time(at: datetime) -> str:
    """A moment as a lease has it: Kubernetes wants exactly six decimals."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
