"""Workloads that are frozen for a snapshot."""

from dataclasses import dataclass
from enum import Enum

from clockstep.model.clock import Trouble


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the container runtime knows it; `static` is one that the kubelet runs from a file."""

    namespace: str
    name: str
    uid: str
    static: bool = False


@dataclass(frozen=True, slots=True)
class Workloads:
    """What a node has that could be frozen; all cgroups are below the root of cgroups, by their paths.

    `unified` is whether it has cgroup v2, `cgroups` those that were asked about and are there, `pod_cgroups` those of
    pods. `static_pods` is how many files the kubelet runs static pods from, `kubelet_pods` how many pods it keeps;
    `pods` is None where no runtime tells.
    """

    unified: bool
    cgroups: tuple[str, ...] = ()
    pod_cgroups: tuple[str, ...] = ()
    static_pods: int = 0
    kubelet_pods: int = 0
    pods: tuple[Pod, ...] | None = None


class Thaw(Enum):
    """What became of workloads that were frozen: thawed with a proven clock, frozen still, or running."""

    PROVEN = "thawed"
    FROZEN = "frozen"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A node's workloads that were frozen, the pods that were `left_out`, and for how long they were frozen."""

    node: str
    cgroups: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    still_ns: int | None = None
    thaw: Thaw = Thaw.FROZEN
    trouble: Trouble | None = None
