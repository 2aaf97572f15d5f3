"""Containers that are stuck after a backward step.

kubernetes #134153 (open), #127948, #83050: the half-made container holds the name, and one that was "created in the
future" sorts before the next. The kubelet promises no support of time that shifts (#134204). A new pod has new names.
"""

from collections.abc import Iterator
from shlex import quote

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import delete_pod
from clockstep.core.aftermath.objects import AHEAD_NS, evict
from clockstep.model import Act, Broken
from clockstep.model.damage import Input, KubePod, Seen
from clockstep.units import SECOND_NS, show_duration, show_moment

CODE = "CS-STUCK"
REASON, RESERVED = "CreateContainerError", "is reserved for"
STATIC = "on its node: crictl ps -a --name {name}, crictl rm the one that never started; then systemctl restart kubelet"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the pods with a container that cannot be made, or was started in the future."""
    for pod in seen.pods:
        if not pod.deleting and (found := _reserved(pod) or _ahead(pod, seen.now_ns)):
            text, evidence = found
            yield Broken(CODE, pod.ref, text, evidence, _cure(pod), "" if pod.mirror else "its containers start again")


def _reserved(pod: KubePod) -> tuple[str, str] | None:
    for one in pod.waiting:
        if one.reason == REASON and RESERVED in one.message:
            return f"its container {one.container} cannot be made: an older one holds its name", one.message
    return None


def _ahead(pod: KubePod, now_ns: int) -> tuple[str, str] | None:
    if pod.started_ns is None or pod.started_ns - now_ns <= AHEAD_NS:
        return None
    ahead = show_duration(pod.started_ns - now_ns)
    return f"a container of it was started {ahead} in the future", f"startedAt {show_moment(pod.started_ns)}"


def _cure(pod: KubePod) -> str:
    if pod.mirror:
        return STATIC.format(name=quote(pod.ref.name.removesuffix(f"-{pod.node}")))
    if pod.owner is None:
        return "make it again yourself: nobody else would"
    return delete_pod(pod.ref)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Have the pod made again."""
    return evict(seen, broken, next((pod for pod in seen.pods if pod.ref == broken.on), None))


CHECK = Check(
    CODE,
    "Stuck containers",
    find,
    (Input.PODS,),
    for_cure=(Input.WORKLOADS,),
    after=("CS-CLOCK",),
    patience_ns=20 * SECOND_NS,
)
REMEDY = Remedy(CODE, plan)
