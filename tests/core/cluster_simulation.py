"""A Kubernetes cluster on simulated machines: their kubelets renew leases by the machines' own clocks.

Its control plane may be in a machine: then it answers only while that runs, and its state is in that one's snapshots.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from clockstep.errors import KubernetesError
from clockstep.host.locks import DomainLocks
from clockstep.model import Guest, KubeCondition, KubeNode, Snapshot
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import SECOND, SimClock, SimHypervisor

NAMES = ["node1", "node2", "node3"]
EVERY = 10 * SECOND
AWAY = KubernetesError("the API server refused the connection", "check that it runs")


@dataclass
class Kubelet:
    """What a kubelet does at its turns: how often it renews its lease, and what Ready is until it is True."""

    every_ns: int = EVERY
    renewed_ns: int = -(2**62)
    until_ns: int = 0
    until_then: str = "Unknown"


class Machines(SimHypervisor):
    """Machines whose snapshots have the cluster's state, if the control plane is in them."""

    cluster: "SimCluster"

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        super().snapshot(guest, snapshot)
        if guest.name == self.cluster.inside:
            self.cluster.kept[snapshot.name] = dict(self.cluster.by_name)

    def revert(self, guest: Guest, name: str) -> None:
        super().revert(guest, name)
        if guest.name == self.cluster.inside:
            self.cluster.by_name = dict(self.cluster.kept[name])

    def resume(self, guest: Guest) -> None:
        super().resume(guest)
        if guest.name == self.cluster.inside:
            self.cluster.up_ns = self.clock.mono + self.cluster.starts_ns


class SimCluster(SimulatedKubernetes):
    """The cluster of machines; `inside` is the machine that has its control plane, if any.

    `starts_ns` is how long that takes to answer after the machine runs on.
    """

    def __init__(self, machines: Machines, inside: str = "", starts_ns: int = 0) -> None:
        super().__init__(
            KubeNode(
                f"k-{guest.name}",
                f"uid-{guest.name}",
                guest.uuid,
                KubeCondition("True", heartbeat_ns=machines.clock.real, changed_ns=machines.clock.real),
                ("control-plane",) if guest.name == inside else (),
                lease_ns=40 * SECOND,
            )
            for guest in machines.guests()
        )
        self.machines, self.inside, self.starts_ns, self.up_ns = machines, inside, starts_ns, 0
        self.kubelets = {name: Kubelet() for name in machines.machines}
        self.kept: dict[str, dict[str, KubeNode]] = {}
        machines.cluster = self

    def nodes(self) -> list[KubeNode]:
        """Return the Nodes, after each kubelet that runs has had its turn."""
        self._called("nodes")
        for name, kubelet in self.kubelets.items():
            if self.machines.machines[name].running:
                self._turn(name, kubelet)
        return sorted(self.by_name.values(), key=lambda node: node.name)

    def _turn(self, name: str, kubelet: Kubelet) -> None:
        clock, node = self.machines.clock, self.by_name[f"k-{name}"]
        now_ns = clock.real + self.machines.machines[name].offset_ns
        if clock.mono - kubelet.renewed_ns >= kubelet.every_ns:
            kubelet.renewed_ns = clock.mono
            node = replace(node, renewed_ns=now_ns)
        status = kubelet.until_then if clock.mono < kubelet.until_ns else "True"
        if node.ready is None or node.ready.status != status:
            node = replace(node, ready=KubeCondition(status, heartbeat_ns=now_ns, changed_ns=now_ns))
        self.by_name[node.name] = node

    def _called(self, call: str) -> None:
        super()._called(call)
        if self.inside and not (self.machines.machines[self.inside].running and self.machines.clock.mono >= self.up_ns):
            raise AWAY


@dataclass
class Lab:
    """Machines, their cluster, and the world that a flow gets of them; `told` is what it said."""

    clock: SimClock
    machines: Machines
    cluster: SimCluster
    world: World
    told: list[str]

    def cordoned(self) -> dict[str, str]:
        """Return which Nodes are cordoned, and by whom."""
        return {node.name: node.cordoned_by for node in self.cluster.by_name.values() if node.unschedulable}


def lab_of(
    folder: Path,
    inside: str = "",
    starts_ns: int = 0,
    machines: type[Machines] = Machines,
    cluster: type[SimCluster] | None = None,
) -> Lab:
    """Return three machines with their cluster; what is written down is in this folder."""
    clock, told = SimClock(), list[str]()
    made = machines(clock, NAMES)
    kubernetes = (cluster or SimCluster)(made, inside, starts_ns)

    def tell(node: str, text: str) -> None:
        told.append(f"{node}: {text}" if node else text)

    world = World(made, clock, clock, DomainLocks(clock), FileJournal(folder), tell, kubernetes=kubernetes)
    return Lab(clock, made, kubernetes, world, told)
