"""How long a node that was reverted is wrong when its own agent corrects it, beside chronyd alone.

    bench/agent.py [--runs N] [--quick]

One whole Debian 13 under libvirt with a VM generation ID, without a clock of its hypervisor's: the agent goes by what
chronyd's sources say, after the kernel's line that the machine was forked. It is reverted to half a minute before, by
libvirt alone; nobody does anything to it from outside, and the witness judges from the resume on. chronyd alone is
waited for once for each configuration, for ten minutes at most.
"""

import argparse
import os
import subprocess
import sys

from baseline import INSTALL
from clockstep.core.agent_unit import UNIT
from harness import Cluster, Results, cluster, median

CUT_OFF_S, SLOW_S, AGE_S = 60.0, 600.0, 30.0
STEPS = "sed -i 's/^makestep .*/makestep 1 {}/' /etc/chrony/chrony.conf"
PEAK = f"grep ^VmHWM: /proc/$(systemctl show --value --property MainPID {UNIT})/status"


def nothing(_machines: Cluster) -> None:
    """What is done from outside."""


def setup(machines: Cluster, verb: str) -> None:
    """Bring the agent to the guest, or remove it."""
    words = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri, "setup", verb, "--agent", "--yes"]
    subprocess.run([*words, *machines.names, "--deadline", "90s"], stdout=subprocess.DEVNULL, check=True)


def alone(results: Results, machines: Cluster, label: str, *, steps_left: bool = False) -> None:
    """Measure chronyd without an agent, once."""
    machines.snapshot(AGE_S, steps_left=steps_left)
    results.add(label, "one full: 10 ms", [machines.run(nothing, SLOW_S).within_10ms_s])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="reverts with the agent (default 7)")
    parser.add_argument("--quick", action="store_true", help="leave out chronyd alone; nothing is written")
    options = parser.parse_args()
    results = Results("agent")
    results.head()
    with cluster(f"bench{os.getpid()}", 1, "debian-13") as machines:
        (name,) = machines.names
        machines.ssh(name, INSTALL, 600)
        machines.hush()
        if not options.quick:
            alone(results, machines, "chronyd alone")
            machines.ssh(name, STEPS.format(-1))
            alone(results, machines, "chronyd alone, makestep 1 -1", steps_left=True)
            machines.ssh(name, STEPS.format(3))
        setup(machines, "apply")
        machines.snapshot(AGE_S)
        runs = [machines.run(nothing, CUT_OFF_S) for _ in range(options.runs)]
        peak_mb = int(machines.ssh(name, PEAK).split()[1]) * 1024 / 1e6
    results.add("clockstep agent", "one full: 10 ms", [run.within_10ms_s for run in runs])
    results.add("clockstep agent", "one full: 1 ms, in sync", [run.synced_s for run in runs])
    results.add("clockstep agent", "most memory", [peak_mb], "MB")
    results.goal("chrony_10ms_s", median([run.within_10ms_s for run in runs]), 6)
    results.goal("rss_mb", peak_mb, 25)
    results.write(whole=not options.quick)


if __name__ == "__main__":
    main()
