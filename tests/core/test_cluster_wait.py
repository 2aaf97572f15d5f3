"""What ends with a cluster that works: revert, snapshot create and step wait for it, and never at the clocks' cost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clockstep.core.targets import Scope
from clockstep.errors import KubernetesError
from clockstep.flows import revert as reverts
from clockstep.flows.snapshot import create
from clockstep.flows.step import stepped
from clockstep.model import ClusterPolicy, ClusterState, Freshness, KubeCondition, KubeNode, Policy, SetReport, Verdict
from clockstep.units import SECOND_NS
from core.cluster_simulation import NAMES, Lab, lab_of
from core.simulation import MILLISECOND, SECOND

WAIT = ClusterPolicy()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_of(tmp_path)


def taken(lab: Lab, policy: ClusterPolicy = WAIT) -> SetReport:
    report = create(lab.world, lab.machines.guests(), "base", Policy(), aftercare=policy)
    assert report.complete
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    return report


def reverted(lab: Lab, policy: ClusterPolicy = WAIT, after_s: int = 600) -> SetReport:
    lab.clock.sleep_ns(after_s * SECOND)
    report = reverts.revert(lab.world, reverts.choose(lab.machines, Scope(), "base"), Policy(), aftercare=policy)
    assert report.complete
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    assert all(abs(machine.offset_ns) < MILLISECOND for machine in lab.machines.machines.values())
    return report


def state_of(report: SetReport) -> ClusterState:
    assert report.cluster
    return report.cluster


def states(state: ClusterState) -> list[Freshness]:
    return [one.state for one in state.nodes]


@pytest.mark.parametrize(("inside", "where"), [("", "outside"), ("node1", "inside")])
def test_a_revert_ends_when_every_lease_was_renewed_by_a_right_clock(tmp_path: Path, inside: str, where: str) -> None:
    lab = lab_of(tmp_path, inside)
    taken(lab)
    state = state_of(reverted(lab))
    assert (state.outcome.value, state.trouble) == ("works", None)
    assert state.control_plane.value == where
    assert states(state) == [Freshness.FRESH] * 3
    assert [one.name for one in state.nodes] == [f"k-{name}" for name in NAMES]
    for one in state.nodes:
        assert one.lease_age_ns is not None
        assert -10 * MILLISECOND <= one.lease_age_ns <= 10 * SECOND
        assert one.fresh_ns is not None
        assert one.fresh_ns >= 0
    assert state.waited_ns < WAIT.deadline_ns


def test_ready_with_an_old_lease_is_waited_for_until_the_deadline_and_said(lab: Lab) -> None:
    taken(lab)
    lab.cluster.kubelets["node2"].every_ns = 2**62
    state = state_of(reverted(lab, ClusterPolicy(deadline_ns=20 * SECOND)))
    assert state.outcome.value == "late"
    assert states(state) == [Freshness.FRESH, Freshness.LEASE_OLD, Freshness.FRESH]
    (old,) = [one for one in state.nodes if one.state is Freshness.LEASE_OLD]
    assert (old.ready, old.fresh_ns) == ("True", None)
    assert old.lease_age_ns is not None
    assert old.lease_age_ns > 600 * SECOND
    assert 20 * SECOND <= state.waited_ns < 21 * SECOND
    assert "waiting for the Kubernetes cluster: 2 of 3 Nodes work" in lab.told


@pytest.mark.parametrize("status", ["Unknown", "False"])
def test_ready_that_was_taken_away_is_waited_for_until_it_is_written_again(lab: Lab, status: str) -> None:
    taken(lab)
    kubelet = lab.cluster.kubelets["node2"]
    kubelet.until_then, kubelet.until_ns = status, lab.clock.mono + 640 * SECOND
    lab.cluster.nodes()
    state = state_of(reverted(lab))
    assert (state.outcome.value, states(state)) == ("works", [Freshness.FRESH] * 3)
    assert lab.clock.mono >= kubelet.until_ns


def test_a_node_that_does_not_get_ready_is_said_at_the_deadline(lab: Lab) -> None:
    taken(lab)
    lab.cluster.kubelets["node2"].until_ns = 2**62
    state = state_of(reverted(lab))
    assert (state.outcome.value, states(state)) == ("late", [Freshness.FRESH, Freshness.NOT_READY, Freshness.FRESH])
    assert [one.ready for one in state.nodes] == ["True", "Unknown", "True"]


def test_nothing_is_asked_of_a_cluster_that_is_not_to_be_waited_for(lab: Lab) -> None:
    taken(lab, ClusterPolicy(wait=False))
    assert reverted(lab, ClusterPolicy(wait=False)).cluster is None
    assert lab.cluster.calls == []


def test_without_a_cluster_there_is_nothing_to_wait_for(lab: Lab) -> None:
    lab.world = lab.world._replace(kubernetes=None)
    taken(lab)
    assert reverted(lab).cluster is None


def test_a_control_plane_inside_is_waited_for_until_it_answers_again(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, "node2", starts_ns=30 * SECOND)
    taken(lab, ClusterPolicy(deadline_ns=60 * SECOND))
    state = state_of(reverted(lab))
    assert (state.outcome.value, state.control_plane.value, state.trouble) == ("works", "inside", None)
    assert "waiting for the Kubernetes cluster: the API server refused the connection" in lab.told


def test_one_that_does_not_come_back_by_the_deadline_is_said_with_where_it_is(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, "node2", starts_ns=300 * SECOND)
    create(lab.world, lab.machines.guests(), "base", Policy())
    lab.cluster.up_ns = 0
    state = state_of(reverted(lab))
    assert (state.outcome.value, state.control_plane.value, state.nodes) == ("unknown", "inside", ())
    assert state.trouble
    assert state.trouble.text == "the API server refused the connection"


NOT_YET = KubernetesError("the certificate of the API server https://a is not yet valid", "check the host's clock")


def test_a_certificate_that_is_not_yet_valid_is_waited_for_and_said_and_costs_the_clocks_nothing(lab: Lab) -> None:
    taken(lab)
    lab.cluster.trouble = NOT_YET
    state = state_of(reverted(lab))
    assert (state.outcome.value, state.control_plane.value) == ("unknown", "unknown")
    assert state.trouble
    assert (state.trouble.text, state.trouble.remedy) == (NOT_YET.message, NOT_YET.hint)
    assert state.waited_ns >= 60 * SECOND


def test_an_error_that_lasts_is_not_waited_for_to_the_deadline_but_may_pass_at_first(lab: Lab) -> None:
    taken(lab)
    lab.cluster.trouble = KubernetesError("forbidden to list nodes", "grant it", lasting=True)
    state = state_of(reverted(lab))
    assert state.outcome.value == "unknown"
    assert 10 * SECOND <= state.waited_ns < 12 * SECOND


def test_leases_that_may_not_be_read_are_said_with_what_is_known(lab: Lab) -> None:
    taken(lab)
    for name, node in lab.cluster.by_name.items():
        lab.cluster.by_name[name] = forbidden(node)
    lab.cluster.kubelets.clear()
    state = state_of(reverted(lab))
    assert (state.outcome.value, states(state)) == ("unknown", [Freshness.LEASE_UNKNOWN] * 3)
    assert state.trouble
    assert state.trouble.text == "forbidden to list leases"


def forbidden(node: KubeNode) -> KubeNode:
    return KubeNode(node.name, node.uid, node.system_uuid, node.ready, lease_trouble="forbidden to list leases")


def test_a_cluster_of_other_machines_is_not_taken_for_this_one(lab: Lab) -> None:
    taken(lab)
    lab.cluster.by_name = {"x": KubeNode("x", "u", "11111111-1111-4111-8111-111111111111", KubeCondition("True"))}
    lab.cluster.kubelets.clear()
    state = state_of(reverted(lab))
    assert state.outcome.value == "unmatched"
    assert states(state) == [Freshness.NO_NODE] * 3
    assert state.waited_ns < SECOND


def test_a_bug_in_the_client_is_said_as_one_and_ends_the_wait(lab: Lab) -> None:
    taken(lab)
    lab.cluster.by_name = {}
    state = state_of(reverted(lab))
    assert state.outcome.value == "unknown"
    assert state.trouble
    assert state.trouble.internal
    assert state.waited_ns < SECOND


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_server_that_never_answers_costs_the_clocks_nothing(lab: Lab, never: threading.Event) -> None:
    taken(lab)
    corrected: list[bool] = []

    class Hanging:
        def nodes(self) -> list[KubeNode]:
            machines = lab.machines.machines.values()
            corrected.append(all(machine.running and not abs(machine.offset_ns) > MILLISECOND for machine in machines))
            never.wait()
            return []

    lab.world = lab.world._replace(kubernetes=Hanging())  # type: ignore[arg-type]  # nothing else is asked of it
    report = reverted(lab, ClusterPolicy(deadline_ns=SECOND_NS // 5))
    state = state_of(report)
    assert state.outcome.value == "unknown"
    assert state.trouble
    assert "did not answer within" in state.trouble.text
    assert all(episode.actions for episode in report.episodes)
    assert corrected[1:] == [True], "it was waited for before the clocks were corrected"


def test_a_snapshot_and_a_step_wait_as_well(lab: Lab) -> None:
    state = state_of(taken(lab))
    assert (state.outcome.value, states(state)) == ("works", [Freshness.FRESH] * 3)
    for machine in lab.machines.machines.values():
        machine.offset_ns = -190 * SECOND
    lab.clock.sleep_ns(30 * SECOND)
    report = stepped(lab.world, lab.machines.guests(), Policy(), aftercare=WAIT)
    assert report.cluster
    assert (report.cluster.outcome.value, states(report.cluster)) == ("works", [Freshness.FRESH] * 3)
    assert report.summary


def test_a_step_that_has_nothing_to_do_does_not_wait_for_the_next_renewal(lab: Lab) -> None:
    for kubelet in lab.cluster.kubelets.values():
        kubelet.every_ns = 39 * SECOND
    lab.cluster.nodes()
    lab.clock.sleep_ns(20 * SECOND)
    report = stepped(lab.world, lab.machines.guests(), Policy(), aftercare=WAIT)
    assert report.cluster
    assert report.cluster.outcome.value == "works"
    assert report.cluster.waited_ns < SECOND


def test_a_node_whose_clock_cannot_be_proven_is_not_waited_for(lab: Lab) -> None:
    lab.machines.machines["node2"].running = False
    report = stepped(lab.world, lab.machines.guests(), Policy(), aftercare=WAIT)
    assert report.cluster
    assert states(report.cluster) == [Freshness.FRESH, Freshness.CLOCK_UNPROVEN, Freshness.FRESH]
    assert report.cluster.outcome.value == "late"
    assert report.cluster.waited_ns < 12 * SECOND


def test_a_revert_that_is_not_complete_waits_for_nothing(lab: Lab) -> None:
    taken(lab)
    lab.machines.broken = {("revert", "node2")}
    report = reverts.revert(lab.world, reverts.choose(lab.machines, Scope(), "base"), Policy(), aftercare=WAIT)
    assert (report.complete, report.cluster) == (False, None)
