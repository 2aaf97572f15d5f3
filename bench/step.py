"""How long `clockstep step` takes to bring reverted guests right, beside what people do without it, in one run.

    bench/step.py [--runs N] [--age SECONDS]

Guests run Debian's chronyd at its default poll, are made late by a revert, and answer before a method begins, with a
second to end what the question has started. The witness judges by echoes; its stream of stamps is stopped. Methods take
turns, so that what else the machine does falls on all of them alike; one that has not brought the guests right twice is
not tried again.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from baseline import EXPERT, INSTALL, domtime, set_time
from clockstep.flows.step import ASKED
from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference
from clockstep.loop.prove import prove
from clockstep.loop.run import begin
from clockstep.loop.settle import settle
from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.model import Episode, Policy
from clockstep.ports import Node, Ways
from harness import Cluster, Results, Run, cluster, median

CUT_OFF_S = 30.0
TRIES = 2
OURS = "clockstep step"
OTHERS: dict[str, Callable[[Cluster], object]] = {
    "ssh, chronyc makestep, one by one": lambda c: c.one_by_one(lambda n: c.ssh(n, "chronyc makestep")),
    "virsh domtime --now, one by one": lambda c: c.one_by_one(lambda n: domtime(c, n)),
    "ssh, reset burst makestep, side by side": lambda c: c.side_by_side(lambda n: c.ssh(n, EXPERT)),
    "libvirt set-time in ns, side by side": lambda c: c.side_by_side(lambda n: set_time(c, n)),
}
Judged = tuple[Run, float]
"""A run, and how long after its beginning clockstep read the first clock."""


def step(machines: Cluster) -> Judged:
    """One `clockstep step --all`, judged from its call on."""
    told: list[str] = []

    def act() -> None:
        command = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri, "-o", "json", "step", "--all"]
        told.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)

    called_ns, called_real_ns = time.monotonic_ns(), time.time_ns()
    run = machines.judged(called_ns, act, CUT_OFF_S)
    first = min(episode["started_at_ns"] for episode in json.loads(told[0])["episodes"])
    return run, (first - called_real_ns) / 1e9


def step_over_ssh(machines: Cluster) -> Run:
    """The loop over connections that are open already, judged from its first read on."""
    clock, reference = SystemClock(), HostReference()
    ways = Ways(str(machines.lab.folder / "ssh_config"), "ssh")
    hypervisor = Libvirt(machines.lab.uri, clock, reference, ways)
    nodes = [Node(guest.name, hypervisor.reach(guest)) for guest in hypervisor.guests()]
    try:
        for node in nodes:
            node.reach.clock()

        def correct(node: Node) -> Episode:
            run = begin(node, ASKED, Policy(), clock, reference)
            prove(run)
            return settle(run)

        def act() -> None:
            with ThreadPoolExecutor(len(nodes)) as threads:
                list(threads.map(correct, nodes))

        return machines.judged(time.monotonic_ns(), act, CUT_OFF_S)
    finally:
        for node in nodes:
            node.reach.close()


def minimal(results: Results, machines: Cluster, runs: int, age_s: float) -> None:
    """Three minimal guests: ours, the others, and ours over ssh."""
    machines.hush()
    machines.snapshot(age_s)
    ours: list[Judged] = []
    others: dict[str, list[Run]] = {name: [] for name in OTHERS}
    by_ssh: list[Run] = []
    for _ in range(runs):
        machines.back_and_answering()
        ours.append(step(machines))
        for name, act in OTHERS.items():
            if len(others[name]) < TRIES or others[name][0].synced_s or others[name][1].synced_s:
                machines.back_and_answering()
                others[name].append(machines.judged(time.monotonic_ns(), partial(act, machines), CUT_OFF_S))
        machines.back_and_answering()
        by_ssh.append(step_over_ssh(machines))
    called = [run for run, _ in ours]
    from_first_read = [since(run.within_10ms_s, first) for run, first in ours]
    synced = [since(run.synced_s, first) for run, first in ours]
    results.add(f"{OURS}, from its first read", "three minimal: 10 ms", from_first_read)
    results.add(f"{OURS}, from its first read", "three: 1 ms, in sync", synced)
    for name, done in {OURS: called, **others, f"{OURS}, ssh, open connection": by_ssh}.items():
        results.add(name, "three minimal: 10 ms", [run.within_10ms_s for run in done])
        results.add(name, "three: 1 ms, in sync", [run.synced_s for run in done])
    results.goal("minimal_10ms_s", median(from_first_read), 0.5)
    results.goal("minimal_1ms_synced_s", median(synced), 6)
    best = min(filter(None, (honest(done) for done in others.values())), default=None)
    mine = median([run.within_10ms_s for run in called])
    results.goal("speedup_10ms", best / mine if best and mine else None, 8, at_least=True)
    results.goal("ssh_10ms_s", median([run.within_10ms_s for run in by_ssh]), 0.7)


def since(seconds: float | None, first: float) -> float | None:
    return None if seconds is None else seconds - first


def honest(done: list[Run]) -> float | None:
    """A method's time to 10 ms, where it also ends within 1 ms with its daemon in sync."""
    return median([run.within_10ms_s for run in done]) if median([run.synced_s for run in done]) else None


def full(results: Results, machines: Cluster, runs: int, age_s: float) -> None:
    """One full Debian guest."""
    machines.one_by_one(lambda name: machines.ssh(name, INSTALL, 600))
    machines.hush()
    machines.snapshot(age_s)
    done: list[Judged] = []
    for _ in range(runs):
        machines.back_and_answering()
        done.append(step(machines))
    times = [since(run.within_10ms_s, first) for run, first in done]
    results.add(f"{OURS}, from its first read", "one full: 10 ms", times)
    results.add(f"{OURS}, from its first read", "one full: 1 ms, in sync", [since(r.synced_s, f) for r, f in done])
    results.goal("full_10ms_s", median(times), 1.2)


def commands(results: Results, machines: Cluster, runs: int) -> None:
    """What the commands themselves cost."""
    program = str(Path(sysconfig.get_path("scripts")) / "clockstep")
    pairs = [
        (took(program, "--version"), took(sys.executable, "-c", "pass"), took(program, "-h")) for _ in range(3 * runs)
    ]
    ratios = [version / bare for version, bare, _ in pairs]
    results.add("clockstep --version / python3 -c pass", "ratio", ratios, "")
    results.add("clockstep --help / python3 -c pass", "ratio", [whole / bare for _, bare, whole in pairs], "")
    results.goal("version_ratio", median(ratios), 2.5)
    statuses = [took(program, "--connect", machines.lab.uri, "status") for _ in range(runs)]
    results.add("clockstep status", "three minimal", statuses)
    results.goal("status_s", median(statuses), 0.6)


def took(*command: str) -> float:
    began = time.monotonic()
    subprocess.run(command, capture_output=True, check=False)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="runs of each method (default 7)")
    parser.add_argument("--age", type=float, default=60, help="the snapshot's least age in seconds (default 60)")
    options = parser.parse_args()
    results = Results("step")
    results.head()
    with cluster(f"bench{os.getpid()}", 3, "minimal") as machines:
        machines.snapshot(0)
        commands(results, machines, options.runs)
        minimal(results, machines, options.runs, options.age)
    with cluster(f"bench{os.getpid()}", 1, "debian-12") as machines:
        full(results, machines, options.runs, options.age)
    results.write()


if __name__ == "__main__":
    main()
