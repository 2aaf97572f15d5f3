"""Machines as their hypervisors list them, and what happens to them."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.kubernetes import KubeState
from clockstep.model.report import KubeReport


@dataclass(frozen=True, slots=True)
class Guest:
    """A virtual machine as its hypervisor lists it; `state` is `running`, `paused`, `saved`, `shut off` or the like.

    `connection` is the address of its hypervisor as it was given; empty for the default one. `stuck` is why it is
    paused where the hypervisor itself did that, as after an I/O error. `domain` is its hypervisor's name for it if
    `name` is another one, which Vagrant gave it.
    """

    name: str
    uuid: str
    state: str
    connection: str = ""
    stuck: str = ""
    domain: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others: a UUID alone may be on two hosts, as after a migration."""
        return self.connection, self.uuid

    @property
    def recorded(self) -> str:
        """Its name in the snapshots, the same inside a Vagrant project and outside of it."""
        return self.domain or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names that mean it, the one that is printed first."""
        alone = self.recorded.removesuffix(f"@{self.connection}")
        return tuple(dict.fromkeys((self.name, self.recorded, f"{alone}@{self.connection}")))

    @property
    def active(self) -> bool:
        """Whether there is a running state that a revert discards."""
        return self.state not in {"shut off", "crashed"}


class Choice(Enum):
    """What decided which nodes a command is about, from what counts first to what counts last."""

    ARGUMENTS = "arguments"
    CLUSTER = "cluster"
    CONFIGURATION = "configuration"
    VAGRANT = "vagrant"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Selected:
    """A machine that a command is about, and why; `kubernetes` is what a Kubernetes cluster says of it, if asked."""

    guest: Guest
    why: str
    kubernetes: KubeState | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What `nodes` prints: the machines that a command is about, and in `text` what decided that, in words.

    `kubernetes` is None if no Kubernetes cluster was asked.
    """

    choice: Choice
    text: str
    nodes: tuple[Selected, ...]
    kubernetes: KubeReport | None = None
    schema_version: int = 2


class What(Enum):
    """What can happen to a guest, as far as its clock is concerned."""

    REVERTED = "reverted"
    RESTORED = "restored"
    MIGRATED = "migrated"
    RESUMED = "resumed"
    BOOTED = "booted"
    ANSWERS = "agent-answers"
    PAUSED = "paused"
    STOPPED = "stopped"
    SET = "set-by-other"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to a guest of a connection, at `at_ns` of the monotonic clock of who has noticed it.

    What a node notices itself has no UUID and no connection.
    """

    uuid: str
    what: What
    at_ns: int
    connection: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """What was done to give a domain a channel for an agent: to its definition, and to the machine as it runs.

    `objection` is why the running machine did not take it, else empty.
    """

    defined: bool
    plugged: bool
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network of a hypervisor's that nodes are on, with its bridge; `uuid` is the network's.

    `spanning` is whether the bridge takes part in the spanning tree protocol, by its definition; `members` are the
    names of all running guests on it, as their hypervisor calls them.
    """

    network: str
    uuid: str
    device: str
    spanning: bool
    members: tuple[str, ...]
