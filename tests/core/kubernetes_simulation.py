"""A Kubernetes cluster in memory: what it does is held to what real API servers do by the same contract tests."""

from collections.abc import Iterable
from dataclasses import replace

from clockstep.errors import KubernetesError
from clockstep.model import KubeCondition, KubeEvent, KubeNode
from clockstep.units import SECOND_NS


class SimulatedKubernetes:
    """Nodes, and what was reported of them; every call raises `trouble` if there is one, and is counted."""

    def __init__(self, nodes: Iterable[KubeNode] = (), trouble: KubernetesError | None = None) -> None:
        self.by_name = {node.name: node for node in nodes}
        self.events: list[KubeEvent] = []
        self.calls: list[str] = []
        self.trouble = trouble

    def nodes(self) -> list[KubeNode]:
        """Return all Nodes, by name."""
        self._called("nodes")
        return sorted(self.by_name.values(), key=lambda node: node.name)

    def condition(self, node: str) -> KubeCondition | None:
        """Return the Node's condition."""
        return self._node(node, "condition").problem

    def set_condition(self, node: str, condition: KubeCondition) -> None:
        """Write the condition."""
        kept = replace(
            condition, heartbeat_ns=_second(condition.heartbeat_ns), changed_ns=_second(condition.changed_ns)
        )
        self.by_name[node] = replace(self._node(node, "set_condition"), problem=kept)

    def remove_condition(self, node: str) -> None:
        """Remove the condition."""
        self.by_name[node] = replace(self._node(node, "remove_condition"), problem=None)

    def record(self, event: KubeEvent) -> None:
        """Record an Event; a Node that is gone may have some still."""
        self._called("record")
        same = (event.node, event.reason, event.first_ns)
        self.events = [one for one in self.events if (one.node, one.reason, one.first_ns) != same]
        self.events.append(event)

    def cordon(self, node: str, mark: str) -> bool:
        """Cordon a Node that is not."""
        found = self._node(node, "cordon")
        if found.unschedulable:
            return False
        self.by_name[node] = replace(found, unschedulable=True, cordoned_by=mark)
        return True

    def uncordon(self, node: str, mark: str) -> bool:
        """Uncordon a Node with that mark."""
        found = self._node(node, "uncordon")
        if found.cordoned_by != mark:
            return False
        self.by_name[node] = replace(found, unschedulable=False, cordoned_by="")
        return True

    def _node(self, name: str, call: str) -> KubeNode:
        self._called(call)
        if name not in self.by_name:
            raise KubernetesError(f'nodes "{name}" not found', lasting=True, status=404)
        return self.by_name[name]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.trouble:
            raise self.trouble


def _second(at_ns: int | None) -> int | None:
    """Return a time as Kubernetes keeps it."""
    return None if at_ns is None else at_ns // SECOND_NS * SECOND_NS
