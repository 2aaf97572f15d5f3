"""How long a whole revert or snapshot leaves clocks wrong or nodes still, beside what people do without clockstep.

    bench/revert.py [--runs N] [--age SECONDS] [--quick]

Guests run Debian's chronyd at its default poll. Times are from the last resume, by the witness, which hears a guest
again as soon as its new QEMU is there. Other methods revert the same way, and act as soon as the guest lets them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from typing import Any

from baseline import EXPERT, INSTALL, Method, domtime
from harness import MILLISECOND_NS, SNAPSHOT, Cluster, Results, Resumes, Run, cluster, median

CUT_OFF_S = 30.0
TRIES = 2
OURS = "clockstep revert"
OTHERS = [
    Method("ssh, reset burst makestep, side by side", lambda c: c.side_by_side(lambda n: c.ssh(n, EXPERT))),
    Method("virsh domtime --now, one by one", lambda c: c.one_by_one(lambda n: domtime(c, n))),
]


def clockstep(machines: Cluster, *words: str) -> Any:
    """Run a command with -o json and return its report."""
    command = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri, "-o", "json", *words]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)


def revert(machines: Cluster, resumes: Resumes) -> Run:
    """One `clockstep revert`, judged from the last resume."""
    resumes.at_ns.clear()
    began = time.monotonic_ns()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "clockstep",
            "--connect",
            machines.lab.uri,
            "-o",
            "json",
            "revert",
            SNAPSHOT,
            "--yes",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(resumes.at_ns) < len(machines.names):
        if time.monotonic_ns() - began > 120e9:
            raise RuntimeError("the guests were not resumed")
        time.sleep(0.005)
    return machines.judged(resumes.last(), process.wait, CUT_OFF_S)


def reverts(results: Results, machines: Cluster, what: str, runs: int, age_s: float, others: list[Method]) -> list[Run]:
    """Reverts by clockstep and by other methods, in turns."""
    machines.snapshot(age_s, take=lambda: clockstep(machines, "snapshot", "create", SNAPSHOT, "--all"))
    resumes = Resumes(machines)
    ours: list[Run] = []
    theirs: dict[str, list[Run]] = {method.name: [] for method in others}
    for _ in range(runs):
        ours.append(revert(machines, resumes))
        for method in others:
            done = theirs[method.name]
            if len(done) < TRIES or any(run.synced_s for run in done):
                done.append(machines.run(method.act, CUT_OFF_S))
    for name, done in {OURS: ours, **theirs}.items():
        results.add(name, f"{what}: 10 ms", [run.within_10ms_s for run in done])
        results.add(name, f"{what}: 1 ms, in sync", [run.synced_s for run in done])
    return ours


def snapshots(results: Results, machines: Cluster, runs: int) -> None:
    """How far apart the pauses of a snapshot are, by its own bound and by the witness, and how long each lasts."""
    bounds: list[float | None] = []
    spreads: list[float | None] = []
    stalls: list[float | None] = []
    for number in range(runs):
        began_ns = time.monotonic_ns()
        report = clockstep(machines, "snapshot", "create", f"bench-{number}", "--all")
        bounds.append(report["pause_spread_ns"] / MILLISECOND_NS)
        silences = [longest_silence(machines, name, began_ns) for name in machines.names]
        spreads.append((max(began for began, _ in silences) - min(began for began, _ in silences)) / MILLISECOND_NS)
        stalls.append(max(length for _, length in silences) / 1e9)
        clockstep(machines, "snapshot", "delete", f"bench-{number}", "--yes")
    results.add("clockstep snapshot create", "pauses apart, its bound", bounds, "ms")
    results.add("clockstep snapshot create", "last stamps apart", spreads, "ms")
    results.add("clockstep snapshot create", "silence of a node", stalls)
    results.goal("pause_spread_ms", median(spreads), 50)
    results.goal("snapshot_stall_s", median(stalls), 1)


def longest_silence(machines: Cluster, name: str, since_ns: int) -> tuple[int, int]:
    """When the longest time without a stamp of a guest began, and its length: it stamps every 10 ms while it runs."""
    heard = [stamp.heard_monotonic_ns for stamp in machines.witness.heard[name].since(since_ns).stamps]
    length, began = max((later - sooner, sooner) for sooner, later in pairwise(heard))
    return began, length


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="runs of each method (default 7)")
    parser.add_argument("--age", type=float, default=60, help="the snapshot's least age in seconds (default 60)")
    parser.add_argument("--quick", action="store_true", help="only three minimal guests, and no other method")
    options = parser.parse_args()
    results = Results("revert")
    results.head()
    name = f"bench{os.getpid()}"
    with cluster(name, 3, "minimal") as machines:
        others = [] if options.quick else OTHERS
        ours = reverts(results, machines, "three minimal", options.runs, options.age, others)
        results.goal("revert_10ms_s", median([run.within_10ms_s for run in ours]), 0.4)
        results.goal("revert_1ms_synced_s", median([run.synced_s for run in ours]), 6)
        snapshots(results, machines, options.runs)
    if not options.quick:
        with cluster(name, 10, "minimal") as machines:
            machines.hush()
            ours = reverts(results, machines, "ten minimal", options.runs, options.age, [])
            results.goal("ten_10ms_s", median([run.within_10ms_s for run in ours]), 1.5)
        with cluster(name, 1, "debian-12") as machines:
            machines.one_by_one(partial(machines.ssh, command=INSTALL, seconds=600))
            ours = reverts(results, machines, "one full", options.runs, options.age, [])
            results.goal("full_10ms_s", median([run.within_10ms_s for run in ours]), 1.2)
    results.write(whole=not options.quick)


if __name__ == "__main__":
    main()
