"""Conditions that a writer has left on Nodes: which there are, and their removal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from clockstep.core.condition import writer_of
from clockstep.errors import KubernetesError, UsageError
from clockstep.model import KubeNode
from clockstep.ports import KubeNodes, KubeReports


class Reported(KubeNodes, KubeReports, Protocol):
    """A cluster whose Nodes may be listed and reported on."""


T = TypeVar("T")


def each(chosen: Iterable[T], job: Callable[[T], None]) -> None:
    """Do something for each Node: one that fails costs no other, unless nobody answers. Raises the first error."""
    first: KubernetesError | None = None
    for one in chosen:
        try:
            job(one)
        except KubernetesError as error:
            first = first or error
            if not error.status:
                break
    if first:
        raise first


def remove_own(reports: KubeReports, node: str, writer: str) -> bool:
    """Remove a Node's condition if this writer wrote it last; return whether it did. Of a Node that is gone, it did."""
    try:
        found = reports.condition(node)
        if found is None or writer_of(found) != writer:
            return False
        reports.remove_condition(node)
    except KubernetesError as error:
        if not error.not_found:
            raise
    return True


def with_condition(cluster: KubeNodes, patterns: Sequence[str] = ()) -> list[KubeNode]:
    """Return the Nodes that have the condition, of those with these names or globs, or of all; raises as `called`."""
    return [node for node in called(cluster, patterns) if node.problem]


def called(cluster: KubeNodes, patterns: Sequence[str] = ()) -> list[KubeNode]:
    """Return the Nodes with these names or globs, or all; raises UsageError for a name that no Node has."""
    nodes = cluster.nodes()
    for pattern in patterns:
        if not any(fnmatchcase(node.name, pattern) for node in nodes):
            raise UsageError(f"there is no Node {pattern!r} in the cluster", "kubectl get nodes lists them")
    return [node for node in nodes if not patterns or any(fnmatchcase(node.name, one) for one in patterns)]


def remove_all_own(cluster: Reported, writer: str, tell: Callable[[str], None]) -> None:
    """Remove all conditions that this writer wrote, and tell of each. Raises KubernetesError if one is left."""
    own = [node.name for node in with_condition(cluster) if node.problem and writer_of(node.problem) == writer]
    remove_all(cluster, dict.fromkeys(own, writer), tell)


def remove_all(reports: KubeReports, writers: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Remove the conditions of these Nodes as far as these writers wrote them, and tell of each; raises as `each`."""

    def remove(node: str) -> None:
        if remove_own(reports, node, writers[node]):
            tell(f"removed the condition of {node}")

    each(writers, remove)
