"""What clockstep cordons it uncordons: at the end, after an interruption, after a kill, and after it came back."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.targets import Scope
from clockstep.errors import ClockstepError, KubernetesError, UsageError
from clockstep.flows import revert as reverts
from clockstep.flows.cordon import left_behind
from clockstep.flows.snapshot import create
from clockstep.flows.step import stepped
from clockstep.model import ClusterPolicy, Cordon, Guest, KubeNode, Policy, SetReport
from clockstep.state.cordons import FileCordons
from clockstep.state.journal import FileJournal
from core.cluster_simulation import AWAY, NAMES, Lab, Machines, SimCluster, lab_of
from core.simulation import SECOND

CORDON, WAIT = ClusterPolicy(cordon=True), ClusterPolicy()
NODES = [f"k-{name}" for name in NAMES]


class Killed(BaseException):
    """Stands for SIGKILL: whatever runs on after it does so without this host's help."""


class Watched(Machines):
    """Machines that note which Nodes are cordoned at the first operation of a kind, and may die at one."""

    fatal: tuple[str, str] = ("", "")
    error: type[BaseException] = Killed
    dead = False
    seen: dict[str, list[str]]

    def _begin(self, operation: str, guest: Guest) -> None:
        cordoned = [node.name for node in self.cluster.by_name.values() if node.unschedulable]
        self.__dict__.setdefault("seen", {}).setdefault(operation, cordoned)
        if self.dead or self.fatal == (operation, guest.name):
            self.dead = issubclass(self.error, Killed)
            self.fatal = ("", "")
            raise self.error
        super()._begin(operation, guest)


class Mortal(SimCluster):
    """A cluster that a process which was killed asks nothing any more."""

    def _called(self, call: str) -> None:
        if isinstance(self.machines, Watched) and self.machines.dead:
            raise Killed
        super()._called(call)


class Ended(FileCordons):
    """The notes of a process that has ended: init has begun before this one."""

    def mark(self, operation: str, at_ns: int) -> str:
        host, _, rest = super().mark(operation, at_ns).split(" ", 2)
        return f"{host} 1/0 {rest}"


class OfAnother(FileCordons):
    """The notes of a process on another host."""

    def mark(self, operation: str, at_ns: int) -> str:
        return f"other.{super().mark(operation, at_ns)}"


def made(folder: Path, inside: str = "") -> Lab:
    return lab_of(folder, inside, machines=Watched, cluster=Mortal)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return made(tmp_path)


def by(lab: Lab, folder: Path, kind: type[FileCordons]) -> Lab:
    """Return the same as another process has it."""
    journal = FileJournal(folder)
    journal.cordons = kind(folder)
    return replace(lab, world=lab.world._replace(journal=journal))


def watched(lab: Lab) -> Watched:
    assert isinstance(lab.machines, Watched)
    return lab.machines


def taken(lab: Lab, aftercare: ClusterPolicy = WAIT) -> SetReport:
    return create(lab.world, lab.machines.guests(), "base", Policy(), aftercare=aftercare)


def reverted(lab: Lab, aftercare: ClusterPolicy = WAIT) -> SetReport:
    chosen = reverts.choose(lab.machines, Scope(), "base")
    return reverts.revert(lab.world, chosen, Policy(), aftercare=aftercare)


def notes(lab: Lab) -> list[str]:
    return sorted(one.name for one in lab.world.journal.cordons.notes())


@pytest.mark.parametrize("inside", ["", "node2"])
def test_nodes_are_cordoned_before_anything_stands_still_and_uncordoned_when_they_work(
    tmp_path: Path, inside: str
) -> None:
    lab = made(tmp_path, inside)
    assert taken(lab, CORDON).complete
    assert watched(lab).seen["pause"] == NODES
    assert (lab.cordoned(), notes(lab)) == ({}, [])
    report = reverted(lab, CORDON)
    assert watched(lab).seen["revert"] == NODES
    assert report.cluster
    assert (report.cluster.outcome.value, report.cluster.cordoned) == ("works", ())
    assert (lab.cordoned(), notes(lab)) == ({}, [])
    said = [text for text in lab.told if text == "node1: its Node is uncordoned"]
    assert len(said) == (1 if inside else 2)


def test_nodes_are_uncordoned_also_if_they_are_not_waited_for_or_do_not_work(lab: Lab) -> None:
    taken(lab, ClusterPolicy(cordon=True, wait=False))
    assert lab.cordoned() == {}
    lab.cluster.kubelets["node1"].every_ns = 2**62
    report = reverted(lab, ClusterPolicy(cordon=True, deadline_ns=SECOND))
    assert report.cluster
    assert report.cluster.outcome.value == "late"
    assert lab.cordoned() == {}


def test_what_somebody_else_has_cordoned_stays_so(lab: Lab) -> None:
    lab.cluster.by_name["k-node2"] = replace(lab.cluster.by_name["k-node2"], unschedulable=True)
    taken(lab, CORDON)
    assert watched(lab).seen["pause"] == NODES
    assert lab.cordoned() == {"k-node2": ""}


def test_where_one_cannot_be_cordoned_nothing_is_changed_and_none_stays_so(lab: Lab) -> None:
    class Refusing(Mortal):
        def cordon(self, node: str, mark: str) -> bool:
            if node == "k-node2":
                raise KubernetesError("forbidden to patch node k-node2", "grant it", lasting=True)
            return super().cordon(node, mark)

    refusing = Refusing(lab.machines)
    lab = replace(lab, cluster=refusing, world=lab.world._replace(kubernetes=refusing))
    with pytest.raises(KubernetesError, match="the Node of node2 cannot be cordoned: forbidden") as caught:
        taken(lab, CORDON)
    assert "omit --cordon" in caught.value.hint
    assert (lab.cordoned(), notes(lab), lab.machines.calls) == ({}, [], [])


def test_where_it_cannot_be_written_down_nothing_is_cordoned(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "cordoned").write_text("in the way")
    with pytest.raises(ClockstepError, match="cannot be written"):
        taken(lab, CORDON)
    assert (lab.cordoned(), lab.machines.calls) == ({}, [])
    assert "cordon" not in lab.cluster.calls


@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [(AWAY, KubernetesError, "the Nodes cannot be cordoned: the API"), (None, UsageError, "none of these machines")],
)
def test_without_nodes_to_cordon_nothing_is_changed(
    lab: Lab, trouble: KubernetesError | None, error: type[ClockstepError], said: str
) -> None:
    lab.cluster.trouble = trouble
    lab.cluster.by_name = {} if trouble else {"x": replace(lab.cluster.by_name["k-node1"], system_uuid="")}
    lab.cluster.kubelets.clear()
    with pytest.raises(error, match=said):
        taken(lab, CORDON)
    assert lab.machines.calls == []


def test_a_cordon_without_a_cluster_is_refused(lab: Lab) -> None:
    lab.world = lab.world._replace(kubernetes=None)
    with pytest.raises(UsageError, match="no Kubernetes cluster"):
        taken(lab, CORDON)


@pytest.mark.parametrize(("operation", "guest"), [("pause", "node2"), ("snapshot", "node1"), ("revert", "node3")])
def test_an_interruption_leaves_none_cordoned(lab: Lab, operation: str, guest: str) -> None:
    if operation == "revert":
        taken(lab)
    watched(lab).fatal, watched(lab).error = (operation, guest), KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reverted(lab, CORDON) if operation == "revert" else taken(lab, CORDON)
    assert watched(lab).seen[operation] == NODES
    assert (lab.cordoned(), notes(lab)) == ({}, [])


def test_an_interruption_while_one_is_being_cordoned_waits_for_that_and_undoes_it(lab: Lab) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Mortal):
        def cordon(self, node: str, mark: str) -> bool:
            if node == "k-node1":
                assert begun.wait(20)
                os.kill(os.getpid(), signal.SIGINT)
                return super().cordon(node, mark)
            begun.set()
            assert go_on.wait(20)
            return super().cordon(node, mark)

        def uncordon(self, node: str, mark: str) -> bool:
            go_on.set()  # this one was cordoned; the others are under way
            return super().uncordon(node, mark)

    slow = Slow(lab.machines)
    lab = replace(lab, cluster=slow, world=lab.world._replace(kubernetes=slow))
    with pytest.raises(KeyboardInterrupt):
        taken(lab, CORDON)
    assert (lab.cordoned(), notes(lab)) == ({}, [])


def test_an_interruption_of_the_wait_leaves_none_cordoned_and_says_that_the_clocks_are_done(lab: Lab) -> None:
    class Interrupting(Mortal):
        def nodes(self) -> list[KubeNode]:
            if all(machine.running for machine in self.machines.machines.values()) and self.calls.count("nodes") > 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().nodes()

    interrupting = Interrupting(lab.machines)
    interrupting.kubelets["node2"].every_ns = 2**62
    lab = replace(lab, cluster=interrupting, world=lab.world._replace(kubernetes=interrupting))
    with pytest.raises(KeyboardInterrupt):
        taken(lab, CORDON)
    assert (lab.cordoned(), notes(lab)) == ({}, [])
    assert "all clocks were done; only the wait for the Kubernetes cluster was interrupted" in lab.told
    assert all(machine.running for machine in lab.machines.machines.values())


AT = [("pause", "node1"), ("pause", "node3"), ("snapshot", "node2"), ("resume", "node2")]


@pytest.mark.parametrize(("operation", "guest"), AT)
def test_what_a_killed_snapshot_has_cordoned_the_same_command_uncordons(
    lab: Lab, tmp_path: Path, operation: str, guest: str
) -> None:
    watched(lab).fatal = (operation, guest)
    with pytest.raises(Killed):
        taken(by(lab, tmp_path, Ended), CORDON)
    assert sorted(lab.cordoned()) == notes(lab) == NODES
    watched(lab).dead = False
    if operation == "resume":
        for one in lab.machines.guests():
            lab.machines.resume(one)
        stepped(lab.world, lab.machines.guests(), Policy(), aftercare=WAIT)
    else:
        assert taken(lab, CORDON).complete
    assert (lab.cordoned(), notes(lab)) == ({}, [])


def test_a_run_that_is_killed_before_it_has_cordoned_leaves_only_a_note_which_the_next_one_strikes(
    lab: Lab, tmp_path: Path
) -> None:
    by(lab, tmp_path, Ended).world.journal.cordons.note(Cordon("k-node1", "uid-node1", "host 1/0 then, snapshot base"))
    taken(by(lab, tmp_path, Ended))
    assert notes(lab) == ["k-node1"]
    ended = FileCordons(tmp_path)
    ended.note(Cordon("k-node1", "uid-node1", Ended(tmp_path).mark("snapshot base", lab.clock.real)))
    taken_again = create(lab.world, lab.machines.guests(), "next", Policy(), aftercare=WAIT)
    assert taken_again.complete
    assert notes(lab) == []


@pytest.mark.parametrize(("operation", "guest"), [("revert", "node1"), ("revert", "node3"), ("resume", "node1")])
@pytest.mark.parametrize("inside", ["", "node3"])
def test_what_a_killed_revert_has_cordoned_the_next_one_uncordons(
    tmp_path: Path, operation: str, guest: str, inside: str
) -> None:
    lab = made(tmp_path, inside)
    taken(lab)
    watched(lab).fatal = (operation, guest)
    with pytest.raises(Killed):
        reverted(by(lab, tmp_path, Ended), CORDON)
    assert notes(lab) == NODES
    watched(lab).dead = False
    report = reverted(lab)
    assert report.complete
    assert (lab.cordoned(), notes(lab)) == ({}, [])


@pytest.mark.parametrize("kind", [Ended, OfAnother])
@pytest.mark.parametrize("aftercare", [WAIT, ClusterPolicy(cordon=True, wait=False)])
def test_a_mark_that_comes_back_with_a_snapshot_is_undone_by_whoever_reverts(
    tmp_path: Path, kind: type[FileCordons], aftercare: ClusterPolicy
) -> None:
    lab = made(tmp_path, "node1")
    taken(by(lab, tmp_path, kind), CORDON)
    assert lab.cordoned() == {}
    kept: Sequence[str] = [name for name, node in lab.cluster.kept["base"].items() if node.unschedulable]
    assert kept == NODES
    assert reverted(lab, aftercare).complete
    assert lab.cordoned() == {}
    assert [text.partition(",")[0] for text in lab.told if text.startswith("uncordoned")] == [
        f"uncordoned {name}" for name in NODES
    ]


def test_marks_of_others_that_may_be_at_work_are_left_alone_by_all_but_a_revert(lab: Lab, tmp_path: Path) -> None:
    other = OfAnother(tmp_path).mark("snapshot x", lab.clock.real)
    own = FileCordons(tmp_path).mark("snapshot y", lab.clock.real)
    for name, mark in (("k-node1", other), ("k-node2", own)):
        lab.cluster.cordon(name, mark)
    taken(lab)
    stepped(lab.world, lab.machines.guests(), Policy(), aftercare=WAIT)
    assert lab.cordoned() == {"k-node1": other, "k-node2": own}
    reverted(lab)
    assert lab.cordoned() == {}


def test_a_cluster_that_is_away_in_the_end_leaves_a_note_by_which_the_next_run_uncordons(
    lab: Lab, tmp_path: Path
) -> None:
    taken(lab)
    original = lab.machines.resume

    def resume(guest: Guest) -> None:
        lab.cluster.trouble = AWAY
        original(guest)

    lab.machines.resume = resume  # type: ignore[method-assign]
    report = reverted(by(lab, tmp_path, Ended), CORDON)
    assert report.cluster
    assert (report.cluster.outcome.value, report.cluster.cordoned) == ("unknown", tuple(NODES))
    assert notes(lab) == NODES
    assert any(text.startswith("node1: its Node stays cordoned: the API server refused") for text in lab.told)
    lab.cluster.trouble = None
    lab.machines.resume = original  # type: ignore[method-assign]
    stepped(lab.world, lab.machines.guests()[:1], Policy(), aftercare=WAIT)
    assert (lab.cordoned(), notes(lab)) == ({}, [])


def test_a_note_of_another_cluster_is_none_of_this_one(lab: Lab, tmp_path: Path) -> None:
    mark = Ended(tmp_path).mark("snapshot x", lab.clock.real)
    elsewhere = Cordon("k-node1", "another-uid", mark)
    lab.world.journal.cordons.note(elsewhere)
    assert left_behind(lab.cluster.nodes(), lab.world.journal.cordons) == []
    taken(lab)
    assert lab.world.journal.cordons.notes() == [elsewhere]
