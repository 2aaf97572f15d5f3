"""How long workloads run with the wrong time after a revert: what the witness stamps from inside their cgroup.

    bench/exposure.py [--reverts N] [--quick]

Guests are reverted to snapshots of random ages. The witness stamps every 10 ms; a stamp that is heard after the resume
and is off by more than the stream's delay can be was written by a workload with the wrong time. Each revert is listened
to until a second after the clocks are right, or for three seconds where they do not become so. `clockstep revert` is
ended then: it only waits for daemons to be in sync again, and that would take most of the benchmark.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from baseline import INSTALL, domtime
from clockstep_lab.witness import Testimony, Witness
from harness import MILLISECOND_NS, RESTART_CHRONYD, Cluster, Results, cluster, median, pass_time
from revert import clockstep
from watch import revert, watcher

SNAPSHOTS = 3
APART_S = (3.0, 6.0)
WRONG_NS = 1000 * MILLISECOND_NS
"""Above the stream's delay, also on a busy machine; every snapshot is at least three times as old."""
RIGHT_NS = 10 * MILLISECOND_NS
LISTENED_S = 3.0
FULL_REVERTS = 5
GUESTS = 3
BACK_S = 60.0


@dataclass(frozen=True)
class Method:
    """A way to take a snapshot of all guests, and to come back to it within a `with`; `beside` runs all the time."""

    name: str
    take: Callable[[Cluster, str], Any]
    back: Callable[[Cluster, str], AbstractContextManager[object]]
    beside: Callable[[Cluster], AbstractContextManager[object]] = lambda _: nullcontext()


def take(machines: Cluster, name: str, *words: str) -> Any:
    """`clockstep snapshot create`; its report."""
    report = clockstep(machines, "snapshot", "create", name, "--all", *words)
    if not report["complete"]:
        raise RuntimeError(f"the snapshot {name} was not taken")
    return report


def take_by_virsh(machines: Cluster, name: str) -> None:
    machines.side_by_side(lambda node: machines.take(node, name))


@contextmanager
def back(machines: Cluster, name: str) -> Iterator[None]:
    words = [sys.executable, "-m", "clockstep", "--connect", machines.lab.uri, "revert", name, "--yes"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def back_by_virsh(machines: Cluster, name: str) -> Iterator[None]:
    machines.side_by_side(lambda node: revert(machines, node, name))
    yield


@contextmanager
def back_by_domtime(machines: Cluster, name: str) -> Iterator[None]:
    with back_by_virsh(machines, name):
        machines.one_by_one(lambda node: domtime(machines, node))
        yield


METHODS = [
    Method("clockstep, frozen snapshots", lambda machines, name: take(machines, name, "--freeze"), back),
    Method("clockstep revert", take, back),
    Method("virsh, with clockstep watch", take_by_virsh, back_by_virsh, watcher),
    Method("virsh, then virsh domtime --now, in a loop", take_by_virsh, back_by_domtime),
]


def wrong(heard: Testimony) -> tuple[int, float]:
    """How many stamps of a guest were wrong, and from the first to the last of them, in seconds."""
    late = [stamp.heard_monotonic_ns for stamp in heard.stamps if abs(stamp.lag_ns) > WRONG_NS]
    return len(late), (late[-1] - late[0]) / 1e9 if late else 0.0


def within(seconds: float, condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most this long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def all_back(witness: Witness, before: dict[str, int]) -> bool:
    """Whether the newest stamp of each workload came from a newer QEMU than before."""
    return all(witness.heard[name].stamps[-1].connection > connections for name, connections in before.items())


def all_right(witness: Witness) -> bool:
    """Whether the newest stamp of each workload is right."""
    return all(abs(heard.stamps[-1].lag_ns) < WRONG_NS for heard in witness.heard.values())


def prepare(machines: Cluster, method: Method) -> list[float | None]:
    """Take the snapshots, some time apart; for how long the workloads stood still for each, in seconds."""
    machines.side_by_side(machines.forget_snapshots)
    stalls: list[float | None] = []
    for number in range(SNAPSHOTS):
        report = method.take(machines, f"bench-{number}")
        still = [freeze["still_ns"] for freeze in (report or {}).get("freezes", ())]
        stalls.extend(None if one is None else one / 1e9 for one in still)
        pass_time(random.uniform(*APART_S))  # noqa: S311
    return stalls


def exposed(machines: Cluster, method: Method, reverts: int) -> list[tuple[int, float]]:
    """Revert again and again; what was wrong after each revert of each node."""
    came: list[tuple[int, float]] = []
    witness = machines.witness
    with method.beside(machines):
        while len(came) < reverts:
            before = {name: witness.heard[name].connections for name in machines.names}
            with method.back(machines, f"bench-{random.randrange(SNAPSHOTS)}"):  # noqa: S311
                within(BACK_S, partial(all_back, witness, before))
                witness.await_right(RIGHT_NS, LISTENED_S)
                within(LISTENED_S, partial(all_right, witness))
                witness.await_looks(50)
            heard = [witness.heard[name].returned(before[name]) for name in machines.names]
            if not all(one.stamps for one in heard):
                raise RuntimeError("a workload did not run again")
            came += map(wrong, heard)
    return came


def measure(
    results: Results, machines: Cluster, method: Method, what: str, reverts: int
) -> tuple[int, list[float | None]]:
    """Measure one method; all its wrong stamps, and for how long workloads stood still for its snapshots."""
    machines.one_by_one(lambda name: machines.ssh(name, RESTART_CHRONYD))
    machines.settle()
    stalls = prepare(machines, method)
    came = exposed(machines, method, reverts)
    results.add(method.name, f"{what}: wrong stamps", [float(count) for count, _ in came], "")
    results.add(method.name, f"{what}: wrong for", [seconds for _, seconds in came])
    if stalls:
        results.add(method.name, f"{what}: standstill", stalls)
    return sum(count for count, _ in came), stalls


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reverts", type=int, default=100, help="node-reverts by each method (default 100)")
    parser.add_argument("--quick", action="store_true", help="only frozen snapshots, of minimal guests")
    options = parser.parse_args()
    results = Results("exposure")
    results.head()
    name = f"bench{os.getpid()}"
    with cluster(name, GUESTS, "minimal") as machines:
        stamps, stalls = measure(results, machines, METHODS[0], "minimal", options.reverts)
        results.goal("frozen_wrong_stamps", stamps, 0)
        results.goal("stall_minimal_s", median(stalls), 1.5)
        for method in [] if options.quick else METHODS[1:]:
            measure(results, machines, method, "minimal", options.reverts)
    if not options.quick:
        with cluster(name, 1, "debian-12") as machines:
            machines.one_by_one(partial(machines.ssh, command=INSTALL, seconds=600))
            stamps, stalls = measure(results, machines, METHODS[0], "full", FULL_REVERTS)
            results.goal("frozen_wrong_stamps_full", stamps, 0)
            results.goal("stall_full_s", median(stalls), 3)
    results.write(whole=not options.quick)


if __name__ == "__main__":
    main()
