"""What every benchmark shares: reverted guests, the witness as the judge, a table, and a file of results."""

import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import libvirt

from clockstep.machines.libvirt.connection import connect
from clockstep_lab import lab as labs
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.node import NAME
from clockstep_lab.lab import Lab
from clockstep_lab.witness import ECHO_EVERY_S, Witness, right_since

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a command that is installed is compiled once, and not at each start
RESULTS = Path(__file__).parent / "results"
MILLISECOND_NS = 1_000_000
SNAPSHOT = "bench"
STAYS_NS = 1_000_000_000
OF_MANY_EVERY_S = 0.1
ANSWERED_S = 1
"""An sshd that was asked takes an emulated guest's processor for half a second after the answer."""
RESTART_CHRONYD = "systemctl restart chrony 2>/dev/null || pkill chronyd"  # the minimal guest's init starts it again


@dataclass(frozen=True)
class Row:
    """One method's results; a time that was never reached is None, and greater than every other."""

    method: str
    what: str
    unit: str
    n: int
    median: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Goal:
    """A number that this project wants to reach: at most `limit`, or at least."""

    name: str
    value: float | None
    limit: float
    at_least: bool
    met: bool


@dataclass
class Results:
    """The rows and goals of one benchmark."""

    name: str
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, method: str, what: str, values: Sequence[float | None], unit: str = "s") -> None:
        """Add a row and print it."""
        ordered = sorted(float("inf") if value is None else value for value in values)
        numbers = (statistics.median_high(ordered), ordered[0], ordered[-1])
        row = Row(method, what, unit, len(ordered), *(None if n == float("inf") else round(n, 4) for n in numbers))
        self.rows.append(row)
        shown = [f"{'never' if n is None else f'{n:.3f}':>9}" for n in (row.median, row.min, row.max)]
        print(f"{method:42} {what:24} {unit:3} {row.n:3} {' '.join(shown)}", flush=True)

    def goal(self, name: str, value: float | None, limit: float, *, at_least: bool = False) -> None:
        """Hold a number against what it should be; one that was never reached misses."""
        met = value is not None and (value >= limit if at_least else value <= limit)
        self.goals.append(Goal(name, None if value is None else round(value, 4), limit, at_least, met))

    def head(self) -> None:
        print(f"{'method':42} {'what':24} {'':3} {'n':>3} {'median':>9} {'min':>9} {'max':>9}")

    def write(self, *, whole: bool = True, instead: bool = False) -> None:
        """Print how the goals stand, and write bench/results/NAME.json, unless too little was measured.

        What was measured `instead` of what is there takes its place; the rest of it stays.
        """
        file = RESULTS / f"{self.name}.json"
        record = {"rows": [asdict(row) for row in self.rows], "goals": [asdict(goal) for goal in self.goals]}
        if instead:
            there = json.loads(file.read_text())
            record = {part: _replaced(there[part], record[part]) for part in record}
        if whole:
            RESULTS.mkdir(exist_ok=True)
            file.write_text(json.dumps(record, indent=1) + "\n")
        for goal in self.goals:
            sense = "at least" if goal.at_least else "at most"
            print(f"goal {goal.name}: {goal.value} ({sense} {goal.limit}): {'met' if goal.met else 'missed'}")


def _replaced(there: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows or goals that are there, those of the same name replaced, and the others behind them."""

    def name(one: dict[str, Any]) -> tuple[Any, ...]:
        return one.get("name"), one.get("method"), one.get("what")

    named = {name(one): one for one in new}
    kept = [named.pop(name(one), one) for one in there]
    return [*kept, *named.values()]


def pass_time(seconds: float) -> None:
    """Let this much of this machine's time pass: it is what a guest will be behind by."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


def median(values: Sequence[float | None]) -> float | None:
    """The middle value, where None is greater than every other."""
    middle = statistics.median_high(float("inf") if value is None else value for value in values)
    return None if middle == float("inf") else middle


@dataclass(frozen=True)
class Run:
    """One revert and what became of it: seconds from the last resume until all were right to stay; None for never."""

    within_10ms_s: float | None
    within_1ms_s: float | None
    synced_s: float | None


class Cluster:
    """Guests of a lab, heard by the witness."""

    def __init__(self, lab: Lab, witness: Witness) -> None:
        self.lab, self.witness = lab, witness
        self.names = [machine.name for machine in lab.machines]

    def domain(self, name: str) -> libvirt.virDomain:
        return libvirt.open(self.lab.uri).lookupByName(name)

    def ssh(self, name: str, command: str, seconds: float = 120) -> str:
        """Run a command in a guest; what it printed, or nothing when it failed."""
        words = ["ssh", "-F", str(self.lab.folder / "ssh_config"), name, command]
        return subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False).stdout

    def side_by_side(self, act: Callable[[str], object]) -> None:
        with ThreadPoolExecutor(len(self.names)) as threads:
            list(threads.map(act, self.names))

    def one_by_one(self, act: Callable[[str], object]) -> None:
        for name in self.names:
            act(name)

    def snapshot(self, age_s: float, *, steps_left: bool = False, take: Callable[[], object] | None = None) -> None:
        """Take a snapshot of each guest, its clock right and its chronyd in sync, and let it age.

        `take` takes it; otherwise libvirt does, as by virsh.

        chronyd is started anew before: it then steps whatever the method before has left. Unless `steps_left`, it is
        brought to where one is that has run for long: the steps that `makestep 1 3` allows are used up.
        """
        self.one_by_one(lambda name: self.ssh(name, RESTART_CHRONYD))
        self.settle()
        if not steps_left:
            self.one_by_one(lambda name: self.ssh(name, "chronyc makestep 1 0"))
        if not self.witness.await_right(10 * MILLISECOND_NS, 120):
            raise RuntimeError("the guests' clocks do not become right")
        self.side_by_side(self.forget_snapshots)
        (take or (lambda: self.side_by_side(self.take)))()
        pass_time(age_s)

    def hush(self) -> None:
        """End the guests' streams, whose stamps take a tenth of a core of each: clocks are judged by echoes anyway."""
        self.side_by_side(lambda name: self.ssh(name, "pkill -STOP -f '[w]itness stream'"))

    def forget_snapshots(self, name: str) -> None:
        """Delete all snapshots of a guest."""
        for old in self.domain(name).listAllSnapshots():
            old.delete()

    def take(self, name: str, snapshot: str = SNAPSHOT) -> None:
        """Take a snapshot of a guest the way virsh does."""
        self.domain(name).snapshotCreateXML(f"<domainsnapshot><name>{snapshot}</name></domainsnapshot>", 0)

    def back_and_answering(self) -> None:
        """Put all guests back, let them run on, and wait until agent and sshd of each answer."""
        self.revert()
        self.side_by_side(lambda name: self.domain(name).resume())
        for name in self.names:
            while not self._answers(name):
                time.sleep(0.02)
        pass_time(ANSWERED_S)

    def settle(self) -> None:
        """Wait until all daemons are in sync, as they would be long before the next revert, and help the late ones."""
        wait = "chronyc waitsync {} 0.01 0 1 >/dev/null"
        late = f"chronyc -m 'reset sources' 'burst 4/4'; {wait.format(120)}"
        self.side_by_side(lambda name: self.ssh(name, f"{wait.format(15)} || {{ {late}; }}", 180))

    def _answers(self, name: str) -> bool:
        try:
            self.domain(name).getTime()
            with socket.create_connection(("127.0.0.1", self.lab.machine(name).ssh_port), 5) as sshd:
                return sshd.recv(4) == b"SSH-"
        except (libvirt.libvirtError, OSError):
            return False

    def revert(self) -> None:
        """Put all guests back, paused."""

        def back(name: str) -> None:
            domain = self.domain(name)
            paused = libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
            domain.revertToSnapshot(domain.snapshotLookupByName(SNAPSHOT), paused)

        self.side_by_side(back)

    def run(self, method: Callable[["Cluster"], object], cut_off_s: float) -> Run:
        """Revert, resume, apply a method, and judge; at most `cut_off_s` seconds."""
        self.revert()
        self.side_by_side(lambda name: self.domain(name).resume())
        return self.judged(time.monotonic_ns(), lambda: method(self), cut_off_s)

    def judged(self, began_ns: int, act: Callable[[], object], cut_off_s: float) -> Run:
        """Carry out an act and judge what came of it, counted from `began_ns`."""
        with ThreadPoolExecutor(2) as threads:
            acting = threads.submit(act)
            ten = self._await(10 * MILLISECOND_NS, began_ns, cut_off_s)
            syncing = threads.submit(self._await_sync, began_ns, cut_off_s) if ten is not None else None
            one = self._await(MILLISECOND_NS, began_ns, cut_off_s) if ten is not None else None
            synced = syncing.result() if syncing else None
            acting.result()
        return Run(ten, one, max(one, synced) if one is not None and synced is not None else None)

    def _await(self, limit_ns: int, began_ns: int, cut_off_s: float) -> float | None:
        """Seconds until all guests are right, once they have stayed so for a second."""
        return slowest([right_after(self.witness, name, limit_ns, began_ns, cut_off_s) for name in self.names])

    def _await_sync(self, began_ns: int, cut_off_s: float) -> float | None:
        """Seconds until every guest's daemon says that it is in sync."""
        left = max(1, int(cut_off_s - (time.monotonic_ns() - began_ns) / 1e9))
        ask = f"timeout {left} sh -c 'until chronyc -n sources | grep -q \"^.[*]\"; do sleep 0.1; done' && echo in sync"

        def wait(name: str) -> float | None:
            said = self.ssh(name, ask, left + 30)
            return (time.monotonic_ns() - began_ns) / 1e9 if "in sync" in said else None

        with ThreadPoolExecutor(len(self.names)) as threads:
            came = list(threads.map(wait, self.names))
        return None if None in came else max(filter(None, came))


@dataclass
class Resumes:
    """When each guest was last resumed, by libvirt's own events, on this machine's monotonic clock."""

    cluster: Cluster

    def __post_init__(self) -> None:
        self.at_ns: dict[str, int] = {}
        self._connection = connect(self.cluster.lab.uri)
        self._connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._note, None)

    def _note(self, _connection: object, domain: Any, event: int, _detail: int, _opaque: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            self.at_ns[domain.name()] = time.monotonic_ns()

    def last(self) -> int:
        return max(self.at_ns.values())


@contextmanager
def cluster(name: str, count: int, image: str) -> Iterator[Cluster]:
    """A lab of its own for a benchmark, ended with it; more than three guests are asked for echoes less often."""
    lab = labs.up(name, count, image, lambda _: None)
    os.environ["CLOCKSTEP_STATE"] = str(lab.folder / "state")
    every_s = ECHO_EVERY_S if count <= 3 else OF_MANY_EVERY_S
    try:
        with Witness(lab.folder, [machine.name for machine in lab.machines], every_s) as witness:
            yield Cluster(lab, witness)
    finally:
        labs.down(name, lambda _: None)


@contextmanager
def kubelets() -> Iterator[tuple[Cluster, ControlPlane]]:
    """Two nodes of a lab's Kubernetes, with their control plane."""
    with cluster(f"bench{os.getpid()}", 2, NAME) as machines:
        yield machines, ControlPlane(machines.lab.folder, lambda _text: None)


def right_after(witness: Witness, name: str, limit_ns: int, began_ns: int, cut_off_s: float) -> float | None:
    """Seconds from then until a guest was right, once it has stayed so for a second; None for not in time."""
    while True:
        now_ns = time.monotonic_ns()
        looks = witness.heard[name].since(began_ns).looks
        since_ns = right_since(looks, limit_ns) if looks else None
        if since_ns is not None and now_ns - since_ns > STAYS_NS:
            return (since_ns - began_ns) / 1e9
        if (now_ns - began_ns) / 1e9 > cut_off_s:
            return None
        time.sleep(0.05)


def slowest(came: Sequence[float | None]) -> float | None:
    """The longest of these times; None where one never came."""
    times = [one for one in came if one is not None]
    return max(times) if len(times) == len(came) else None
