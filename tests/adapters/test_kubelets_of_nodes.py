"""Restarting the kubelet of a node for a certificate: the programs themselves, with a systemctl that only notes.

It is cut off at each point, and the next run goes on from what the node itself remembers.
"""

import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from clockstep.core.aftermath.checking import chosen, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.planning import plan
from clockstep.errors import BusyError, DeadlineError, ReachError
from clockstep.flows.aftermath import Scene, gathered, repair
from clockstep.flows.damaged_nodes import FromNodes
from clockstep.host.locks import DomainLocks
from clockstep.model import Act, AftermathReport, Deed, Guest, Healed, KubeCondition, KubeNode, KubeRef, Repair, State
from clockstep.model.damage import Endpoint, Input, Probe, Unread
from clockstep.ports import Node, Output, Reach, World
from clockstep.state.journal import FileJournal
from clockstep.workloads.kubelets import LONGEST, MOST, kubelet, restart_kubelet
from core.simulation import NOW_S, SECOND, SimClock, SimHypervisor
from pki import pem

DAY_S = 86_400
SERVER = "var/lib/kubelet/pki/kubelet-server-current.pem"
SYSTEMCTL = """#!/bin/sh
cd {folder} || exit
case $1 in
show)
    property=${{2#--property=}}
    if [ -e "$3/$property" ]; then echo "$property=$(cat "$3/$property")"
    else case $property in LoadState) echo LoadState=not-found ;; ActiveState) echo ActiveState=inactive ;; esac; fi ;;
restart)
    [ ! -e cut-before ] || {{ rm cut-before; kill -9 $PPID; exit; }}
    [ ! -e refused ] || {{ cat refused >&2; exit 1; }}
    echo "$2" >>restarted
    echo $(($(cat "$2/ExecMainStartTimestampMonotonic") + 1)) >"$2/ExecMainStartTimestampMonotonic"
    [ ! -e renewed ] || mv renewed "{root}/{server}"
    [ ! -e cut-after ] || {{ rm cut-after; kill -9 $PPID; }} ;;
esac
"""


class Machine:
    """A node whose root and systemd are folders; it is a way to itself."""

    source = "here"

    def __init__(self, folder: Path) -> None:
        self.silent = False
        self.root, self.systemd = folder / "root", folder / "systemd"
        for one in (self.root, self.systemd, folder / "bin"):
            one.mkdir()
        self.path = f"{folder / 'bin'}:/usr/bin:/bin"
        tool = folder / "bin/systemctl"
        tool.write_text(SYSTEMCTL.format(folder=self.systemd, root=self.root, server=SERVER))
        tool.chmod(0o755)

    def add(self, unit: str, active: str = "active", load: str = "loaded") -> None:
        """Have a unit of systemd."""
        (self.systemd / unit).mkdir()
        for name, said in (("LoadState", load), ("ActiveState", active), ("ExecMainStartTimestampMonotonic", "17")):
            (self.systemd / unit / name).write_text(f"{said}\n")

    def put(self, path: str, text: str) -> None:
        """Have a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def will(self, what: str, text: str = "") -> None:
        """Have the next restart be cut off, refused, or make another certificate."""
        (self.systemd / what).write_text(text)

    @property
    def restarted(self) -> list[str]:
        """Which units were restarted."""
        file = self.systemd / "restarted"
        return file.read_text().split() if file.exists() else []

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        if self.silent:
            raise ReachError("no answer")
        words = [*argv[:4], str(self.root), *argv[5:]]
        environ = {"PATH": self.path}
        done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60, env=environ)
        if done.returncode < 0:
            raise DeadlineError("the answer never came")
        return Output(done.returncode, done.stdout.decode(), done.stderr.decode())

    def close(self) -> None:
        """Let go of nothing."""


def way(machine: Machine) -> Reach:
    any_way: Any = machine
    reach: Reach = any_way
    return reach


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"kubelet": "active"}, "kubelet"),
        ({"kubelet": "failed"}, "kubelet"),
        ({"kubelet": "activating"}, "kubelet"),
        ({"kubelet": "inactive", "k3s-agent": "active"}, "k3s-agent"),
        ({"rke2-agent": "active"}, "rke2-agent"),
        ({"k3s": "active"}, ""),
        ({"kubelet": "inactive", "rke2-server": "active"}, ""),
        ({}, ""),
    ],
)
def test_the_unit_is_the_one_that_runs_the_kubelet_alone(
    machine: Machine, units: Mapping[str, str], expected: str
) -> None:
    for unit, active in units.items():
        machine.add(unit, active)
    assert kubelet(way(machine), 0).unit == expected


def test_on_a_node_without_systemd_nothing_is_restarted(machine: Machine) -> None:
    machine.path = "/nowhere"
    with pytest.raises(ReachError, match="no service of systemd"):
        restart_kubelet(way(machine), "mark", 0)


def test_a_restart_is_made_and_remembered_for_its_mark(machine: Machine) -> None:
    machine.add("kubelet")
    assert dict(kubelet(way(machine), 0).restarts) == {}
    restart_kubelet(way(machine), "mark", 0)
    found = kubelet(way(machine), 0)
    assert (machine.restarted, list(found.restarts), found.bootstraps) == (["kubelet"], ["mark"], False)
    assert 0 <= found.restarts["mark"] < 60 * SECOND
    note = machine.root / "run/clockstep/kubelets"
    assert note.stat().st_mode & 0o077 == 0
    assert note.parent.stat().st_mode & 0o077 == 0


def test_what_was_noted_and_cut_off_before_the_restart_counts_as_not_made(machine: Machine) -> None:
    machine.add("kubelet")
    machine.will("cut-before")
    with pytest.raises(DeadlineError):
        restart_kubelet(way(machine), "mark", 0)
    assert "mark" in (machine.root / "run/clockstep/kubelets").read_text()
    assert (machine.restarted, dict(kubelet(way(machine), 0).restarts)) == ([], {})
    restart_kubelet(way(machine), "mark", 0)
    assert (machine.restarted, list(kubelet(way(machine), 0).restarts)) == (["kubelet"], ["mark"])


def test_what_was_cut_off_after_the_restart_counts_as_made(machine: Machine) -> None:
    machine.add("kubelet")
    machine.will("cut-after")
    with pytest.raises(DeadlineError):
        restart_kubelet(way(machine), "mark", 0)
    assert (machine.restarted, list(kubelet(way(machine), 0).restarts)) == (["kubelet"], ["mark"])


def test_what_systemd_refuses_is_said_in_its_words(machine: Machine) -> None:
    machine.add("kubelet")
    machine.will("refused", "Failed to restart kubelet.service: Unit is masked.")
    with pytest.raises(ReachError, match=r"was not restarted: Failed to restart kubelet.service: Unit is masked"):
        restart_kubelet(way(machine), "mark", 0)
    assert dict(kubelet(way(machine), 0).restarts) == {}


def test_a_node_whose_kubelet_no_unit_runs_alone_is_left(machine: Machine) -> None:
    machine.add("k3s")
    with pytest.raises(ReachError, match="no service of systemd"):
        restart_kubelet(way(machine), "mark", 0)
    assert machine.restarted == []
    assert not (machine.root / "run").exists()


def test_a_kubeconfig_to_begin_with_is_seen_and_an_empty_one_is_none(machine: Machine) -> None:
    machine.put("etc/kubernetes/bootstrap-kubelet.conf", "")
    assert not kubelet(way(machine), 0).bootstraps
    machine.put("etc/kubernetes/bootstrap-kubelet.conf", "users: []\n")
    assert kubelet(way(machine), 0).bootstraps


@dataclass
class Saying:
    """A node that answers whatever it is asked with the same."""

    out: str
    source: str = "here"

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        return Output(0, self.out, "")


LINES = "\n".join(f"mark-{number} 1 2.5" for number in range(10 * MOST))


@pytest.mark.parametrize(
    "said",
    [
        "#clockstep unit\n" + "x" * 10_000,
        "#clockstep started\n17\n#clockstep now\nsoon\n#clockstep restarts\nmark 16 3.5",
        "#clockstep started\n17\n#clockstep now\n9e9999\n#clockstep restarts\nmark 16 3.5\nx y\n a b c d",
        f"#clockstep started\n17\n#clockstep now\n5.0\n#clockstep restarts\n{'m' * 999} 1 2\n{LINES}",
    ],
)
def test_whatever_a_node_says_of_its_kubelet_is_bounded(said: str) -> None:
    any_way: Any = Saying(f"{said}\n#clockstep end\n")
    found = kubelet(any_way, 0)
    assert len(found.unit) <= LONGEST
    assert len(found.restarts) <= MOST
    assert all(len(one) <= LONGEST and abs(ago) < 2**63 for one, ago in found.restarts.items())


def test_an_answer_that_is_not_whole_is_none() -> None:
    any_way: Any = Saying("#clockstep unit\nkubelet\n")
    with pytest.raises(ReachError):
        kubelet(any_way, 0)
    with pytest.raises(ReachError):
        restart_kubelet(any_way, "mark", 0)


@dataclass
class Cluster:
    """A cluster of one Node; nothing is done to it."""

    node: KubeNode
    noted: list[str] = field(default_factory=list)

    def gather(self, wanted: Collection[Input]) -> tuple[Mapping[str, tuple[Any, ...]], Mapping[Input, Unread]]:
        return {"nodes": (self.node,)}, {}

    def probe(self, webhooks: Collection[Endpoint]) -> tuple[Probe, ...]:
        raise AssertionError("no check here needs it")

    def perform(self, act: Act, at_ns: int) -> str:
        raise AssertionError("it is done on the node")

    def note(self, act: Act, text: str, at_ns: int) -> None:
        assert (act.on, act.uid) == (KubeRef("Node", "node-1"), "node-1")
        self.noted.append(text)


class Lab:
    """A machine that is a Node, whose kubelet serves a certificate that has lapsed."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, clock = machine, SimClock()
        hypervisor = SimHypervisor(clock, ["web"])
        (self.guest,) = hypervisor.guests()
        locks = DomainLocks(clock)
        self.world = World(hypervisor, clock, clock, locks, FileJournal(folder), lambda _node, _text: None)
        self.cluster = Cluster(KubeNode("node-1", "uid", self.guest.uuid, KubeCondition("Unknown")))
        self.nodes = FromNodes(self.world, [self.guest], self.way, 5 * SECOND)
        tell = self.world.tell
        looked = self.nodes.look
        self.scene = Scene(self.cluster, looked, clock, clock, tell, again_ns=60 * SECOND, on_node=self.nodes.perform)
        self.checks = chosen(CHECKS, ["CS-KUBELET"], [])
        machine.add("kubelet")
        machine.put(SERVER, pem("system:node:node-1", NOW_S - 9 * DAY_S, NOW_S - DAY_S))

    def way(self, guest: Guest) -> Node:
        """The node of a machine."""
        return Node(guest.name, way(self.machine))

    def renews(self) -> None:
        """Have the next start of the kubelet get a new certificate."""
        self.machine.will("renewed", pem("system:node:node-1", NOW_S - 60, NOW_S + DAY_S))

    def planned(self) -> tuple[Repair, ...]:
        """Return what would be done."""
        seen = gathered(self.scene, {one for check in self.checks for one in check.inputs})
        return plan(look(self.checks, seen), REMEDIES, seen)

    def repaired(self) -> AftermathReport:
        """Carry it out."""
        return repair(self.scene, self.checks, REMEDIES, self.planned())


@pytest.fixture
def lab(machine: Machine, tmp_path: Path) -> Lab:
    return Lab(machine, tmp_path)


def test_a_kubelet_is_restarted_through_its_machine_and_that_is_proven_by_its_files(lab: Lab) -> None:
    lab.renews()
    report = lab.repaired()
    (one,) = report.repairs
    assert one.act and one.act.deed is Deed.RESTART_KUBELET
    assert (one.outcome, lab.machine.restarted) == (Healed.HEALED, ["kubelet"])
    assert one.proven_ns and one.at_ns and one.proven_ns > one.at_ns
    assert lab.cluster.noted == [
        f"restart-kubelet because of CS-KUBELET: /{SERVER}: expired 1 d ago",
    ]


def test_one_that_was_killed_before_the_restart_is_gone_on_with_by_the_next_run(lab: Lab) -> None:
    lab.machine.will("cut-before")
    assert lab.repaired().repairs[0].outcome is Healed.NOT_HEALED
    assert lab.machine.restarted == []
    lab.renews()
    assert lab.repaired().repairs[0].outcome is Healed.HEALED
    assert lab.machine.restarted == ["kubelet"]


def test_one_that_was_killed_after_the_restart_is_waited_for_and_not_restarted_again(lab: Lab) -> None:
    lab.machine.will("cut-after")
    assert lab.repaired().repairs[0].outcome is Healed.NOT_HEALED
    (begun,) = lab.planned()
    assert begun.act and begun.act.begun
    plans = lab.planned()
    lab.machine.put(SERVER, pem("system:node:node-1", NOW_S - 60, NOW_S + DAY_S))
    assert repair(lab.scene, lab.checks, REMEDIES, plans).repairs[0].outcome is Healed.HEALED
    assert lab.machine.restarted == ["kubelet"]


def test_a_restart_that_did_not_help_is_said_and_not_repeated(lab: Lab) -> None:
    report = lab.repaired()
    assert (report.repairs[0].outcome, lab.machine.restarted) == (Healed.NOT_HEALED, ["kubelet"])
    assert report.checks[0].broken
    lab.repaired()
    assert lab.machine.restarted == ["kubelet"]


def test_a_node_that_is_none_of_these_machines_is_left_with_the_command(lab: Lab) -> None:
    lab.cluster.node = replace(lab.cluster.node, system_uuid="5f0c3a52-8a50-4c0e-9a4b-1d3f5b7c9e01")
    (one,) = lab.repaired().repairs
    assert (one.outcome, one.act) == (Healed.LEFT, None)
    assert one.why == "its machine is not one of these; there: systemctl restart kubelet"
    assert lab.machine.restarted == []


class Held:
    """Locks that somebody else holds."""

    @contextmanager
    def hold(self, guests: Sequence[Guest], within_ns: int) -> Iterator[None]:
        raise BusyError(f"{guests[0].name} is locked by another clockstep (pid 7)")
        yield


def test_a_machine_that_another_clockstep_works_on_is_skipped(lab: Lab) -> None:
    there = FromNodes(lab.world._replace(locks=Held()), [lab.guest], lab.way, 5 * SECOND)
    lab.scene = replace(lab.scene, inside=there.look, on_node=there.perform)
    (one,) = lab.repaired().repairs
    assert (one.outcome, one.why) == (Healed.SKIPPED, "web is locked by another clockstep (pid 7)")
    assert lab.machine.restarted == []


def test_a_machine_that_does_not_answer_is_said_to_and_its_kubelet_left(lab: Lab) -> None:
    lab.machine.silent = True
    (one,) = look(lab.checks, gathered(lab.scene, {one for check in lab.checks for one in check.inputs}))
    assert (one.state, one.why) == (State.NOT_LOOKED, "node-1: no answer")
    assert lab.planned() == ()
