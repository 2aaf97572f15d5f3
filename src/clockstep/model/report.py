"""What commands print that look at clocks or step them."""

from dataclasses import dataclass

from clockstep.model.clock import Episode, HostClock, Summary
from clockstep.model.cluster import ClusterState


@dataclass(frozen=True, slots=True)
class Report:
    """What `status` and `step` print; `cluster` is what the Kubernetes cluster was after a `step`, if one was named."""

    host: HostClock
    episodes: tuple[Episode, ...]
    summary: Summary | None = None
    cluster: ClusterState | None = None
    schema_version: int = 2
