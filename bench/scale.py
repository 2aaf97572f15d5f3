"""What 10, 100 and 1,000 machines cost, behind a stand-in of libvirt (standin.py): no guest is needed.

    bench/scale.py [--part status|step|watch] [--machines N]

A host has 50 machines; one of a hundred hangs and one lies. All else is the product's own, from the command line down
to the calls of libvirt's module. A machine is decided when the work on it has ended. Each size is measured in a
process of its own. The stand-in takes processor time of the same process; the watcher's is counted without it.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import libvirt

from clockstep import cli
from clockstep.flows import step as flow
from clockstep.loop.fleet import side_by_side
from clockstep.model import Guest
from harness import Results
from standin import SECOND_NS, Standin

EACH = 50
SIZES = (10, 100, 1000)
SICK = 0.01
BEHIND_NS = 20 * SECOND_NS
DEADLINE_S = {"status": 5, "step": 30 + 7}
"""The ordinary ones; with what a step may take to wait for an agent's last answer."""
IDLE_S = 30
REVERTS = 7


def standin(machines: int, behind_ns: int, sick: float = SICK) -> Standin:
    each = min(EACH, machines)
    made = Standin(-(-machines // each), each, behind_ns, sick)
    made.put()
    return made


def command(made: Standin, *words: str) -> list[str]:
    return [*(word for address in made.hosts for word in ("--connect", address)), *words]


def timed(ended: dict[tuple[str, str], float]) -> None:
    """Note when the work on each machine has ended."""

    def noting(guests: Any, job: Callable[[Guest], Any], *more: Any) -> Any:
        def noted(guest: Guest) -> Any:
            done = job(guest)
            ended[guest.key] = time.monotonic()
            return done

        return side_by_side(guests, noted, *more)

    vars(flow)["side_by_side"] = noting


def run_once(part: str, machines: int) -> dict[str, Any]:
    """Run a command over all, and return what it came to."""
    made = standin(machines, 0 if part == "status" else BEHIND_NS)
    ended: dict[tuple[str, str], float] = {}
    timed(ended)
    answering = {machine.uuid for machine in made.machines if not machine.hangs}
    words = command(made, "-o", "json", part, "--all")
    began, printed = time.monotonic(), io.StringIO()
    with redirect_stdout(printed):
        cli.run(words)
    took_s = time.monotonic() - began
    episodes = json.loads(printed.getvalue())["episodes"]
    good = sum(episode["verdict"] == "good" for episode in episodes)
    sound = {machine.uuid for machine in made.machines if not (machine.hangs or machine.lies)}
    decided = {uuid: at - began for (_, uuid), at in ended.items()}
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "sound_s": max(decided[uuid] for uuid in sound) if good == len(sound) <= len(decided) else None,
        "answering_s": max(decided[uuid] for uuid in answering) if answering <= decided.keys() else None,
        "named": len(episodes),
        "took_s": took_s,
        "rss_mb": used.ru_maxrss * 1024 / 1e6,
        "cpu_s": used.ru_utime + used.ru_stime,
        "connections": made.most,
    }


def watch(machines: int) -> dict[str, Any]:
    """Run the watcher over all; return what it costs, and how soon reverts of one are healed."""
    made = standin(machines, 0)
    found: dict[str, Any] = {}

    def drive() -> None:
        try:
            _settle(made)
            began_s, used_s, own_s = time.monotonic(), time.process_time(), made.used_s
            time.sleep(IDLE_S)
            passed_s = time.monotonic() - began_s
            used_s = time.process_time() - used_s
            found["idle_percent"] = 100 * (used_s - (made.used_s - own_s)) / passed_s
            found["idle_with_standin_percent"] = 100 * used_s / passed_s
            found["healed_s"] = [_healed_s(made, number) for number in range(REVERTS)]
            found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
            found["connections"] = made.most
            print(json.dumps(found), flush=True)
        finally:
            os._exit(0)

    threading.Thread(target=drive, daemon=True).start()
    cli.run(command(made, "watch", "--all"))
    raise AssertionError("a watcher does not end by itself")


def _settle(made: Standin) -> None:
    """Wait until every machine was asked in a sweep."""
    until_s = time.monotonic() + 60
    while any(not (machine.hangs or machine.asked) for machine in made.machines) and time.monotonic() < until_s:
        time.sleep(0.1)
    time.sleep(1)


def _healed_s(made: Standin, number: int) -> float:
    """Revert a machine the way others do, and return how long its clock was off after it was resumed."""
    sound = [machine for machine in made.machines if not (machine.hangs or machine.lies)]
    machine = sound[number * 37 % len(sound)]
    host = next(host for host in made.hosts.values() if machine.uuid in host.machines)
    machine.revert(BEHIND_NS)
    began_ns = time.monotonic_ns()
    host.tell(machine.uuid, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT)
    until_ns = began_ns + 30 * SECOND_NS
    while machine.stepped_ns is None and time.monotonic_ns() < until_ns:
        time.sleep(0.001)
    time.sleep(1.5)
    return ((machine.stepped_ns or until_ns) - began_ns) / 1e9


def measured(part: str, machines: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--child", part, "--machines", str(machines)]
        environment = {**os.environ, "CLOCKSTEP_STATE": folder}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def commands(results: Results, part: str, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        found = measured(part, size)
        assert found["named"] == size
        label = f"clockstep {part}, {size} machines"
        results.add(label, "all sound ones good", [found["sound_s"]])
        results.add(label, "all that answer decided", [found["answering_s"]])
        results.add(label, "the whole command", [found["took_s"]])
        results.add(label, "processor, stand-in too", [found["cpu_s"]])
        results.add(label, "memory, stand-in too", [found["rss_mb"]], "MB")
        results.add(label, "connections to a host", [found["connections"]], "")
        if size != SIZES[-1]:
            continue
        if part == "status":
            results.goal("status_1000_s", max_or_none(found["sound_s"], found["answering_s"]), 2)
        else:  # one that lies is looked at again and again until the deadline
            results.goal("step_1000_s", found["sound_s"], 10)
            results.goal("rss_1000_mb", found["rss_mb"], 150)
        results.goal(f"{part}_1000_whole_s", found["took_s"], DEADLINE_S[part] + 1)
        results.goal(f"{part}_1000_connections", found["connections"], 16)


def max_or_none(*values: float | None) -> float | None:
    """The greatest of these; None where one was never reached."""
    return None if None in values else max(value for value in values if value is not None)


def watching(results: Results, sizes: tuple[int, ...]) -> None:
    healed: dict[int, float] = {}
    for size in (3, sizes[-1]):
        found = measured("watch", size)
        label = f"clockstep watch, {size} machines"
        results.add(label, "idle, of one core", [found["idle_percent"]], "%")
        results.add(label, "idle, stand-in too", [found["idle_with_standin_percent"]], "%")
        results.add(label, "a revert of one stepped", found["healed_s"])
        results.add(label, "memory, stand-in too", [found["rss_mb"]], "MB")
        healed[size] = sorted(found["healed_s"])[len(found["healed_s"]) // 2]
    if sizes[-1] == SIZES[-1]:
        results.goal("watch_1000_core_percent", found["idle_percent"], 5)
        results.goal("watch_1000_later_s", healed[sizes[-1]] - healed[3], 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("status", "step", "watch"), help="measure this alone; the rest stays")
    parser.add_argument("--machines", type=int, help="this many alone, written nowhere")
    parser.add_argument("--child", choices=("status", "step", "watch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if options.child:
        found = watch(options.machines) if options.child == "watch" else run_once(options.child, options.machines)
        print(json.dumps(found), flush=True)
        os._exit(0)
    results = Results("scale")
    results.head()
    sizes = (options.machines,) if options.machines else SIZES
    for part in [options.part] if options.part else ["status", "step", "watch"]:
        if part == "watch":
            watching(results, sizes)
        else:
            commands(results, part, sizes)
    results.write(whole=not options.machines, instead=options.part is not None)


if __name__ == "__main__":
    main()
