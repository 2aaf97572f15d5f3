"""What the Nodes of a Kubernetes cluster add to the names of machines. Pure.

The name of a machine counts first: that a cluster is named changes the meaning of none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from clockstep.core.labels import Selector
from clockstep.core.matching import match
from clockstep.model import Guest, KubeNode

Meant = Mapping[str, str]
"""The names of Nodes by the UUIDs of their machines."""


@dataclass(frozen=True, slots=True)
class NodeNames:
    """What names, globs and selectors mean by the names and labels of Nodes.

    `meant` has those that mean a machine here, and `homeless` the Nodes that each means and that are no machine here.
    `known` are the names of all Nodes, for whoever mistyped one.
    """

    meant: Mapping[str, Meant] = field(default_factory=dict)
    homeless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known: tuple[str, ...] = ()

    def name_of(self, guest: Guest, pattern: str) -> str:
        """Return the name of the Node by which a pattern means a machine; empty if it does not."""
        return self.meant.get(pattern, {}).get(guest.uuid, "")

    def left_out(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """Return the Nodes that are no machine here, each once, of those patterns that mean others too."""
        partly = [pattern for pattern in patterns if self.meant.get(pattern)]
        return tuple(dict.fromkeys(name for pattern in partly for name in self.homeless[pattern]))


def look_up(
    patterns: Sequence[str], selector: Selector | None, guests: Sequence[Guest], nodes: Sequence[KubeNode]
) -> NodeNames:
    """Return what names and globs mean by the names of Nodes, and a selector by their labels."""
    by_key = match(guests, nodes).by_key
    machines: dict[str, set[str]] = {}
    for guest in guests:
        if node := by_key.get(guest.key):
            machines.setdefault(node.name, set()).add(guest.uuid)
    meant: dict[str, Meant] = {}
    homeless: dict[str, tuple[str, ...]] = {}
    for pattern, means in _tests(patterns, selector):
        found = [node.name for node in nodes if means(node)]
        meant[pattern] = {uuid: name for name in found for uuid in machines.get(name, ())}
        homeless[pattern] = tuple(name for name in found if name not in machines)
    return NodeNames(meant, homeless, tuple(node.name for node in nodes))


def _tests(patterns: Sequence[str], selector: Selector | None) -> list[tuple[str, Callable[[KubeNode], bool]]]:
    tests = [(pattern, _named(pattern)) for pattern in patterns]
    return [*tests, (selector.pattern, lambda node: selector.selects(dict(node.labels)))] if selector else tests


def _named(pattern: str) -> Callable[[KubeNode], bool]:
    return lambda node: node.name == pattern or fnmatchcase(node.name, pattern)
