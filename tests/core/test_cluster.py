"""What proves that a Kubernetes cluster works: a table of cases, and what holds of all."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.cluster import Looks, Proof, control_plane, judge, proof_of
from clockstep.model import (
    Cause,
    ClusterOutcome,
    ControlPlane,
    Episode,
    Facts,
    Freshness,
    Guest,
    KubeCondition,
    KubeNode,
    Step,
    Verdict,
)
from clockstep.units import MILLISECOND_NS as MS
from clockstep.units import MINUTE_NS, SECOND_NS

NOW = 1_800_000_000 * SECOND_NS
PROVEN = NOW - 5 * SECOND_NS + 300 * MS
PROOF = Proof(PROVEN, 10 * MS)
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
READY = KubeCondition("True", heartbeat_ns=NOW - 3 * MINUTE_NS, changed_ns=NOW - 90 * MINUTE_NS)
WORKING = KubeNode("a", "u", UUID, READY, renewed_ns=PROVEN + SECOND_NS, lease_ns=40 * SECOND_NS)
GUEST = Guest("node-1", UUID, "running")


def ready(status: str = "True", written_ns: int | None = NOW - 3 * MINUTE_NS) -> dict[str, Any]:
    return {"ready": replace(READY, status=status, heartbeat_ns=written_ns)}


CASES: dict[str, tuple[dict[str, Any], bool, Freshness | str]] = {
    "renewed after the proof, and Ready all the time": ({}, False, Freshness.FRESH),
    "renewed a moment after the proof": ({"renewed_ns": PROVEN + 10 * MS + 1}, False, Freshness.FRESH),
    "renewed so close to the proof that it may be before": ({"renewed_ns": PROVEN + 10 * MS}, False, "lease-old"),
    "Ready with a lease 190 s old": ({"renewed_ns": NOW - 190 * SECOND_NS}, False, "lease-old"),
    "renewed just now by a clock within tolerance": ({"renewed_ns": NOW + 10 * MS}, False, Freshness.FRESH),
    "renewed by a clock that is ahead": ({"renewed_ns": NOW + 11 * MS}, False, "lease-ahead"),
    "no lease": ({"renewed_ns": None}, False, "lease-unknown"),
    "Ready is gone": (ready("Unknown"), False, "not-ready"),
    "not Ready": (ready("False", NOW), False, "not-ready"),
    "a status that there is not": (ready("true", NOW), False, "not-ready"),
    "no Ready at all": ({"ready": None}, False, "not-ready"),
    "Ready is an hour old, as from a snapshot with the control plane": (ready(written_ns=NOW - 3600), False, "fresh"),
    "Ready was never away, and when it was written cannot be read": (ready(written_ns=None), False, "fresh"),
    "Ready was away, and was written since": (ready(written_ns=NOW - SECOND_NS), True, "fresh"),
    "Ready was away, and was written in the second of the proof": (
        ready(written_ns=PROVEN // SECOND_NS * SECOND_NS),
        True,
        "fresh",
    ),
    "Ready was away, and was written before": (ready(written_ns=PROVEN - SECOND_NS), True, "ready-old"),
    "Ready was away, and when it was written cannot be read": (ready(written_ns=None), True, "ready-old"),
    "Ready was written by a clock that was ahead": (ready(written_ns=NOW + MINUTE_NS), False, "ready-ahead"),
    "the lease counts first": ({"renewed_ns": None, "ready": None}, False, "lease-unknown"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_node_proves(case: str) -> None:
    changed, away, expected = CASES[case]
    assert judge(replace(WORKING, **changed), PROOF, NOW, away=away) is Freshness(expected)


@pytest.mark.parametrize(
    ("age_ns", "lease_ns", "fresh"),
    [
        (39 * SECOND_NS, 40 * SECOND_NS, True),
        (41 * SECOND_NS, 40 * SECOND_NS, False),
        (39 * SECOND_NS, None, True),
        (41 * SECOND_NS, None, False),
        (3 * SECOND_NS, 2 * SECOND_NS, False),
    ],
)
def test_where_nothing_had_to_be_done_to_a_clock_a_lease_of_before_counts_for_its_length(
    age_ns: int, lease_ns: int | None, fresh: bool
) -> None:
    node = replace(WORKING, renewed_ns=PROVEN - age_ns, lease_ns=lease_ns)
    assert (judge(node, PROOF._replace(corrected=False), NOW) is Freshness.FRESH) is fresh
    assert judge(node, PROOF, NOW) is Freshness.LEASE_OLD


moments = st.none() | st.integers(NOW - 10**12, NOW + 10**12)


@given(moments, moments, st.sampled_from(["True", "False", "Unknown", ""]), st.booleans(), st.integers(0, 10**9))
def test_nothing_is_fresh_without_a_renewal_after_the_proof_that_is_not_ahead(
    renewed_ns: int | None, written_ns: int | None, status: str, away: bool, within_ns: int
) -> None:
    node = replace(WORKING, renewed_ns=renewed_ns, **ready(status, written_ns))
    state = judge(node, Proof(PROVEN, within_ns), NOW, away=away)
    if state is Freshness.FRESH:
        assert status == "True"
        assert renewed_ns is not None
        assert PROVEN < renewed_ns - within_ns <= NOW
        assert written_ns is None or written_ns <= NOW + within_ns
        assert not away or (written_ns is not None and written_ns > PROVEN - within_ns - SECOND_NS)


def test_ready_that_was_seen_to_be_away_since_the_proof_has_to_be_written_again() -> None:
    looks = Looks({GUEST: PROOF})
    looks.take([replace(WORKING, **ready("Unknown"))], NOW)
    assert [one.state for one in looks.nodes] == [Freshness.NOT_READY]
    looks.take([WORKING], NOW + SECOND_NS)
    assert [one.state for one in looks.nodes] == [Freshness.READY_OLD]
    assert not looks.are_settled
    looks.take([replace(WORKING, **ready(written_ns=NOW + SECOND_NS))], NOW + 2 * SECOND_NS)
    (one,) = looks.nodes
    assert (one.state, one.fresh_ns, one.lease_age_ns) == (Freshness.FRESH, NOW + 2 * SECOND_NS - PROVEN, 5_700 * MS)
    assert looks.are_settled
    assert looks.outcome.value == "works"


def test_a_node_that_is_fresh_and_then_is_not_does_not_count() -> None:
    looks = Looks({GUEST: PROOF})
    looks.take([WORKING], NOW)
    assert looks.outcome.value == "works"
    looks.take([replace(WORKING, **ready("Unknown"))], NOW)
    assert looks.outcome.value == "late"


def test_machines_that_are_no_nodes_are_no_concern_and_those_in_doubt_are() -> None:
    database, twin = Guest("db", "11111111-1111-4111-8111-111111111111", "running"), replace(WORKING, name="b")
    looks = Looks({GUEST: PROOF, database: PROOF})
    looks.take([WORKING], NOW)
    assert [one.state for one in looks.nodes] == [Freshness.FRESH, Freshness.NO_NODE]
    assert looks.outcome.value == "works"
    looks.take([WORKING, twin], NOW)
    assert [one.state for one in looks.nodes] == [Freshness.DOUBTFUL, Freshness.NO_NODE]
    assert looks.outcome.value == "late"
    assert looks.are_settled


def test_a_cluster_without_any_of_the_machines_is_another_one() -> None:
    looks = Looks({GUEST: PROOF})
    looks.take([replace(WORKING, system_uuid="")], NOW)
    assert looks.outcome is ClusterOutcome.UNMATCHED


def test_a_node_whose_clock_is_not_proven_is_not_waited_for_and_proves_nothing() -> None:
    looks = Looks({GUEST: None})
    looks.take([WORKING], NOW)
    assert [(one.state, one.name, one.ready) for one in looks.nodes] == [(Freshness.CLOCK_UNPROVEN, "a", "True")]
    assert looks.are_settled
    assert looks.outcome.value == "late"


SERVER, WORKER = replace(WORKING, name="s", roles=("control-plane",)), replace(WORKING, name="w", roles=("worker",))
OLD, ETCD = replace(WORKING, name="o", roles=("master",)), replace(WORKING, name="e", roles=("etcd",))


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ("soew", ControlPlane.INSIDE),
        ("soe", ControlPlane.INSIDE),
        ("sow", ControlPlane.PARTLY),
        ("w", ControlPlane.OUTSIDE),
        ("", ControlPlane.UNKNOWN),
    ],
)
def test_where_the_control_plane_is(members: str, where: ControlPlane) -> None:
    assert control_plane([SERVER, OLD, ETCD, WORKER], list(members)) is where


def test_a_control_plane_without_nodes_is_outside() -> None:
    assert control_plane([WORKER], ["w"]) is ControlPlane.OUTSIDE


def episode(verdict: Verdict, proven_ns: int | None, *actions: Step, cause: str = "asked") -> Episode:
    return Episode("a", Cause(cause), verdict, None, actions, None, Facts(), (), NOW, 9, None, proven_ns)


def test_when_a_clock_was_proven_is_in_its_episode() -> None:
    assert proof_of(episode(Verdict.GOOD, 7, Step(5)), 3) == Proof(NOW + 7, 3, corrected=True)
    assert proof_of(episode(Verdict.GOOD, 7, cause="reverted"), 3) == Proof(NOW + 7, 3, corrected=True)
    assert proof_of(episode(Verdict.GOOD, 7), 3) == Proof(NOW + 7, 3, corrected=False)
    assert proof_of(episode(Verdict.GOOD, None), 3) is None
    assert proof_of(episode(Verdict.UNSURE, 7), 3) is None
