"""How the objects of a cluster belong together, and what may be restarted. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from clockstep.core.certificates import is_valid
from clockstep.model import Act, Broken, Certificate, Deed, KubeNode, KubeRef
from clockstep.model.damage import Endpoint, Input, KubePod, KubeService, KubeWorkload, Seen
from clockstep.units import MINUTE_NS, SECOND_NS, show_duration, show_moment

RESTARTED = ("Deployment", "StatefulSet", "DaemonSet")
"""What kubectl rollout restart knows."""
REMADE = (*RESTARTED, "ReplicaSet", "ReplicationController")
"""Whose pods are made again for certain. An evicted pod may fail a Job, and is a machine that dies in KubeVirt."""
SYSTEM = "kube-system"
LATELY_NS = 10 * MINUTE_NS
"""A restart that is older than that is not taken for a try to cure what began nobody knows when."""
HASH = "pod-template-hash"
"""The label by which a Deployment tells its ReplicaSets' pods apart; the ReplicaSet's name ends with it."""
AHEAD_NS = 2 * SECOND_NS
"""Moments in the future are only believed from here on: clocks of a cluster differ, and many are whole seconds."""


def lease_ahead_ns(node: KubeNode, now_ns: int) -> int:
    """Return how far in the future a Node's lease was renewed, in nanoseconds; 0 if it was not."""
    ahead_ns = 0 if node.renewed_ns is None else node.renewed_ns - now_ns
    return ahead_ns if ahead_ns > AHEAD_NS else 0


def is_silent(node: KubeNode, now_ns: int) -> bool:
    """Whether a Node is Ready although its lease has expired."""
    if node.renewed_ns is None or node.lease_ns is None or node.ready is None:
        return False
    return now_ns - node.renewed_ns > node.lease_ns and node.ready.status == "True"


def in_doubt(node: KubeNode, now_ns: int) -> bool:
    """Whether a Node's lease contradicts the reference: nothing there is cured then that is judged by the time."""
    return is_silent(node, now_ns) or lease_ahead_ns(node, now_ns) > 0


def behind(seen: Seen, service: KubeRef) -> tuple[KubePod, ...]:
    """Return the pods that a Service leads to; none if it has no selector, or is gone."""
    selector = next((one.selector for one in seen.services if one.ref == service), {})
    if not selector:
        return ()
    return tuple(pod for pod in seen.pods if pod.ref.namespace == service.namespace and _fits(pod.labels, selector))


def _fits(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def service_of(seen: Seen, ref: KubeRef) -> KubeService | None:
    """Return a Service; None if there is none of that name."""
    return next((one for one in seen.services if one.ref == ref), None)


def called(seen: Seen) -> Iterator[Endpoint]:
    """Give all that the API server calls."""
    yield from seen.webhooks
    yield from seen.apiservices


def workload_of(seen: Seen, pod: KubePod) -> KubeWorkload | None:
    """Return what keeps a pod and can be restarted: a ReplicaSet's Deployment, by the name that it gives it."""
    owner = pod.owner
    if owner is None:
        return None
    if owner.kind == "ReplicaSet" and (suffix := pod.labels.get(HASH)):
        owner = KubeRef("Deployment", owner.name.removesuffix(f"-{suffix}"), owner.namespace)
    return next((one for one in seen.workloads if one.ref == owner), None)


def restart(seen: Seen, broken: Broken, pods: tuple[KubePod, ...]) -> Act | str:
    """Return the restart of the workload that these pods are of, or why there is none."""
    if not pods:
        return "no pod stands behind it"
    found = [workload_of(seen, pod) for pod in pods]
    workload = found[0]
    if workload is None or workload.ref.kind not in RESTARTED or workload.owner is not None:
        return f"{pods[0].ref} is not kept by a Deployment, StatefulSet or DaemonSet alone"
    if any(one is None or one.ref != workload.ref for one in found):
        return "pods of several workloads stand behind it"
    return _left(workload) or _once(workload, broken, seen.now_ns)


def _left(workload: KubeWorkload) -> str:
    """Return why a workload is left alone; nothing if it is not."""
    if workload.ref.namespace == SYSTEM:
        return f"{workload.ref} is in {SYSTEM}, where clockstep restarts only the network's pods"
    if workload.paused:
        return f"{workload.ref} is paused"
    return ""


def _once(workload: KubeWorkload, broken: Broken, now_ns: int) -> Act | str:
    """Return a restart, unless there was one for the same reason: then that is waited for, or did not help."""
    act = Act(Deed.RESTART, workload.ref, broken.code, workload.uid)
    begin_ns = now_ns - LATELY_NS if broken.since_ns is None else broken.since_ns
    if workload.restarted_ns is None or workload.restarted_ns < begin_ns:
        return act
    if workload.settled:
        return f"it was restarted at {show_moment(workload.restarted_ns)}, which did not help"
    return replace(act, begun=True)


def renew(seen: Seen, broken: Broken, pod: KubePod | None, waits_ns: int) -> Act | str:
    """Return the eviction of a pod whose node keeps one, unless it was made again lately, or since the damage was seen.

    `waits_ns` is how long it takes until one sees whether a new pod has helped.
    """
    since_ns = min(seen.now_ns - LATELY_NS, broken.since_ns or seen.now_ns)
    if pod is None or pod.created_ns is None or pod.created_ns < since_ns:
        return evict(seen, broken, pod)
    if seen.now_ns - pod.created_ns > waits_ns:
        return f"it was made again at {show_moment(pod.created_ns)}, which did not help"
    return Act(Deed.EVICT, pod.ref, broken.code, pod.uid, begun=True)


def evict(seen: Seen, broken: Broken, pod: KubePod | None) -> Act | str:
    """Return the eviction of a pod that is made again, or why there is none."""
    if pod is None:
        return "the pod is not known"
    return _unmade(pod) or _paused(seen, pod) or Act(Deed.EVICT, pod.ref, broken.code, pod.uid, pod.deleting)


def _unmade(pod: KubePod) -> str:
    """Return why a pod may not be made again; nothing if it is."""
    if pod.mirror:
        return "it is a static pod: its node's kubelet alone restarts it"
    if pod.owner is None:
        return "nobody would make this pod again"
    return "" if pod.owner.kind in REMADE else f"{pod.owner} may not make this pod again"


def _paused(seen: Seen, pod: KubePod) -> str:
    """Return that a pod's workload is paused, or that this is not known; a Deployment alone can be."""
    if pod.owner is None or pod.owner.kind != "ReplicaSet":
        return ""
    if why := seen.unread.get(Input.WORKLOADS):
        return f"it is not known whether its workload is paused: {why.why}"
    workload = workload_of(seen, pod)
    return f"{workload.ref} is paused" if workload and workload.paused else ""


def lapse(certificate: Certificate, at_ns: int) -> str:
    """Say how a certificate is not valid at that moment; nothing if it is."""
    if is_valid(certificate, at_ns):
        return ""
    if certificate.not_before_ns > at_ns:
        return f"not valid for another {show_duration(certificate.not_before_ns - at_ns)}"
    return f"expired {show_duration(at_ns - (certificate.not_after_ns or at_ns))} ago"


def dates(certificate: Certificate) -> str:
    """Say from when to when a certificate is valid, and whose it is."""
    until = "" if certificate.not_after_ns is None else f", notAfter {show_moment(certificate.not_after_ns)}"
    return f"{certificate.subject or 'no name'}: notBefore {show_moment(certificate.not_before_ns)}{until}"


def since(certificate: Certificate, at_ns: int) -> int | None:
    """Return since when a certificate is not valid any more; None of one that is not yet."""
    return certificate.not_after_ns if certificate.not_before_ns <= at_ns else None


def lapsed_files(code: str, seen: Seen, cure: Callable[[Certificate, str], str], risk: str = "") -> Iterator[Broken]:
    """Give the certificates in files of nodes that are not valid now; those for which there is no `cure` are others'.

    `cure` is of a certificate and the name of its node.
    """
    for node in seen.files:
        for one in node.certificates:
            if (command := cure(one, node.node)) and not is_valid(one, seen.now_ns):
                text, began_ns = f"{one.path}: {lapse(one, seen.now_ns)}", since(one, seen.now_ns)
                yield Broken(code, KubeRef("Node", node.node), text, dates(one), command, risk, began_ns, one.path)


def unread_files(seen: Seen) -> Iterator[str]:
    """Say of which nodes the files could not be read."""
    return (f"{node}: {why}" for node, why in seen.unread_files.items())
