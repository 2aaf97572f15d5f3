"""What tests put into a cluster by the lab's own client: Nodes as kubelets would register them, leases, manifests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from clockstep_lab.kubernetes.api import Object
from clockstep_lab.kubernetes.cluster import Cluster

NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
EVENTS = "/api/v1/namespaces/default/events"
LEASE_S = 40


def add_node(
    cluster: Cluster, name: str, system_uuid: str, labels: Mapping[str, str] | None = None, ready: str = "True"
) -> Object:
    """Create a Node as its kubelet would register it, with the condition Ready as of now; return it."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    condition = {"type": "Ready", "status": ready, "reason": "KubeletReady", "message": "made up"}
    info = dict.fromkeys(INFO, "made-up") | {"systemUUID": system_uuid}
    node = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | dict(labels or {})},
        "status": {
            "conditions": [condition | {"lastHeartbeatTime": now, "lastTransitionTime": now}],
            "capacity": {"cpu": "1", "memory": "1Gi", "pods": "110"},
            "nodeInfo": info,
        },
    }
    return cluster.admin.create(NODES, node)


INFO = (
    "architecture bootID containerRuntimeVersion kernelVersion kubeProxyVersion kubeletVersion machineID "
    "operatingSystem osImage"
).split()


def renew_lease(cluster: Cluster, node: str, at: datetime) -> Object:
    """Write a Node's lease as renewed at this time, as its kubelet would; return it."""
    spec = {
        "holderIdentity": node,
        "leaseDurationSeconds": LEASE_S,
        "renewTime": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    return cluster.admin.replace(f"{LEASES}/{node}", {"metadata": {"name": node}, "spec": spec})


def apply(cluster: Cluster, *manifests: Path) -> None:
    """Apply manifests with kubectl, as people do: accounts, roles, bindings."""
    for manifest in manifests:
        cluster.kubectl("apply", "--filename", manifest)


def empty(cluster: Cluster) -> None:
    """Remove all Nodes, their leases, and the Events in `default`."""
    for collection in (NODES, LEASES, EVENTS):
        cluster.admin.delete(collection)
