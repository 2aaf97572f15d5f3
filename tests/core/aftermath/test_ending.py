"""The aftermath at the end of a run: what it looks at and repairs, and that it spoils nothing of the run's report."""

from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.aftermath.checking import at_once, chosen
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.flows.aftermath import Scene, repair
from clockstep.flows.aftermath_after import REFUSED, looked_after, reported, skipped
from clockstep.flows.damaged_nodes import unseen
from clockstep.host.locks import DomainLocks
from clockstep.model import AftermathReport, Cause, Episode, Facts, Healed, State, Verdict
from clockstep.model.damage import Seen
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from core.aftermath.made import NOW, seen
from core.aftermath.test_flow import AWAY, Changing, stuck
from core.simulation import SimClock, SimHypervisor

STUCK = at_once(chosen(CHECKS, ["CS-STUCK"], []))


def scene(*looks: Seen) -> tuple[Scene, Changing]:
    """Whom to ask, and the cluster: another one at each look."""
    clock, cluster = SimClock(), Changing(list(looks))
    clock.real = NOW
    return Scene(cluster, unseen("no node"), clock, clock, lambda _of, _text: None), cluster


def episode(verdict: Verdict = Verdict.GOOD, node: str = "web") -> Episode:
    return Episode(node, Cause("reverted"), verdict, None, (), None, Facts(), (), NOW, 1)


def world(said: list[str], folder: Path) -> World:
    clock = SimClock()
    machines, locks = SimHypervisor(clock, ["web"]), DomainLocks(clock)
    return World(machines, clock, clock, locks, FileJournal(folder), lambda _node, text: said.append(text))


def test_what_stays_broken_is_planned_and_healed_by_the_same_plan() -> None:
    there, cluster = scene(stuck("a"), stuck("a"), seen())
    plan = looked_after(there, STUCK, REMEDIES, [episode()])
    (one,) = plan.repairs
    assert one.act and cluster.acts == []
    report = repair(there, STUCK, REMEDIES, plan.repairs)
    assert (len(cluster.acts), [one.outcome for one in report.repairs]) == (1, [Healed.HEALED])
    assert report.checks[0].state is State.CLEAN


@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.GOOD])
def test_nothing_is_repaired_while_a_clock_of_the_run_is_not_within_tolerance(verdict: Verdict) -> None:
    there, _ = scene(stuck("a"))
    plan = looked_after(there, STUCK, REMEDIES, [episode(), episode(verdict, "db")])
    (one,) = plan.repairs
    assert (one.act, one.outcome) == (None, Healed.SKIPPED)
    assert one.why == "the clock of db is not within tolerance: correct it first"
    assert plan.checks[0].state is State.BROKEN


def test_a_plan_that_is_not_agreed_to_says_so_of_each_cure_and_keeps_other_reasons() -> None:
    bare = replace(stuck("b").pods[0], owner=None)
    there, _ = scene(seen(pods=(*stuck("a").pods, bare)))
    plan = skipped(looked_after(there, STUCK, REMEDIES, [episode()]), REFUSED)
    assert [(one.outcome, one.why) for one in plan.repairs] == [
        (Healed.SKIPPED, REFUSED),
        (Healed.LEFT, "nobody would make this pod again"),
    ]


@pytest.mark.parametrize("internal", [False, True])
def test_a_cluster_that_does_not_answer_or_a_bug_is_a_report_too(tmp_path: Path, internal: bool) -> None:
    there, _ = scene(AWAY)

    def job() -> AftermathReport:
        if internal:
            raise RuntimeError("a bug")
        return looked_after(there, STUCK, REMEDIES, [episode()])

    said: list[str] = []
    report = reported(world(said, tmp_path), STUCK, job)
    assert report.trouble and report.trouble.internal == internal
    assert ("a bug" if internal else "the API server is away") in report.trouble.text
    assert [(one.code, one.state) for one in report.checks] == [("CS-STUCK", State.NOT_LOOKED)]
    assert said == []


def test_an_interrupt_is_raised_after_it_was_told_where_the_clocks_are(tmp_path: Path) -> None:
    def job() -> AftermathReport:
        raise KeyboardInterrupt(2)

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        reported(world(said, tmp_path), STUCK, job)
    assert said == [
        "interrupted in the aftermath: clockstep history has what was done to clocks; run clockstep aftermath"
    ]


def test_a_cluster_that_goes_away_during_a_repair_costs_neither_what_was_done_nor_the_report() -> None:
    there, cluster = scene(stuck("a"), stuck("a"), AWAY)
    plan = looked_after(there, STUCK, REMEDIES, [episode()])
    report = repair(there, STUCK, REMEDIES, plan.repairs)
    assert len(cluster.acts) == 1
    assert (report.repairs[0].outcome, report.checks[0].state) == (Healed.NOT_HEALED, State.NOT_LOOKED)
