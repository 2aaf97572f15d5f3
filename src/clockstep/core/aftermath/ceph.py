"""Ceph's monitors and their clocks, as Rook has it in the status of a CephCluster.

Monitors may differ by 0.05 s (mon_clock_drift_allowed). They compare each 30 s while they do (docs.ceph.com,
mon_timecheck_skew_interval), and Rook copies the health each 60 s: within some 2 min all is seen to be well. What
stays is healed by a restart of the monitors that are named (rook #2286, #4875, #13465), one at a time.
"""

import re
from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import delete_pod
from clockstep.core.aftermath.objects import renew
from clockstep.model import Act, Broken
from clockstep.model.damage import Ceph, Input, KubePod, Seen
from clockstep.units import SECOND_NS

CODE = "CS-CEPH"
SKEW = "MON_CLOCK_SKEW"
FOLLOWING = ("MON_DOWN", "OSD_DOWN", "PG_AVAILABILITY", "PG_DEGRADED", "SLOW_OPS")
"""What monitors without a quorum, or with a lapsed lease, bring about."""
MONITOR = re.compile(r"mon\.([a-z0-9-]{1,63})")
APP, NAME = "rook-ceph-mon", "mon"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the monitors that are named for their clocks, and what else time may have broken in Ceph."""
    for cluster in seen.ceph:
        if SKEW in cluster.details:
            yield from _skewed(seen, cluster)
        for check in FOLLOWING:
            if check in cluster.details:
                text, cure = f"Ceph reports {check}", "wait; then as Ceph's documentation of that health check says"
                yield Broken(CODE, cluster.ref, text, cluster.details[check], cure, part=check)


def _skewed(seen: Seen, cluster: Ceph) -> Iterator[Broken]:
    message = cluster.details[SKEW]
    pods = monitors(seen, cluster.ref.namespace)
    for name in sorted(set(MONITOR.findall(message))) or [""]:
        pod = pods.get(name)
        cure = delete_pod(pod.ref) if pod else "restart the monitors"
        risk = "the monitors keep their quorum while the others run: one at a time"
        text = f"Ceph takes the clock of mon.{name} to be off" if name else "Ceph takes its monitors' clocks to differ"
        yield Broken(CODE, cluster.ref, text, message, cure, risk, part=name)


def monitors(seen: Seen, namespace: str) -> dict[str, KubePod]:
    """Return the pods of monitors, by the monitors' names."""
    pods = (pod for pod in seen.pods if pod.ref.namespace == namespace and pod.labels.get("app") == APP)
    return {pod.labels.get(NAME, ""): pod for pod in pods if not pod.deleting}


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Have a monitor made again, while all others are ready: more than half of them have to be."""
    pods = monitors(seen, broken.on.namespace)
    if broken.part not in pods:
        return "Ceph heals that itself, or it is not of time"
    others = [pod for name, pod in pods.items() if name != broken.part]
    if len(others) < 2 or not all(pod.ready for pod in others):
        return "the other monitors are not all ready, so the quorum would be lost"
    return renew(seen, broken, pods[broken.part], 150 * SECOND_NS)


CHECK = Check(CODE, "Ceph", find, (Input.CEPH, Input.PODS), after=("CS-CLOCK",), patience_ns=120 * SECOND_NS)
REMEDY = Remedy(CODE, plan)
