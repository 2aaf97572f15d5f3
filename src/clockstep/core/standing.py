"""What a Kubernetes cluster says of the nodes of a command, from its Nodes and the time. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from clockstep.core.matching import identity, match
from clockstep.model import Guest, KubeNode, KubeReport, KubeState


def standing(
    everyone: Iterable[Guest], chosen: Sequence[Guest], nodes: Sequence[KubeNode], now_ns: int
) -> tuple[Mapping[str, KubeState], KubeReport]:
    """Return what the Nodes say of the chosen machines, by these machines' names, and what is left over.

    `everyone` is all machines that are known here; `now_ns` is when the Nodes were read, by the reference.
    """
    found = match(everyone, nodes)
    states = {guest.name: state(node, now_ns) for guest in chosen if (node := found.node_of(guest))}
    return states, KubeReport(
        tuple(node.name for node in found.machineless),
        tuple(guest.name for guest in chosen if guest.name not in states and identity(guest.uuid)),
        tuple(node.name for node in found.doubtful),
        lease_trouble=next((node.lease_trouble for node in nodes if node.lease_trouble), ""),
    )


def state(node: KubeNode, now_ns: int) -> KubeState:
    """Return how a Node stands at a moment of the reference."""
    return KubeState(
        node.name,
        node.roles,
        node.ready,
        node.unschedulable,
        node.cordoned_by,
        None if node.renewed_ns is None else now_ns - node.renewed_ns,
        node.lease_ns,
        node.problem,
    )
