"""What clockstep asks of a Kubernetes cluster, by roles; each is a right of its own in the cluster (RBAC).

Everything blocks for a bounded time and raises KubernetesError, with what the API server said. Nothing is asked before
the first call: to have one of these sends no credentials and starts no program.
"""

from typing import Protocol

from clockstep.model import KubeCondition, KubeEvent, KubeNode


class KubeNodes(Protocol):
    """Who may read Nodes and their leases."""

    def nodes(self) -> list[KubeNode]:
        """Return all Nodes with their leases, by name."""


class KubeReports(Protocol):
    """Who may write the condition ClockProblem, and Events."""

    def condition(self, node: str) -> KubeCondition | None:
        """Return the Node's condition ClockProblem as it is now; None if it has none."""

    def set_condition(self, node: str, condition: KubeCondition) -> None:
        """Write the condition ClockProblem, and leave all others as they are."""

    def remove_condition(self, node: str) -> None:
        """Remove the condition ClockProblem, and leave all others as they are; nothing if there is none."""

    def record(self, event: KubeEvent) -> None:
        """Record an Event on a Node; one that has happened again takes the place of what it was before."""


class KubeCordons(Protocol):
    """Who may cordon Nodes."""

    def cordon(self, node: str, mark: str) -> bool:
        """Mark the Node unschedulable with the mark of whoever does; False, and nothing done, if it was already."""

    def uncordon(self, node: str, mark: str) -> bool:
        """Undo what was cordoned with that mark; False, and nothing done, if it bears no such mark."""


class Kubernetes(KubeNodes, KubeReports, KubeCordons, Protocol):
    """A cluster with all roles, of which the account at hand may lack some."""
