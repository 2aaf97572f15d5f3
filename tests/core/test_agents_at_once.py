"""Five hundred agents whose API server goes away and comes back: by a made-up clock, and with no storm."""

import heapq
from collections import Counter, defaultdict
from itertools import pairwise
from random import Random

import pytest

from clockstep.core.condition_schedule import HEARTBEAT_NS
from clockstep.errors import KubernetesError
from clockstep.model import Episode, KubeCondition, KubeNode
from clockstep.sinks.reporter import Reporter
from clockstep.units import MINUTE_NS, SECOND_NS
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import SimClock
from core.test_condition import TEN_MS
from core.test_reporter import AWAY, BAD, GOOD, LAPSED, UNREAD

AGENTS = 500


class Busy(SimulatedKubernetes):
    """A cluster that counts how many ask in each second, and keeps when each Node's condition was written."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__(KubeNode(f"node-{number}", "", "") for number in range(AGENTS))
        self._clock = clock
        self.asked: Counter[int] = Counter()
        self.written: defaultdict[str, list[int]] = defaultdict(list)

    def condition(self, node: str) -> KubeCondition | None:
        """Return the Node's condition, which each report begins with."""
        self.asked[self._clock.mono // SECOND_NS] += 1
        return super().condition(node)

    def set_condition(self, node: str, condition: KubeCondition) -> None:
        """Write the condition."""
        super().set_condition(node, condition)
        self.written[node].append(self._clock.mono)


class Agents:
    """Each with a reporter of its own, which gets its turn when it has asked for one."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.cluster = Busy(self.clock)
        self.reporters = [self._reporter(number) for number in range(AGENTS)]
        self._due: list[tuple[int, int]] = []

    def _reporter(self, number: int) -> Reporter:
        chance = Random(number).random
        name = f"agent@node-{number}"
        return Reporter(self.cluster, name, self.clock, self.clock, lambda _node, _text: None, chance=chance)

    def see(self, episode: Episode) -> None:
        """Have all look at one moment, and report what is due: as bad as it can be."""
        self._due = []
        for number, reporter in enumerate(self.reporters):
            reporter.seen(f"node-{number}", episode, TEN_MS, new=False)
            self._turn(number)

    def go_on(self, duration_ns: int) -> None:
        """Let time pass."""
        end_ns = self.clock.mono + duration_ns
        while self._due and self._due[0][0] <= end_ns:
            at_ns, number = heapq.heappop(self._due)
            self.clock.sleep_ns(max(0, at_ns - self.clock.mono))
            self._turn(number)
        self.clock.sleep_ns(max(0, end_ns - self.clock.mono))

    def watch(self, episode: Episode, minutes: int) -> None:
        """See the same once a minute, for so many minutes."""
        for _ in range(minutes):
            self.see(episode)
            self.go_on(MINUTE_NS)

    def _turn(self, number: int) -> None:
        if (wait_ns := self.reporters[number].turn()) is not None:
            heapq.heappush(self._due, (self.clock.mono + wait_ns, number))


@pytest.mark.parametrize("trouble", [AWAY, LAPSED], ids=["away", "lapsed"])
@pytest.mark.parametrize("minutes", [2, 5, 20])
def test_after_minutes_away_each_agent_reports_its_last_state_once_and_no_second_sees_many(
    trouble: KubernetesError, minutes: int
) -> None:
    agents = Agents()
    cluster = agents.cluster
    agents.watch(GOOD, 1)
    cluster.trouble = trouble
    cluster.asked.clear()
    agents.watch(BAD, 1)
    agents.watch(UNREAD, minutes - 1)
    assert cluster.asked.pop(min(cluster.asked)) == AGENTS  # all have seen something bad at one moment
    assert max(cluster.asked.values()) <= AGENTS * 30 // 100
    assert cluster.asked.total() <= AGENTS * 8
    cluster.trouble = None
    cluster.asked.clear()
    cluster.written.clear()
    agents.watch(UNREAD, 8)
    assert max(cluster.asked.values()) <= AGENTS * 8 // 100
    assert len(cluster.written) == AGENTS
    for written in cluster.written.values():
        assert all(after - before >= HEARTBEAT_NS * 9 // 10 for before, after in pairwise(written))
    assert {found.reason for node in cluster.by_name.values() if (found := node.problem)} == {"ClockUnsure"}


def test_heartbeats_that_began_at_one_moment_part() -> None:
    agents = Agents()
    agents.watch(GOOD, 1)
    agents.cluster.asked.clear()
    agents.watch(GOOD, 11)
    assert agents.cluster.asked.total() >= 2 * AGENTS
    assert max(agents.cluster.asked.values()) <= AGENTS * 8 // 100
