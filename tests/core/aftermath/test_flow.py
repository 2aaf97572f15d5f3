"""Looking again while something may heal, and what a repair makes of a cluster that changes meanwhile."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clockstep.core.aftermath.checking import chosen, look
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.core.aftermath.planning import plan
from clockstep.errors import HypervisorError, KubernetesError
from clockstep.flows.aftermath import Scene, aftermath, repair
from clockstep.flows.damaged_nodes import unseen
from clockstep.model import Act, AftermathReport, Broken, Healed, Repair, State
from clockstep.model.damage import Endpoint, Input, PodToken, Probe, Seen, Unread, Waiting
from clockstep.units import DAY_NS, SECOND_NS
from core.aftermath.made import NOW, node, pod, seen
from core.simulation import SimClock

RESERVED = (Waiting("x", "CreateContainerError", "name is reserved for"),)
STUCK = chosen(CHECKS, ["CS-STUCK"], [])


AWAY = seen(pods=())
"""No cluster: the API server does not answer."""


@dataclass
class Changing:
    """A cluster that is another one at each look; the last one stays. What is done to it is kept."""

    looks: list[Seen]
    refusal: KubernetesError | None = None
    skipped: str = ""
    acts: list[Act] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    gathered: int = 0

    def gather(self, wanted: Collection[Input]) -> tuple[Mapping[str, tuple[Any, ...]], Mapping[Input, Unread]]:
        now = self.looks[min(self.gathered, len(self.looks) - 1)]
        self.gathered += 1
        if now is AWAY:
            raise KubernetesError("the API server is away")
        return {"pods": now.pods, "nodes": now.nodes}, now.unread

    def probe(self, webhooks: Collection[Endpoint]) -> tuple[Probe, ...]:
        raise AssertionError("no check here needs it")

    def perform(self, act: Act, at_ns: int) -> str:
        if self.refusal:
            raise self.refusal
        self.acts.append(act)
        return self.skipped

    def note(self, act: Act, text: str, at_ns: int) -> None:
        self.noted.append(text)


def told(cluster: Changing, clock: SimClock) -> tuple[Scene, list[str]]:
    """Return a scene, and what is told in it."""
    clock.real = NOW
    said: list[str] = []
    tell: Callable[[str, str], None] = lambda _of, text: said.append(text)  # noqa: E731
    return Scene(cluster, unseen("no node"), clock, clock, tell), said


def stuck(*names: str) -> Seen:
    return seen(pods=tuple(pod(name, waiting=RESERVED) for name in names))


def repaired(cluster: Changing) -> AftermathReport:
    """Repair what is found in the first of a cluster's looks."""
    there, _ = told(cluster, SimClock())
    return repair(there, STUCK, REMEDIES, plan(look(STUCK, cluster.looks[0]), REMEDIES, cluster.looks[0]))


def test_what_heals_in_time_is_not_broken() -> None:
    clock = SimClock()
    there, said = told(Changing([stuck("a"), stuck("a"), seen()]), clock)
    report, _ = aftermath(there, STUCK)
    assert report.checks[0].state is State.CLEAN
    assert 6 * SECOND_NS <= report.checks[0].waited_ns < 7 * SECOND_NS
    assert said and "it may heal within 20 s" in said[0]


def test_what_does_not_heal_is_waited_for_to_its_deadline_and_no_longer() -> None:
    clock = SimClock()
    there, _ = told(Changing([stuck("a")]), clock)
    report, _ = aftermath(there, STUCK)
    assert report.checks[0].state is State.BROKEN
    assert 20 * SECOND_NS <= report.checks[0].waited_ns < 24 * SECOND_NS


def test_what_will_not_heal_in_time_is_not_waited_for() -> None:
    ahead = seen(tokens=(PodToken(pod().uid, NOW + DAY_NS),))
    cluster = Changing([ahead])
    there, _ = told(cluster, SimClock())
    there = replace(there, inside=lambda _wanted, now: replace(now, now_ns=NOW, tokens=ahead.tokens))
    report, _ = aftermath(there, chosen(CHECKS, ["CS-TOKEN"], []))
    assert report.checks[0].state is State.BROKEN
    assert cluster.gathered == 1


def test_what_only_a_cure_heals_is_not_waited_for_unless_something_else_may_heal() -> None:
    found = Broken("CS-STUCK", pod().ref, "stuck", "", "", lasting=True)
    check = replace(STUCK[0], find=lambda seen: [replace(found, on=one.ref, lasting=one.ready) for one in seen.pods])
    for ready, waited in ([True], False), ([True, False], True):
        there, _ = told(Changing([seen(pods=tuple(pod(f"{one}", ready=one) for one in ready))]), SimClock())
        report, _ = aftermath(there, [check])
        assert report.checks[0].state is State.BROKEN
        assert (report.checks[0].waited_ns > SECOND_NS) is waited


def test_what_is_in_order_is_looked_at_once() -> None:
    cluster = Changing([seen()])
    there, said = told(cluster, SimClock())
    aftermath(there, STUCK)
    assert (cluster.gathered, said) == (1, [])


def test_a_cure_is_proven_by_a_second_look_of_the_same_check() -> None:
    cluster = Changing([stuck("a"), stuck("a"), stuck("a"), seen()])
    report = repaired(cluster)
    (one,) = report.repairs
    assert (one.outcome, [act.on.name for act in cluster.acts]) == (Healed.HEALED, ["a"])
    assert one.proven_ns and one.at_ns and one.proven_ns > one.at_ns
    assert cluster.noted == ["evict because of CS-STUCK: its container x cannot be made: an older one holds its name"]


def test_a_cure_that_does_not_help_is_said_and_done_once() -> None:
    cluster = Changing([stuck("a")])
    report = repaired(cluster)
    assert report.repairs[0].outcome is Healed.NOT_HEALED
    assert len(cluster.acts) == 1
    assert report.checks[0].state is State.BROKEN


def test_what_has_healed_since_it_was_planned_is_left_alone() -> None:
    cluster = Changing([stuck("a"), seen()])
    cluster.gathered = 1
    report = repaired(cluster)
    assert (report.repairs[0].outcome, report.repairs[0].why) == (Healed.HEALED, "it has healed by itself")
    assert cluster.acts == []


def test_a_look_that_fails_proves_nothing() -> None:
    blind = seen(unread={Input.PODS: Unread("forbidden")})
    report = repaired(Changing([stuck("a"), blind]))
    assert report.repairs[0].outcome is Healed.NOT_HEALED


def test_a_refusal_costs_only_its_own_cure() -> None:
    cluster = Changing([stuck("a", "b")], refusal=KubernetesError("forbidden to evict", status=403))
    report = repaired(cluster)
    assert [(one.outcome, one.why) for one in report.repairs] == [(Healed.NOT_HEALED, "forbidden to evict")] * 2


def test_a_cure_whose_answer_was_lost_is_in_the_history_since_it_may_have_been_carried_out() -> None:
    cluster, kept = Changing([stuck("a")], refusal=KubernetesError("no answer")), list[Repair]()
    there, _ = told(cluster, SimClock())
    plans = plan(look(STUCK, stuck("a")), REMEDIES, stuck("a"))
    (failed,) = repair(replace(there, kept=kept.append), STUCK, REMEDIES, plans).repairs
    assert kept == [failed]
    assert (failed.outcome, failed.why, bool(failed.at_ns)) == (Healed.NOT_HEALED, "no answer", True)


def test_what_was_skipped_is_neither_noted_nor_waited_for() -> None:
    cluster = Changing([stuck("a")], skipped="a budget forbids it now")
    report = repaired(cluster)
    assert (report.repairs[0].outcome, cluster.noted) == (Healed.SKIPPED, [])


def test_an_api_server_that_is_away_for_a_moment_is_waited_for() -> None:
    report = repaired(Changing([stuck("a"), AWAY, AWAY, seen()]))
    assert report.repairs[0].outcome is Healed.HEALED


def test_what_was_done_is_reported_also_if_nobody_answers_any_more() -> None:
    cluster = Changing([stuck("a"), AWAY])
    report = repaired(cluster)
    assert (report.repairs[0].outcome, len(cluster.acts)) == (Healed.NOT_HEALED, 1)
    assert (report.checks[0].state, report.checks[0].why) == (State.NOT_LOOKED, "the API server is away")


def test_what_a_cure_leaves_to_heal_by_itself_is_waited_for_and_what_was_left_before_is_not() -> None:
    cured, left = stuck("a", "left"), replace(pod("left", waiting=RESERVED), owner=None)
    before = replace(cured, pods=(cured.pods[0], left))
    after = seen(pods=(left,))
    cluster = Changing([before, before, after, seen(pods=(left, *stuck("new").pods)), after])
    cluster.gathered = 1
    there, said = told(cluster, SimClock())
    report = repair(there, STUCK, REMEDIES, plan(look(STUCK, before), REMEDIES, before))
    assert [one.outcome for one in report.repairs] == [Healed.HEALED, Healed.LEFT]
    assert [one.on.name for one in report.checks[0].broken] == ["left"]
    assert sum("new: " in text for text in said) == 1
    assert not any("left: " in text for text in said)


def test_a_cure_is_not_carried_out_on_another_object_than_the_one_that_was_shown() -> None:
    shown, other = stuck("a"), seen(pods=(replace(stuck("a").pods[0], uid="another"),))
    cluster = Changing([shown, other])
    cluster.gathered = 1
    there, _ = told(cluster, SimClock())
    report = repair(there, STUCK, REMEDIES, plan(look(STUCK, shown), REMEDIES, shown))
    assert cluster.acts == []
    assert (report.repairs[0].outcome, report.repairs[0].act) == (Healed.SKIPPED, None)
    assert "has changed since it was shown" in report.repairs[0].why


def test_nothing_is_cured_that_was_chosen_alone_while_a_clock_that_comes_first_is_off() -> None:
    ahead = node(renewed_ns=NOW + DAY_NS)
    cluster = Changing([replace(stuck("a"), nodes=(ahead,))])
    there, _ = told(cluster, SimClock())
    report = repair(there, STUCK, REMEDIES, plan(look(STUCK, stuck("a")), REMEDIES, stuck("a")), CHECKS)
    assert cluster.acts == []
    assert (report.repairs[0].outcome, report.repairs[0].act) == (Healed.SKIPPED, None)
    assert "CS-CLOCK comes first" in report.repairs[0].why


def test_what_was_done_is_reported_also_if_the_hypervisor_answers_no_more() -> None:
    cluster = Changing([stuck("a")])
    there, _ = told(cluster, SimClock())

    def gone(wanted: Collection[Input], now: Seen) -> Seen:
        if cluster.acts:
            raise HypervisorError("libvirt is away")
        return now

    report = repair(replace(there, inside=gone), STUCK, REMEDIES, plan(look(STUCK, stuck("a")), REMEDIES, stuck("a")))
    assert (report.repairs[0].outcome, len(cluster.acts)) == (Healed.NOT_HEALED, 1)
    assert (report.checks[0].state, report.checks[0].why) == (State.NOT_LOOKED, "libvirt is away")


def test_what_is_not_found_by_a_look_that_could_not_see_it_has_not_healed() -> None:
    blind = seen(unread={Input.PODS: Unread("forbidden")}, pods=())
    cluster = Changing([stuck("a"), blind])
    cluster.gathered = 1
    report = repaired(cluster)
    assert (report.repairs[0].outcome, report.repairs[0].why) == (Healed.SKIPPED, "could not look again: forbidden")
