"""What commands print that look at nodes or correct them."""

from dataclasses import dataclass

from clockstep.model.aftermath import AftermathReport
from clockstep.model.clock import Episode, HostClock, Summary, Trouble
from clockstep.model.cluster import ClusterState


@dataclass(frozen=True, slots=True)
class KubeReport:
    """What a Kubernetes cluster was asked for, beside what it says of each node.

    `machineless` are names of Nodes that no machine of these connections is; `doubtful` those that are matched to none
    because their UUID is that of several. `nodeless` are nodes of the command that are no Node. `trouble` is why the
    cluster could not be asked, or `lease_trouble` why its leases could not be read.
    """

    machineless: tuple[str, ...] = ()
    nodeless: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    trouble: Trouble | None = None
    lease_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What `status` and `step` print; `kubernetes` is None if no Kubernetes cluster was asked for a `status`.

    `cluster` is what the Kubernetes cluster was after a `step`; None if none was named, or it was not waited for.
    `aftermath` is what the wrong time had broken; None if that was not asked for.
    """

    host: HostClock
    episodes: tuple[Episode, ...]
    summary: Summary | None = None
    kubernetes: KubeReport | None = None
    cluster: ClusterState | None = None
    aftermath: AftermathReport | None = None
    schema_version: int = 2
