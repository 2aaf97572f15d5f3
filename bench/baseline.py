"""How long each of today's methods takes to bring reverted guests right, judged by the lab's witness.

    bench/baseline.py [--runs N] [--age SECONDS] [--quick]

Guests run Debian's chronyd at its default poll. A method that never gets there is cut off after 60 s; waiting for
`makestep 1 -1` gets 7 minutes and one run.
"""

import argparse
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from harness import Cluster, Results, Run, cluster

CUT_OFF_S = 60.0
WAITING_CUT_OFF_S = 420.0
EXPERT = "chronyc -m 'reset sources' 'burst 4/4' 'makestep 0.001 3'"
# a chronyd that has run for long knows its clock's frequency; a fresh one makes it up from its first samples
INSTALL = "apt-get -qq update && apt-get -qq -y install chrony && echo 0.0 0.1 > /var/lib/chrony/chrony.drift"
MAKESTEP_ALWAYS = "echo 'makestep 1 -1' > /etc/chrony/conf.d/makestep.conf"


@dataclass(frozen=True)
class Method:
    """One of today's ways; `prepare` is a command run in each guest before the snapshot."""

    name: str
    act: Callable[[Cluster], object]
    cut_off_s: float = CUT_OFF_S
    prepare: str = ""


def set_time(cluster: Cluster, name: str) -> None:
    """guest-set-time with this machine's nanoseconds, once the agent answers."""
    domain = cluster.domain(name)
    domain.agentSetResponseTimeout(5)
    while not agent_answers(domain):
        time.sleep(0.01)
    now_ns = time.time_ns()
    domain.setTime({"seconds": now_ns // 10**9, "nseconds": now_ns % 10**9})


def agent_answers(domain: object) -> bool:
    import libvirt

    try:
        domain.getTime()  # type: ignore[attr-defined]
    except libvirt.libvirtError:
        return False
    return True


def domtime(cluster: Cluster, name: str) -> None:
    """`virsh domtime --now`, again until it is accepted: right after a revert the agent is not yet connected."""
    command = ["virsh", "-q", "-c", cluster.lab.uri, "domtime", name, "--now"]
    while subprocess.run(command, capture_output=True, check=False).returncode:
        time.sleep(0.05)


METHODS = [
    Method("ssh, chronyc makestep, one by one", lambda c: c.one_by_one(lambda n: c.ssh(n, "chronyc makestep"))),
    Method("virsh domtime --now, one by one", lambda c: c.one_by_one(lambda n: domtime(c, n))),
    Method("ssh, reset burst makestep, side by side", lambda c: c.side_by_side(lambda n: c.ssh(n, EXPERT))),
    Method("libvirt set-time in ns, side by side", lambda c: c.side_by_side(lambda n: set_time(c, n))),
    Method("makestep 1 -1 in chrony.conf, waiting", lambda _: None, WAITING_CUT_OFF_S, MAKESTEP_ALWAYS),
]


def measure(results: Results, guests: str, cluster: Cluster, method: Method, runs: int, age_s: float) -> None:
    """Measure one method on one kind of guests."""
    if method.prepare:
        cluster.one_by_one(lambda name: cluster.ssh(name, method.prepare))
    cluster.snapshot(age_s, steps_left=bool(method.prepare))
    count = 1 if method.cut_off_s > CUT_OFF_S else runs
    done: list[Run] = [cluster.run(method.act, method.cut_off_s) for _ in range(count)]
    results.add(method.name, f"{guests}: 10 ms", [run.within_10ms_s for run in done])
    results.add(method.name, f"{guests}: 1 ms, in sync", [run.synced_s for run in done])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each method (default 3)")
    parser.add_argument("--age", type=float, default=60, help="the snapshot's least age in seconds (default 60)")
    parser.add_argument("--quick", action="store_true", help="leave out waiting for makestep 1 -1, and the full guest")
    options = parser.parse_args()
    methods = [method for method in METHODS if not (options.quick and method.cut_off_s > CUT_OFF_S)]
    results = Results("baseline")
    results.head()
    kinds = [("three minimal", 3, "minimal", "")]
    if not options.quick:
        kinds.append(("one full", 1, "debian-12", INSTALL))
    for guests, count, image, install in kinds:
        with cluster(f"bench{os.getpid()}", count, image) as machines:
            if install:
                machines.one_by_one(partial(machines.ssh, command=install, seconds=600))
            for method in methods:
                measure(results, guests, machines, method, options.runs, options.age)
    results.write(whole=not options.quick)


if __name__ == "__main__":
    main()
