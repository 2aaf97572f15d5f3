"""Snapshots, sets of them, pauses, and what became of each node in one."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.aftermath import AftermathReport
from clockstep.model.certificates import Certificate, NodeCertificates
from clockstep.model.clock import Episode, HostClock, Summary, Trouble
from clockstep.model.cluster import ClusterState
from clockstep.model.workloads import Freeze


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of one guest. `set_id` and `members` are None where another tool made it.

    Without `memory` a guest boots after a revert to it. `external` is one whose state is in files of its own.
    `frozen` are the cgroups whose workloads are frozen in it, until they are thawed. `certificates` are those of the
    guest's Kubernetes, none where it has none; None where they were not recorded.
    """

    name: str
    created_ns: int
    set_id: str | None = None
    members: tuple[str, ...] | None = None
    memory: bool = True
    external: bool = False
    frozen: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] | None = None

    def is_same(self, other: "Snapshot") -> bool:
        """Whether this is a guest's part of the set that the other belongs to."""
        return self.set_id is not None and (self.name, self.set_id) == (other.name, other.set_id)


@dataclass(frozen=True, slots=True)
class Pause:
    """A guest that clockstep has paused and not yet resumed, as it is written down.

    `operation` is `pause`, `snapshot` or `revert`; the last two are of `snapshot`. `clock_ns` is about what its clock
    says: the time of the pause, or that of the snapshot. `released` is whether it may run on whatever became of the
    others: after a revert only once all were reverted. `connection` is where it runs; None where that was not noted.
    """

    uuid: str
    node: str
    operation: str
    at_ns: int
    clock_ns: int
    snapshot: Snapshot | None = None
    released: bool = True
    connection: str | None = None

    @property
    def text(self) -> str:
        """What it was paused for, in words."""
        name = f" {self.snapshot.name!r}" if self.snapshot else ""
        return {"snapshot": f"the snapshot{name}", "revert": f"the revert to{name}"}.get(
            self.operation, "clockstep pause"
        )


class Outcome(Enum):
    """What a snapshot, a revert, a pause or a resume came to for one node."""

    TAKEN = "taken"
    NOT_TAKEN = "not-taken"
    DELETED = "deleted"
    NOT_DELETED = "not-deleted"
    REVERTED = "reverted"
    HELD = "held"
    NOT_REVERTED = "not-reverted"
    PAUSED = "paused"
    NOT_PAUSED = "not-paused"
    RESUMED = "resumed"
    NOT_RESUMED = "not-resumed"
    THAWED = "thawed"
    NOTHING_FROZEN = "nothing-frozen"
    NOT_THAWED = "not-thawed"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Member:
    """One node's part in a snapshot or a revert, and what went wrong with it."""

    node: str
    outcome: Outcome
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class SetReport:
    """What `snapshot create` and `delete`, `revert`, `pause` and `resume` print.

    `complete` says whether every member took part; only then were the members of a revert resumed. `pause_spread_ns`
    bounds how far apart the members were paused, `stalled_ns` for how long at most each was paused for its snapshot.
    `freezes` are of the nodes whose workloads were frozen. `lapsed` are the certificates that a revert brings back and
    that are not valid now. `cluster` is what the Kubernetes cluster was afterwards; None if none was named.
    `aftermath` is what the wrong time had broken in it; None if that was not asked for.
    """

    host: HostClock
    snapshot: Snapshot | None
    complete: bool
    members: tuple[Member, ...]
    episodes: tuple[Episode, ...] = ()
    pause_spread_ns: int | None = None
    stalled_ns: int | None = None
    remarks: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    summary: Summary | None = None
    lapsed: tuple[NodeCertificates, ...] = ()
    cluster: ClusterState | None = None
    aftermath: AftermathReport | None = None
    schema_version: int = 2


@dataclass(frozen=True, slots=True)
class SnapshotSet:
    """The snapshots of one set, or of one name where another tool made them: who should have one, and who has.

    `certificates` are of the nodes whose snapshot has a record of them.
    """

    name: str
    set_id: str | None
    created_ns: int
    members: tuple[str, ...]
    present: tuple[str, ...]
    complete: bool
    certificates: tuple[NodeCertificates, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """What `snapshot list` prints; `unread` are the nodes whose snapshots could not be listed."""

    snapshots: tuple[SnapshotSet, ...]
    unread: tuple[Member, ...] = ()
    schema_version: int = 2
