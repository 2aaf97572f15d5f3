"""What a wrong time has broken in a cluster, what would cure it, and what was done about it."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.clock import Trouble
from clockstep.model.kubernetes import KubeRef


@dataclass(frozen=True, slots=True)
class Broken:
    """One thing that is broken: what, of which object, since when, and by what one sees it.

    `cure` is the smallest one, as something to do, and `risk` what it costs meanwhile. `since_ns` is when it began, by
    what the evidence says; None if that does not say. `part` tells several of one object apart, as Ceph's monitors.
    `heals_ns` is when it will have healed by itself, if that is known; `lasting` is whether only a cure heals it.
    """

    code: str
    on: KubeRef
    text: str
    evidence: str
    cure: str
    risk: str = ""
    since_ns: int | None = None
    part: str = ""
    heals_ns: int | None = None
    lasting: bool = False

    @property
    def key(self) -> tuple[str, KubeRef, str]:
        """What it stays the same by from one look to the next, whatever its text says."""
        return self.code, self.on, self.part


class State(Enum):
    """What a check came to."""

    CLEAN = "clean"
    BROKEN = "broken"
    ABSENT = "absent"
    NOT_LOOKED = "not-looked"


@dataclass(frozen=True, slots=True)
class Looked:
    """What one check came to; `why` says why it did not look, and `waited_ns` for how long it waited."""

    code: str
    title: str
    state: State
    why: str = ""
    waited_ns: int = 0
    broken: tuple[Broken, ...] = ()


class Deed(Enum):
    """What a remedy does to an object: each is one call to the API server, or one command on a node."""

    RESTART = "restart"
    EVICT = "evict"
    RENEW = "renew"
    APPROVE = "approve"
    RESTART_KUBELET = "restart-kubelet"


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a remedy does, to which object, and what for; `uid` is that object's.

    `begun` is whether it was done already, by a run that was interrupted perhaps, and only has to be waited for.
    `mark` is what a node notes it by, so that it is done once; empty for what is done to the cluster alone.
    """

    deed: Deed
    on: KubeRef
    code: str
    uid: str = ""
    begun: bool = False
    mark: str = ""


class Healed(Enum):
    """What became of a finding that was to be repaired."""

    HEALED = "healed"
    NOT_HEALED = "not-healed"
    SKIPPED = "skipped"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about one finding, and what a second look of the same check said. `why` is why nothing was."""

    broken: Broken
    outcome: Healed
    act: Act | None = None
    why: str = ""
    at_ns: int | None = None
    proven_ns: int | None = None


@dataclass(frozen=True, slots=True)
class AftermathReport:
    """What `aftermath` prints, in the order in which one repairs.

    `trouble` is why it ended early, at the end of another command, which has a result of its own; else it is an error.
    """

    at_ns: int
    checks: tuple[Looked, ...]
    repairs: tuple[Repair, ...] = ()
    trouble: Trouble | None = None
    schema_version: int = 2
