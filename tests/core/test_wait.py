"""`wait`: clocks are within tolerance in several readings in a row, and nothing is changed meanwhile."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clockstep.flows.wait import wait
from clockstep.host.locks import DomainLocks
from clockstep.machines.several import Several
from clockstep.model import Guest, Policy, Verdict
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from core.simulation import MILLISECOND, SECOND, SimClock, SimHypervisor

NAMES = ["node1", "node2"]


class Waited:
    """Two simulated machines, and something that happens to them when so much time has passed."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimClock()
        self.hypervisor = SimHypervisor(self.clock, NAMES)
        self.said: list[str] = []
        self.at: list[tuple[int, Callable[[], None]]] = []
        sleep, began_ns = self.clock.sleep_ns, self.clock.mono

        def sleep_ns(duration_ns: int) -> None:
            sleep(duration_ns)
            while self.at and self.clock.mono - began_ns >= self.at[0][0]:
                self.at.pop(0)[1]()

        self.clock.sleep_ns = sleep_ns  # type: ignore[method-assign]
        self.world = World(
            self.hypervisor,
            self.clock,
            self.clock,
            DomainLocks(self.clock),
            FileJournal(folder),
            lambda node, text: self.said.append(f"{node}: {text}"),
        )

    def wait(self, timeout_s: int = 60) -> tuple[list[Verdict], bool]:
        episodes, done = wait(self.world, self.hypervisor.guests(), Policy(), timeout_s * SECOND)
        assert all(machine.steps == [] and machine.commands == [] for machine in self.hypervisor.machines.values())
        return [episode.verdict for episode in episodes], done

    def put(self, name: str, offset_ns: int) -> None:
        self.hypervisor.machines[name].offset_ns = offset_ns


@pytest.fixture
def waited(tmp_path: Path) -> Waited:
    return Waited(tmp_path)


def test_clocks_that_are_within_tolerance_are_seen_to_be_so_three_times(waited: Waited) -> None:
    before_ns = waited.clock.mono
    assert waited.wait() == ([Verdict.GOOD, Verdict.GOOD], True)
    assert waited.clock.mono - before_ns < SECOND
    assert waited.said.count(": 2 of 2 within tolerance") == 2


def test_it_waits_for_a_clock_that_comes_within_tolerance(waited: Waited) -> None:
    waited.put("node2", -3 * SECOND)
    waited.at = [(10 * SECOND, lambda: waited.put("node2", MILLISECOND))]
    assert waited.wait() == ([Verdict.GOOD, Verdict.GOOD], True)
    assert 10 * SECOND < waited.clock.mono - 5000 * SECOND < 13 * SECOND
    assert any(text == "node2: about 3 s behind, waiting" and "waiting" in text for text in waited.said)


def test_a_clock_that_leaves_again_is_waited_for_again(waited: Waited) -> None:
    waited.put("node1", -3 * SECOND)
    waited.at = [
        (5 * SECOND, lambda: waited.put("node1", 0)),
        (5 * SECOND + 20 * MILLISECOND, lambda: waited.put("node1", SECOND)),
    ]
    assert waited.wait(20) == ([Verdict.BAD, Verdict.GOOD], False)


def test_a_timeout_that_comes_first_says_where_each_clock_is(waited: Waited) -> None:
    waited.put("node1", SECOND)
    assert waited.wait(5) == ([Verdict.BAD, Verdict.GOOD], False)
    assert waited.clock.mono - 5000 * SECOND <= 6 * SECOND


@pytest.mark.parametrize("change", ["deaf", "paused", "gone"])
def test_a_node_that_does_not_answer_is_waited_for_too(waited: Waited, change: str) -> None:
    machine = waited.hypervisor.machines["node2"]
    guests = waited.hypervisor.guests()

    def back() -> None:
        machine.deaf, machine.running = False, True
        waited.hypervisor.machines["node2"] = machine

    machine.deaf, machine.running = change == "deaf", change != "paused"
    if change == "gone":
        waited.hypervisor.machines.pop("node2")
    waited.at = [(8 * SECOND, back)]
    episodes, done = wait(waited.world, guests, Policy(), 4 * SECOND)
    assert ([episode.verdict for episode in episodes], done) == ([Verdict.GOOD, Verdict.UNREACHABLE], False)
    episodes, done = wait(waited.world, guests, Policy(), 60 * SECOND)
    assert ([episode.verdict for episode in episodes], done) == ([Verdict.GOOD, Verdict.GOOD], True)


def test_a_hypervisor_that_is_away_for_a_while_ends_no_wait(waited: Waited) -> None:
    waited.hypervisor.silent = True
    guests = waited.hypervisor.guests()
    episodes, done = wait(waited.world, guests, Policy(), 2 * SECOND)
    assert ([episode.verdict for episode in episodes], done) == ([Verdict.UNREACHABLE] * 2, False)

    def back() -> None:
        waited.hypervisor.silent = False

    waited.at = [(waited.clock.mono - 5000 * SECOND + 3 * SECOND, back)]
    episodes, done = wait(waited.world, guests, Policy(), 60 * SECOND)
    assert ([episode.verdict for episode in episodes], done) == ([Verdict.GOOD, Verdict.GOOD], True)


def test_a_hypervisor_that_hangs_uses_up_no_more_than_the_timeout(waited: Waited) -> None:
    over, hanging = threading.Event(), threading.Event()

    class Hanging(SimHypervisor):
        def guests(self) -> list[Guest]:
            if hanging.is_set():
                over.wait(30)
            return super().guests()

    several = Several({"": waited.hypervisor, "far": Hanging(waited.clock, ["node3"])})
    guests = several.guests()
    hanging.set()
    waited.world = waited.world._replace(hypervisor=several)
    began_s = time.monotonic()
    try:
        episodes, done = wait(waited.world, guests, Policy(), SECOND)
    finally:
        over.set()
    assert time.monotonic() - began_s < 20
    verdicts = {episode.node: episode.verdict for episode in episodes}
    assert verdicts["node1"] is verdicts["node2"] is Verdict.GOOD
    assert not done
