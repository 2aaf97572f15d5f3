"""After which steps the watcher proposes the aftermath: by the certificates of the node, on made-up clocks."""

from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.epoch import DO, LEAST_NS, LONGEST_NS, SAME_NS, Epoch, entered, proposal, shortest_life, stepped
from clockstep.errors import HypervisorError
from clockstep.host.locks import DomainLocks
from clockstep.model import Cause, Certificate, Episode, Facts, Guest, KubeNode, Resync, Step, Verdict
from clockstep.ports import Listed, Reach, World
from clockstep.sinks.epochs import EpochSink
from clockstep.sinks.kubernetes import KubernetesSink, MachineNodes
from clockstep.sinks.reporter import Reporter
from clockstep.state.journal import FileJournal
from clockstep.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import NOW_S, SimClock, SimHypervisor
from core.test_condition import TEN_MS
from pki import pem

NOW = NOW_S * SECOND_NS


def certificate(begin_ns: int, end_ns: int | None, path: str = "/x.crt") -> Certificate:
    return Certificate(path, "x", NOW + begin_ns, None if end_ns is None else NOW + end_ns)


LIVING = certificate(-HOUR_NS, HOUR_NS)


@pytest.mark.parametrize(
    ("certificates", "life_ns"),
    [
        ([], LONGEST_NS),
        ([certificate(0, 2 * MINUTE_NS), LIVING], 2 * MINUTE_NS),
        ([certificate(0, 365 * DAY_NS)], LONGEST_NS),
        ([certificate(0, None)], LONGEST_NS),
        ([certificate(0, -HOUR_NS)], LONGEST_NS),
    ],
)
def test_the_shortest_life_is_that_of_a_certificate_or_a_day(certificates: list[Certificate], life_ns: int) -> None:
    assert shortest_life(certificates) == life_ns


@pytest.mark.parametrize(
    ("by_ns", "life_ns", "certificates", "expected"),
    [
        (HOUR_NS, LONGEST_NS, [], ""),
        (DAY_NS, LONGEST_NS, [], ""),
        (DAY_NS + 1, LONGEST_NS, [], "clock stepped by 1 d, and tokens and identities that live for 1 d have lapsed"),
        (3 * MINUTE_NS, 2 * MINUTE_NS, [LIVING], "stepped by 3 min, and the shortest certificate life seen is 2 min"),
        (2 * MINUTE_NS, 2 * MINUTE_NS, [LIVING], ""),
        (-3 * MINUTE_NS, 2 * MINUTE_NS, [], "stepped by 3 min backward, and the shortest"),
        (HOUR_NS, LONGEST_NS, [LIVING, certificate(-DAY_NS, -MINUTE_NS, "/y")], "stepped by 1 h, and /y is not valid"),
        (-HOUR_NS, LONGEST_NS, [certificate(MINUTE_NS, DAY_NS)], "and /x.crt is not valid now"),
    ],
)
def test_a_step_proposes_the_aftermath_if_what_was_issued_before_it_may_have_lapsed(
    by_ns: int, life_ns: int, certificates: list[Certificate], expected: str
) -> None:
    text = proposal(by_ns, life_ns, certificates, NOW)
    assert expected in text
    assert bool(text) == bool(expected) == text.endswith(f": {DO}")


def test_one_epoch_has_each_machine_once_and_ends_after_a_while() -> None:
    first, new = entered(None, "a", 5)
    assert (first, new) == (Epoch(5, frozenset("a")), True)
    both, new = entered(first, "b", 6)
    assert (both, new) == (Epoch(5, frozenset("ab")), False)
    assert entered(both, "a", 7) == (Epoch(7, frozenset("a")), True)
    assert entered(both, "c", 5 + SAME_NS) == (Epoch(5 + SAME_NS, frozenset("c")), True)


def test_what_a_step_adds_is_what_is_confirmed() -> None:
    assert stepped(episode("web", 5, 7)) == 12
    assert stepped(replace(episode("web"), actions=(Step(5, unconfirmed=True), Resync("chrony")))) == 0


def episode(node: str, *by_ns: int) -> Episode:
    steps = tuple(map(Step, by_ns))
    return Episode(node, Cause("reverted"), Verdict.GOOD, None, steps, None, Facts(), (), NOW, 1)


class Bench:
    """The watcher's sinks for a cluster, by a made-up clock: machines that are Nodes, and what is said of them."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.clock, self.said = SimClock(), list[str]()
        self.clock.real = NOW
        self.machines = SimHypervisor(self.clock, list(names))
        guests = self.machines.guests()
        self.cluster = SimulatedKubernetes([KubeNode(f"k-{one.name}", f"uid-{one.name}", one.uuid) for one in guests])
        locks, journal = DomainLocks(self.clock), FileJournal(folder)
        world = World(self.machines, self.clock, self.clock, locks, journal, self.tell)
        finder = MachineNodes(self.cluster, self.clock, lambda _node, _text: None)
        self.reporter = Reporter(self.cluster, "watch@kvm1", self.clock, self.clock, self.tell, finder, lambda: 0.5)
        KubernetesSink(self.reporter, finder, lambda: TEN_MS).surveyed([Listed("", guests)])
        self.sink = EpochSink(world, finder.machine, self.reporter.propose, self.tell)

    def tell(self, _node: str, text: str) -> None:
        self.said.append(text)

    def has(self, name: str, life_ns: int) -> None:
        """Give a machine a certificate that lives so long, and is valid for half of that."""
        half_s = life_ns // SECOND_NS // 2
        made = pem("system:node:x", NOW_S - half_s, NOW_S + half_s)
        self.machines.machines[name].certificates = f"#clockstep file /x.crt\n{made}"

    def step(self, name: str, by_ns: int, *, new: bool = True) -> None:
        """See a machine stepped, and write what is due."""
        self.sink.seen(episode(name, by_ns), new=new)
        self.reporter.turn()

    @property
    def events(self) -> list[tuple[str, str, int]]:
        """Which Events there are, of which Node and how often."""
        return [(one.node, one.reason, one.count) for one in self.cluster.events]


def test_a_step_beyond_the_shortest_life_is_one_event_on_its_node_and_one_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "web", "db", "far")
    bench.has("web", 4 * MINUTE_NS)
    bench.step("web", 5 * MINUTE_NS)
    bench.step("db", 5 * MINUTE_NS)
    assert bench.events == [("k-web", "AftermathProposed", 1), ("k-db", "AftermathProposed", 1)]
    (said,) = bench.said
    assert said == f"web: {bench.cluster.events[0].message}"
    assert said.endswith("and the shortest certificate life seen is 4 min: run clockstep aftermath --repair")
    assert {one.type for one in bench.cluster.events} == {"Warning"}


def test_the_same_node_reverted_once_more_begins_another_epoch(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "web")
    bench.has("web", 4 * MINUTE_NS)
    bench.step("web", 5 * MINUTE_NS)
    bench.step("web", 6 * MINUTE_NS)
    assert (len(bench.events), len(bench.said)) == (2, 2)
    bench.clock.sleep_ns(SECOND_NS)
    bench.step("web", 6 * MINUTE_NS)
    assert [count for _, _, count in bench.events] == [1, 2]


@pytest.mark.parametrize("by_ns", [LEAST_NS - 1, 0, -(LEAST_NS - 1)])
def test_a_small_step_asks_no_node_for_its_certificates(tmp_path: Path, by_ns: int) -> None:
    bench = Bench(tmp_path, "web")
    bench.has("web", 10 * SECOND_NS)
    bench.step("web", by_ns)
    assert (bench.events, bench.said, bench.machines.machines["web"].commands) == ([], [], [])


def test_what_is_not_new_or_no_machine_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "web")
    bench.step("web", 9 * DAY_NS, new=False)
    bench.step("gone", 9 * DAY_NS)
    assert (bench.events, bench.said) == ([], [])


def test_a_node_that_does_not_say_which_certificates_it_has_is_judged_by_a_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "web", "db")
    bench.machines.machines["web"].deaf = True
    bench.step("web", HOUR_NS)
    assert bench.events == []
    bench.step("web", 2 * DAY_NS)
    assert bench.events == [("k-web", "AftermathProposed", 1)]

    def reach(_guest: Guest) -> Reach:
        raise HypervisorError("libvirt does not answer")

    bench.machines.reach = reach  # type: ignore[method-assign,assignment]
    bench.step("db", 2 * DAY_NS)
    assert len(bench.events) == 2


def test_events_that_may_not_be_written_cost_the_line_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "web")
    bench.cluster.by_name.clear()
    bench.step("web", 2 * DAY_NS)
    assert bench.events == []
    assert bench.said[0].startswith("web: clock stepped by 2 d, and tokens")
