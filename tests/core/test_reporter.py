"""What a watcher sees reaches the cluster: the last state in good time, rarely, and never at another writer's cost."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clockstep.core.condition import writer_of
from clockstep.core.condition_schedule import HEARTBEAT_NS, STALE_NS
from clockstep.core.kube_events import MOST_WAITING
from clockstep.errors import KubernetesError
from clockstep.model import Episode, KubeCondition, KubeEvent, KubeNode, Offset, Verdict
from clockstep.ports import KubeReports
from clockstep.sinks.reporter import Absent, Finder, Reporter
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from conftest import until
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import SimClock
from core.test_condition import BEHIND, TEN_MS, look
from core.test_kube_events import STEP, corrected

AWAY = KubernetesError("the API server refused the connection")
FORBIDDEN = KubernetesError("forbidden to patch nodes/status", lasting=True, status=403)
LAPSED = KubernetesError("the API server refuses the credentials", lasting=True, status=401)
GOOD = look(Verdict.GOOD, Offset(0, 1000))
BAD = look(Verdict.BAD, BEHIND)
UNREAD = look(Verdict.UNREACHABLE)


class Bench:
    """A cluster, and reporters of it by a made-up clock: each is given its turn whenever it asks for one."""

    def __init__(self, *nodes: str) -> None:
        self.clock, self.told = SimClock(), list[str]()
        self.cluster = SimulatedKubernetes(KubeNode(name, name, name) for name in nodes)
        self.reporters: list[Reporter] = []
        self.reporter = self.writer("watch@kvm1")

    def writer(self, name: str, finder: Finder | None = None, cluster: KubeReports | None = None) -> Reporter:
        """Return one more reporter of the same cluster."""
        made = Reporter(
            cluster or self.cluster,
            name,
            self.clock,
            self.clock,
            lambda _node, text: self.told.append(text),
            finder,
            lambda: 0.5,
        )
        self.reporters.append(made)
        return made

    def see(self, machine: str, episode: Episode, *, new: bool = False, by: Reporter | None = None) -> None:
        """Have a reporter see something, and write what is due."""
        (by or self.reporter).seen(machine, episode, TEN_MS, new=new)
        self.go_on(0)

    def go_on(self, duration_ns: int) -> None:
        """Let time pass."""
        end_ns = self.clock.mono + duration_ns
        while True:
            waits = [wait_ns for one in self.reporters if (wait_ns := one.turn()) is not None]
            if not waits or self.clock.mono + min(waits) > end_ns:
                break
            self.clock.sleep_ns(min(waits))
        self.clock.sleep_ns(max(0, end_ns - self.clock.mono))

    def watch(self, machine: str, episode: Episode, duration_ns: int, by: Reporter | None = None) -> None:
        """See the same all ten seconds for so long."""
        for _ in range(duration_ns // (10 * SECOND_NS)):
            self.see(machine, episode, by=by)
            self.go_on(10 * SECOND_NS)

    def said(self, node: str) -> KubeCondition:
        """Return a Node's condition."""
        found = self.cluster.by_name[node].problem
        assert found
        return found

    def count(self, call: str) -> int:
        """Return how often something was asked of the cluster."""
        return self.cluster.calls.count(call)


def test_a_change_is_written_at_once_and_what_stays_as_it_is_only_as_a_heartbeat() -> None:
    bench = Bench("node-1")
    bench.watch("node-1", GOOD, HOUR_NS)
    assert 10 <= bench.count("set_condition") <= 14
    first = bench.said("node-1")
    assert (first.status, first.reason, writer_of(first)) == ("False", "ClockInBounds", "watch@kvm1")
    bench.go_on(SECOND_NS)
    bench.see("node-1", BAD)
    bad = bench.said("node-1")
    assert (bad.status, bad.reason) == ("True", "ClockOutOfBounds")
    assert bad.changed_ns == bad.heartbeat_ns
    assert first.heartbeat_ns and bad.changed_ns and bad.changed_ns > first.heartbeat_ns


def test_heartbeats_go_on_while_the_hosts_wall_clock_is_set_back() -> None:
    bench = Bench("node-1")
    bench.watch("node-1", GOOD, MINUTE_NS)
    bench.clock.set_by(-DAY_NS)
    bench.watch("node-1", GOOD, HOUR_NS)
    assert 10 <= bench.count("set_condition") <= 14
    assert (bench.said("node-1").heartbeat_ns or 0) > bench.clock.real - HEARTBEAT_NS * 11 // 10 - 20 * SECOND_NS


def test_a_restarted_writer_goes_by_the_condition_that_is_there() -> None:
    bench = Bench("node-1")
    bench.see("node-1", GOOD)
    since_ns = bench.said("node-1").changed_ns
    bench.go_on(HOUR_NS)
    again = bench.writer("watch@kvm1")
    bench.see("node-1", GOOD, by=again)
    found = bench.said("node-1")
    assert found.changed_ns == since_ns
    assert found.heartbeat_ns and since_ns and found.heartbeat_ns >= since_ns + HOUR_NS


def test_while_the_api_is_away_little_is_tried_and_then_the_last_state_is_reported_once() -> None:
    bench = Bench("node-1", "node-2", "node-3")
    for node in bench.cluster.by_name:
        bench.see(node, GOOD)
    bench.cluster.trouble = AWAY
    bench.cluster.calls.clear()
    for episode in (BAD, UNREAD, GOOD, BAD, UNREAD):
        for node in bench.cluster.by_name:
            bench.see(node, episode, new=True)
        bench.go_on(MINUTE_NS)
    assert len(bench.cluster.calls) <= 6
    assert bench.reporter.up is False
    bench.cluster.trouble = None
    bench.cluster.calls.clear()
    bench.go_on(8 * MINUTE_NS)
    assert bench.count("set_condition") == 3
    assert {bench.said(node).reason for node in bench.cluster.by_name} == {"ClockUnsure"}
    assert bench.reporter.up is True
    assert bench.told == [
        "reporting to Kubernetes: the API server refused the connection; trying again",
        "reporting to Kubernetes works again",
    ]
    of_one = sorted((one.reason, one.count) for one in bench.cluster.events if one.node == "node-1")
    assert of_one == [("ClockOutOfBounds", 2), ("ClockUnsure", 2)]


def test_each_correction_is_an_event_also_one_that_was_made_while_the_api_was_away() -> None:
    bench = Bench("node-1")
    bench.cluster.trouble = AWAY
    bench.see("node-1", corrected(STEP), new=True)
    at_ns = bench.clock.real
    bench.go_on(5 * MINUTE_NS)
    bench.see("node-1", corrected(replace(STEP, by_ns=SECOND_NS)), new=True)
    bench.cluster.trouble = None
    bench.go_on(10 * MINUTE_NS)
    first, second = bench.cluster.events
    assert first.message == "clock stepped by +36.002 s: reverted to a snapshot (base); it was off for 310 ms"
    assert (first.node, first.type, first.reason, first.count) == ("node-1", "Normal", "ClockStepped", 1)
    assert abs(first.at_ns - at_ns) < SECOND_NS
    assert second.message.startswith("clock stepped by +1.000 s: ")


def test_a_look_that_is_not_new_is_no_event() -> None:
    bench = Bench("node-1")
    bench.see("node-1", BAD, new=True)
    bench.watch("node-1", BAD, 20 * MINUTE_NS)
    assert [one.count for one in bench.cluster.events] == [1]


def test_events_that_wait_are_bounded() -> None:
    names = [f"node-{number}" for number in range(MOST_WAITING + 5)]
    bench = Bench(*names)
    bench.cluster.trouble = AWAY
    for name in names:
        bench.reporter.seen(name, BAD, TEN_MS, new=True)
    bench.cluster.trouble = None
    bench.go_on(SECOND_NS)
    assert len(bench.cluster.events) == MOST_WAITING
    assert {one.node for one in bench.cluster.events} == set(names[5:])


def test_of_two_writers_the_second_waits_until_the_first_is_gone() -> None:
    bench = Bench("node-1")
    second = bench.writer("watch@kvm2")
    bench.see("node-1", GOOD)
    for _ in range(60):
        bench.see("node-1", GOOD)
        bench.see("node-1", BAD, by=second)
        bench.go_on(MINUTE_NS)
        assert writer_of(bench.said("node-1")) == "watch@kvm1"
    assert bench.told == ["node-1: watch@kvm1 keeps its condition, so it is left alone"]
    bench.watch("node-1", BAD, STALE_NS + 2 * HEARTBEAT_NS, by=second)
    assert writer_of(bench.said("node-1")) == "watch@kvm2"
    assert bench.said("node-1").status == "True"


def test_two_writers_that_began_at_once_agree_on_one() -> None:
    bench = Bench("node-1")
    second = bench.writer("watch@kvm2")
    wrote = []
    for _ in range(120):
        for one in bench.reporters:
            bench.see("node-1", GOOD, by=one)
        bench.go_on(30 * SECOND_NS)
        wrote.append(writer_of(bench.said("node-1")))
    assert len(set(wrote[30:])) == 1
    assert second.up


def test_credentials_that_are_refused_for_a_while_cost_no_event() -> None:
    bench = Bench("node-1", "node-2")
    bench.cluster.trouble = LAPSED
    for _ in range(60):
        for node in ("node-1", "node-2"):
            bench.see(node, corrected(STEP), new=True)
        bench.go_on(10 * SECOND_NS)
    assert len(bench.cluster.calls) < 8
    bench.cluster.trouble = None
    bench.go_on(10 * MINUTE_NS)
    assert sorted((one.node, one.count) for one in bench.cluster.events) == [("node-1", 60), ("node-2", 60)]


@pytest.mark.parametrize("message", ["offset within ± 10 ms (clockstep watch@kvm2)", "the ntp service is down", ""])
def test_a_condition_of_somebody_elses_that_was_written_in_the_future_is_left_alone_while_it_moves(
    message: str,
) -> None:
    bench = Bench("node-1")
    for number in range(10):
        at_ns = bench.clock.real + DAY_NS + number * SECOND_NS
        bench.cluster.set_condition("node-1", KubeCondition("False", "X", message, at_ns, at_ns))
        bench.watch("node-1", BAD, 10 * MINUTE_NS)
        assert bench.said("node-1").message == message
    bench.watch("node-1", BAD, STALE_NS + HEARTBEAT_NS)
    assert writer_of(bench.said("node-1")) == "watch@kvm1"


def test_a_condition_that_somebody_took_away_is_there_again_with_the_next_heartbeat() -> None:
    bench = Bench("node-1")
    bench.see("node-1", GOOD)
    bench.cluster.remove_condition("node-1")
    bench.watch("node-1", GOOD, 6 * MINUTE_NS)
    assert bench.said("node-1").status == "False"


def test_the_condition_of_a_machine_that_is_gone_is_removed_and_no_other() -> None:
    bench = Bench("node-1", "node-2", "node-3")
    at_ns = bench.clock.real
    others = KubeCondition("False", "X", "x (clockstep watch@kvm2)", at_ns, at_ns)
    bench.cluster.set_condition("node-2", others)
    for node in bench.cluster.by_name:
        bench.see(node, GOOD)
    for node in ("node-1", "node-2"):
        bench.reporter.gone(node)
    bench.go_on(0)
    assert bench.cluster.by_name["node-1"].problem is None
    assert bench.cluster.by_name["node-2"].problem == others
    assert bench.said("node-3").status == "False"


def test_a_machine_that_goes_while_the_api_is_away_has_its_condition_removed_later() -> None:
    bench = Bench("node-1")
    bench.see("node-1", GOOD)
    bench.cluster.trouble = AWAY
    bench.reporter.gone("node-1")
    bench.go_on(MINUTE_NS)
    bench.cluster.trouble = None
    bench.go_on(10 * MINUTE_NS)
    assert bench.cluster.by_name["node-1"].problem is None


def test_a_node_that_is_no_more_costs_no_other_and_is_looked_for_again() -> None:
    bench, lost = Bench("node-1", "node-2"), list[str]()

    class Finds(Finder):
        def lose(self, machine: str) -> None:
            lost.append(machine)

    reporter = bench.writer("watch@kvm2", Finds())
    for _ in range(60):
        bench.see("node-1", GOOD, by=reporter)
        bench.see("gone", BAD, by=reporter)
        bench.go_on(10 * SECOND_NS)
    assert bench.said("node-1").status == "False"
    assert reporter.up
    assert set(lost) == {"gone"}
    assert len(lost) < 10
    assert bench.told == ['reporting to Kubernetes: nodes "gone" not found; trying again']


def test_a_single_node_that_is_refused_is_a_cluster_that_is_not_up() -> None:
    bench = Bench("node-1")
    assert bench.reporter.up is None
    bench.cluster.trouble = FORBIDDEN
    bench.see("node-1", GOOD)
    assert bench.reporter.up is False


def test_an_account_that_may_nothing_is_no_storm() -> None:
    names = [f"node-{number}" for number in range(1000)]
    bench = Bench(*names)
    bench.cluster.trouble = FORBIDDEN
    for _ in range(10):
        for name in names:
            bench.reporter.seen(name, BAD, TEN_MS, new=True)
        bench.go_on(MINUTE_NS)
    assert len(bench.cluster.calls) < 20
    assert bench.reporter.up is False
    bench.cluster.trouble = None
    bench.go_on(15 * MINUTE_NS)
    assert bench.count("set_condition") >= 1000
    assert {bench.said(name).reason for name in names} == {"ClockOutOfBounds"}


def test_an_account_that_may_not_record_events_keeps_every_condition_at_once() -> None:
    class Silent(SimulatedKubernetes):
        def record(self, event: KubeEvent) -> None:
            raise KubernetesError("forbidden to create events in default", lasting=True, status=403)

    bench, names = Bench(), [f"node-{number}" for number in range(5)]
    silent = Silent(KubeNode(name, name, name) for name in names)
    reporter = bench.writer("watch@kvm1", cluster=silent)
    for episode, status in ((BAD, "True"), (GOOD, "False"), (UNREAD, "Unknown"), (BAD, "True")):
        for name in names:
            bench.see(name, episode, new=True, by=reporter)
        written = {found.status for node in silent.by_name.values() if (found := node.problem)}
        assert written == {status}
        bench.go_on(SECOND_NS)
    assert reporter.up is True
    assert bench.told == ["reporting to Kubernetes: forbidden to create events in default; trying again"]


def test_a_machine_that_is_no_node_is_asked_for_at_the_finders_pace_and_costs_no_other() -> None:
    bench, asked = Bench("node-1"), list[str]()

    class Finds(Finder):
        def node(self, machine: str) -> str:
            if machine == "node-1":
                return machine
            asked.append(machine)
            raise Absent(bench.clock.mono + 5 * MINUTE_NS)

    reporter = bench.writer("watch@kvm2", Finds())
    for _ in range(60):
        bench.see("node-1", GOOD, by=reporter)
        bench.see("db", BAD, by=reporter)
        bench.go_on(10 * SECOND_NS)
    assert len(asked) <= 3
    assert bench.said("node-1").status == "False"
    reporter.gone("db")
    reporter.seen("db", BAD, TEN_MS, new=True)
    bench.go_on(0)
    assert not bench.cluster.events
    assert not bench.told


def test_a_bug_below_costs_the_node_that_it_was_about_and_no_more() -> None:
    bench = Bench("node-1", "node-2")

    class Buggy(SimulatedKubernetes):
        def condition(self, node: str) -> KubeCondition | None:
            if node == "node-2":
                raise ZeroDivisionError("a bug")
            return super().condition(node)

    buggy = Buggy(bench.cluster.by_name.values())
    reporter = bench.writer("watch@kvm1", cluster=buggy)
    for node in ("node-2", "node-1"):
        bench.see(node, GOOD, by=reporter)
    assert buggy.by_name["node-1"].problem
    assert bench.told == ["reporting to Kubernetes: internal error: ZeroDivisionError: a bug; trying again"]


class Hanging(SimulatedKubernetes):
    """A cluster whose API server answers nothing until it is let go on."""

    def __init__(self) -> None:
        super().__init__([KubeNode("node-1", "", "")])
        self.asked, self.go_on = threading.Event(), threading.Event()

    def _called(self, call: str) -> None:
        self.asked.set()
        assert self.go_on.wait(60)
        super()._called(call)


def started(cluster: Any, told: Callable[[str], None] = lambda _text: None) -> Reporter:
    clock = SimClock()
    reporter = Reporter(cluster, "watch@kvm1", clock, clock, lambda _node, text: told(text))
    reporter.start()
    return reporter


def test_a_server_that_never_answers_delays_neither_the_watch_nor_its_end() -> None:
    cluster = Hanging()
    reporter = started(cluster)
    reporter.seen("node-1", BAD, TEN_MS, new=True)
    assert cluster.asked.wait(20)
    for _ in range(5000):
        reporter.seen("node-1", GOOD, TEN_MS, new=False)
    reporter.end(0.05)
    assert not cluster.calls
    cluster.go_on.set()
    until(lambda: cluster.by_name["node-1"].problem is not None, 20)
    assert cluster.by_name["node-1"].problem and cluster.by_name["node-1"].problem.reason == "ClockInBounds"


def test_what_waits_is_written_as_the_watch_ends_and_the_condition_stays() -> None:
    cluster = SimulatedKubernetes([KubeNode("node-1", "", "")])
    reporter = started(cluster)
    reporter.seen("node-1", corrected(STEP), TEN_MS, new=True)
    reporter.end(20)
    assert cluster.by_name["node-1"].problem
    assert [one.reason for one in cluster.events] == ["ClockStepped"]


def test_an_event_that_happens_again_while_it_is_recorded_is_recorded_again() -> None:
    bench = Bench("node-1")

    class Busy(SimulatedKubernetes):
        def record(self, event: KubeEvent) -> None:
            super().record(event)
            if event.count == 1:
                reporter.seen("node-1", UNREAD, TEN_MS, new=True)

    busy = Busy([KubeNode("node-1", "", "")])
    reporter = bench.writer("watch@kvm1", cluster=busy)
    bench.see("node-1", UNREAD, new=True, by=reporter)
    bench.go_on(SECOND_NS)
    assert [one.count for one in busy.events] == [2]
