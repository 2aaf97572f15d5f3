"""All that a flow works with."""

from collections.abc import Callable
from typing import NamedTuple

from clockstep.model import HostClock
from clockstep.ports.clock import Clock
from clockstep.ports.journal import Journal
from clockstep.ports.kubernetes import Kubernetes
from clockstep.ports.locks import Locks
from clockstep.ports.machines import Hypervisor
from clockstep.ports.reference import Reference

Tell = Callable[[str, str], None]
"""Takes a node's name, or nothing for all, and a line of the story."""


class World(NamedTuple):
    """All that a flow works with: the machines, what they are compared with, their locks and pauses, and whom to tell.

    `asking_ns` is how long it may take to learn how a node is reached, before its deadline begins; 0 if nobody has to
    be asked for that. `kubernetes` is the cluster whose Nodes the machines are; None if none was named.
    """

    hypervisor: Hypervisor
    clock: Clock
    reference: Reference
    locks: Locks
    journal: Journal
    tell: Tell
    asking_ns: int = 0
    kubernetes: Kubernetes | None = None

    @property
    def host(self) -> HostClock:
        """How good the reference is now."""
        return self.reference.quality()
