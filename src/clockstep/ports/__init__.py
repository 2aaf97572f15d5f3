"""What the loop and the flows need of the world, as protocols: real adapters and strict fakes both satisfy them."""

from clockstep.ports.clock import Clock
from clockstep.ports.daemons import Daemon
from clockstep.ports.journal import Cordons, Journal
from clockstep.ports.kernel import Kernel
from clockstep.ports.kubernetes import KubeCordons, KubeNodes, KubeReports, Kubernetes
from clockstep.ports.locks import Locks
from clockstep.ports.machines import (
    Definition,
    Events,
    Hypervisor,
    Inside,
    Inventory,
    Listed,
    Machines,
    Power,
    Snapshots,
)
from clockstep.ports.reach import NO_PROGRAM, Login, Node, Output, Reach, Ways
from clockstep.ports.reference import Instant, Reference
from clockstep.ports.sinks import Sightings, Sink
from clockstep.ports.world import Tell, World

__all__ = [
    "NO_PROGRAM",
    "Clock",
    "Cordons",
    "Daemon",
    "Definition",
    "Events",
    "Hypervisor",
    "Inside",
    "Instant",
    "Inventory",
    "Journal",
    "Kernel",
    "KubeCordons",
    "KubeNodes",
    "KubeReports",
    "Kubernetes",
    "Listed",
    "Locks",
    "Login",
    "Machines",
    "Node",
    "Output",
    "Power",
    "Reach",
    "Reference",
    "Sightings",
    "Sink",
    "Snapshots",
    "Tell",
    "Ways",
    "World",
]
