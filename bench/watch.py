"""How soon clocks are right when somebody else reverts: with the watcher, with a peer that only sweeps, with nothing.

    bench/watch.py [--rounds N] [--age SECONDS] [--part minimal|full|ten] [--quick]

Guests are reverted the way `virsh snapshot-revert` does it, to snapshots that libvirt took, with chronyd at its default
poll. With --guard, they were taken while the watcher kept a guard in each guest. Times are from the moment libvirt
tells of the resume, by the witness. The peer does what Lima does: every ten seconds it pushes this machine's time to
each guest that is off by more than 100 ms.
"""

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import libvirt

from baseline import INSTALL
from clockstep.reach.guard import FIFO
from harness import MILLISECOND_NS, SNAPSHOT, Cluster, Results, Resumes, cluster, median, pass_time, right_after

CUT_OFF_S = 30.0
LIMIT_NS = 10 * MILLISECOND_NS
PUSH_EVERY_S, PUSH_ABOVE_S = 10, 0.1
IDLE_S, SWEEP_S = 60, 10


@contextmanager
def watcher(machines: Cluster, *words: str) -> Iterator[int]:
    """`clockstep watch` of all guests; its process id."""
    command = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri, "watch", "--all", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        next(line for line in process.stderr if line.startswith("watching"))
        try:
            yield process.pid
        finally:
            process.terminate()


@contextmanager
def guarding(machines: Cluster, age_s: float) -> Iterator[int]:
    """The same with guards kept, and snapshots that have them; its process id."""
    there = f"until [ -p {FIFO} ] && [ -s {FIFO}.ready ]; do sleep 0.2; done"
    with watcher(machines, "--guard") as pid:
        machines.side_by_side(partial(machines.ssh, command=there))
        machines.snapshot(age_s)
        yield pid


@contextmanager
def sweeper(machines: Cluster) -> Iterator[None]:
    """The peer that only sweeps."""
    over = threading.Event()

    def push(name: str) -> None:
        domain = machines.domain(name)
        try:
            read = domain.getTime()
            now = time.time_ns()
            if abs(read["seconds"] + read["nseconds"] / 1e9 - now / 1e9) > PUSH_ABOVE_S:
                domain.setTime({"seconds": now // 10**9, "nseconds": now % 10**9})
        except libvirt.libvirtError:
            return  # it is being reverted just now

    def work() -> None:
        while not over.wait(PUSH_EVERY_S):
            machines.side_by_side(push)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def revert(machines: Cluster, name: str, snapshot: str = SNAPSHOT) -> None:
    """What `virsh snapshot-revert` does."""
    domain = machines.domain(name)
    domain.revertToSnapshot(domain.snapshotLookupByName(snapshot), 0)


def one_by_one(machines: Cluster, resumes: Resumes, rounds: int, *, settled: bool = False) -> list[float | None]:
    """Reverts of each guest in turn: seconds from its resume to right. `settled` waits for the daemons in between."""
    came: list[float | None] = []
    for _ in range(rounds):
        for name in machines.names:
            resumes.at_ns.clear()
            revert(machines, name)
            came.append(right_after(machines.witness, name, LIMIT_NS, resumed(resumes, name), CUT_OFF_S))
            if settled:
                machines.settle()
    return came


def all_at_once(machines: Cluster, resumes: Resumes, rounds: int) -> list[float | None]:
    """Reverts of all side by side: the longest time that one of them took from its own resume."""
    came: list[float | None] = []
    for _ in range(rounds):
        resumes.at_ns.clear()
        machines.side_by_side(partial(revert, machines))
        each = [right_after(machines.witness, n, LIMIT_NS, resumed(resumes, n), CUT_OFF_S) for n in machines.names]
        came.append(None if None in each else max(filter(None, each)))
        machines.settle()
    return came


def resumed(resumes: Resumes, name: str) -> int:
    while name not in resumes.at_ns:
        time.sleep(0.001)
    return resumes.at_ns[name]


def idle(machines: Cluster, results: Results, pid: int) -> None:
    """What the watcher costs while nothing happens: once all clocks are right, and a sweep has found them so."""
    machines.settle()
    pass_time(SWEEP_S)
    before, began = used_s(pid), time.monotonic()
    while time.monotonic() - began < IDLE_S:
        time.sleep(0.5)
    percent = 100 * (used_s(pid) - before) / (time.monotonic() - began)
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    rss_mb = int(next(line for line in status if line.startswith("VmRSS:")).split()[1]) * 1024 / 1e6
    results.add("clockstep watch --guard, ten idle guests", "of one core", [percent], "%")
    results.add("clockstep watch --guard, ten idle guests", "memory", [rss_mb], "MB")
    results.goal("idle_core_percent", percent, 0.5)
    results.goal("rss_mb", rss_mb, 60)


def used_s(pid: int) -> float:
    """The processor time that a process has used (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def three_minimal(name: str, results: Results, options: argparse.Namespace) -> None:
    """One after the other, by each method."""
    with cluster(name, 3, "minimal") as machines:
        machines.hush()
        machines.snapshot(options.age)
        resumes = Resumes(machines)
        with watcher(machines):
            came = one_by_one(machines, resumes, options.rounds, settled=True)
        results.add("clockstep watch", "three minimal: 10 ms", came)
        with guarding(machines, options.age):
            came = one_by_one(machines, resumes, options.rounds, settled=True)
        results.add("clockstep watch --guard", "three minimal: 10 ms", came)
        results.goal("event_10ms_s", median(came), 0.4)
        if not options.quick:
            with sweeper(machines):
                came = one_by_one(machines, resumes, options.rounds)
            results.add("a push every 10 s above 100 ms", "three minimal: 10 ms", came)
            results.add("nothing", "three minimal: 10 ms", one_by_one(machines, resumes, 1))


def one_full(name: str, results: Results, options: argparse.Namespace) -> None:
    """As often as the three together."""
    with cluster(name, 1, "debian-12") as machines:
        machines.one_by_one(partial(machines.ssh, command=INSTALL, seconds=600))
        machines.snapshot(options.age)
        with watcher(machines):
            came = one_by_one(machines, Resumes(machines), 3 * options.rounds, settled=True)
        results.add("clockstep watch", "one full: 10 ms", came)
        results.goal("event_full_10ms_s", median(came), 1.2)


def ten_minimal(name: str, results: Results, options: argparse.Namespace) -> None:
    """What the watcher costs, and all at once."""
    with cluster(name, 10, "minimal") as machines:
        machines.hush()
        machines.snapshot(options.age)
        resumes = Resumes(machines)
        with watcher(machines):
            results.add("clockstep watch", "ten minimal at once", all_at_once(machines, resumes, 3))
        with guarding(machines, options.age) as pid:
            idle(machines, results, pid)
            came = all_at_once(machines, resumes, options.rounds)
        results.add("clockstep watch --guard", "ten minimal at once", came)
        results.goal("ten_10ms_s", median(came), 2)


PARTS = {"minimal": three_minimal, "full": one_full, "ten": ten_minimal}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="reverts of each guest by each method (default 7)")
    parser.add_argument("--age", type=float, default=60, help="the snapshot's least age in seconds (default 60)")
    parser.add_argument("--part", choices=PARTS, help="measure this part only; the results of the others stay")
    parser.add_argument(
        "--quick", action="store_true", help="only the watcher on three minimal guests, written nowhere"
    )
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    results = Results("watch")
    results.head()
    part = "minimal" if options.quick else options.part
    for measure in [PARTS[part]] if part else PARTS.values():
        measure(f"bench{os.getpid()}", results, options)
    results.write(whole=not options.quick, instead=options.part is not None)


if __name__ == "__main__":
    main()
