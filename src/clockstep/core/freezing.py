"""Which workloads of a node are frozen before a snapshot, and which are left to run. Pure.

A control plane that stands still loses its leader elections, and the node's own pods serve the others: static pods and
the namespace kube-system run on. The kubelet calls a pod's cgroup by its UID
(https://github.com/kubernetes/kubernetes, pkg/kubelet/cm/pod_container_manager_linux.go).
"""

import re
from collections.abc import Sequence

from clockstep.errors import ClockstepError, UsageError
from clockstep.model import Pod, Workloads

DEFAULT = ("kubepods.slice", "kubepods")
"""Where the kubelet keeps all pods, by its systemd and by its cgroupfs driver."""
SYSTEM = "kube-system"
POD = re.compile(r"[/-]pod(?P<uid>[0-9a-f_-]+)(\.slice)?$", re.ASCII)
TELLING = "install crictl there, for the runtime that the kubelet uses, or name the cgroups to freeze"


def choose(found: Workloads, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the cgroups to freeze, below the root of cgroups; none where there is nothing to freeze.

    `wanted` is taken as it is. Raises UsageError where one of these is not there or the system has no cgroup v2, and
    ClockstepError where pods that must run on cannot be told apart.
    """
    if not found.unified:
        text = "it has no cgroup v2, so nothing can be frozen"
        raise UsageError(text, "boot it with cgroup v2, or leave out --freeze")
    if missing := [cgroup for cgroup in wanted if cgroup not in found.cgroups]:
        raise UsageError(f"it has no cgroup {', '.join(missing)}", "name those that are below /sys/fs/cgroup there")
    there = [cgroup for cgroup in wanted or DEFAULT if cgroup in found.cgroups]
    if wanted or not there:
        return tuple(there)
    top = there[0]
    if found.kubelet_pods and not found.pods:
        raise ClockstepError(f"{found.kubelet_pods} pods run there, and neither crictl nor ctr tells which", TELLING)
    if found.static_pods and not any(pod.static for pod in found.pods or ()):
        text = f"it has {found.static_pods} static pods, and neither crictl nor ctr tells which they are"
        raise ClockstepError(text, TELLING)
    if not found.pods or not any(_runs_on(pod) for pod in found.pods):
        return (top,)
    frozen = {uid_in_path(pod.uid) for pod in found.pods if not _runs_on(pod)}
    return tuple(path for path in found.pod_cgroups if path.startswith(f"{top}/") and pod_of(path) in frozen)


def left_out(found: Workloads, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the pods that run on while the chosen cgroups are frozen, as namespace/name, or by their cgroup."""
    pods = {uid_in_path(pod.uid): pod for pod in found.pods or ()}
    if any(cgroup in DEFAULT for cgroup in chosen) or not pods:
        return ()
    unknown = [path for path in found.pod_cgroups if pod_of(path) and pod_of(path) not in pods and path not in chosen]
    return tuple(sorted([*(f"{pod.namespace}/{pod.name}" for pod in pods.values() if _runs_on(pod)), *unknown]))


def pod_of(path: str) -> str:
    """Return the pod's UID in the path of its cgroup, with dashes; empty where it is none."""
    found = POD.search(path)
    return uid_in_path(found["uid"]) if found else ""


def uid_in_path(uid: str) -> str:
    """Return a UID in one form: the systemd driver writes its dashes as underscores."""
    return uid.replace("_", "-")


def _runs_on(pod: Pod) -> bool:
    return pod.static or pod.namespace == SYSTEM
