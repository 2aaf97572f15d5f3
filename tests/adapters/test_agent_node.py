"""The node agent on a made-up node: a PHC behind the ioctls, a chronyd that has noticed nothing, and signals."""

import errno
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.node import MILLISECOND, SECOND, SimKernel, SimPhc, made_up
from clockstep.agent.agent import Agent
from clockstep.agent.limits import Orders
from clockstep.agent.metrics import AgentMetrics
from clockstep.agent.signals import Signal
from clockstep.agent.signals.phc import PhcSignal
from clockstep.agent.truth import DaemonReference
from clockstep.agent.work import Compared, Machine, Task, Worker
from clockstep.daemons import ask_all, chrony
from clockstep.errors import ReachError
from clockstep.host.phc import Device, host_devices
from clockstep.host.reference import HostReference
from clockstep.model import Decision, Episode, Happening, Policy, Resync, Step, Verdict, What
from clockstep.ports import Clock, Kernel, Output, Reference
from clockstep.reach.local import LocalReach
from core.simulation import TRACKING, UNSYNCHRONISED

HOUR = 3600 * SECOND
PATIENCE_S = 20


@dataclass
class SimChrony:
    """A chronyd whose sources say what they say; it finds out only when it measures anew, as the real one."""

    kernel: SimKernel
    runs: bool = True
    answered: bool = True
    sources_off: int = 0
    known: int = 0
    resyncs: int = 0
    hook: Callable[[], None] = lambda: None

    def run(self, command: str) -> Output:
        self.kernel.pass_ns(5 * MILLISECOND)
        self.hook()
        if command == chrony.RESYNC:
            if not self.runs:
                return Output(1, "506 Cannot talk to daemon", "")
            self.resyncs += 1
            self.known = self.kernel.offset - self.sources_off
            return Output(0, "200 OK", "")
        if command != ask_all() or not self.runs:
            return Output(0, "", "")
        if not self.answered:
            return Output(0, f"#clockstep chrony\n{UNSYNCHRONISED}", "")
        selected = f"^,*,10.0.2.2,1,6,17,3,{self.known / SECOND:.9f},0.000001851,0.000100000\n"
        return Output(0, f"#clockstep chrony\n{TRACKING.format(now=0)}{selected}", "")


class Told:
    """A signal that tells what a test makes happen."""

    name, sees, blind, trouble = "told", "", "", ""

    def __init__(self) -> None:
        self.due: list[What] = []

    def wakes(self) -> int | None:
        return None

    def check(self, now_ns: int) -> Happening | None:
        return Happening("", self.due.pop(0), now_ns) if self.due else None

    def close(self) -> None:
        self.due = []


@dataclass
class SimNode:
    """A node, its agent, and what that has said; it ends when `until` is so."""

    root: Path
    with_phc: bool = True
    orders: Orders = field(default_factory=lambda: Orders(Policy(resync_idle=False)))

    def __post_init__(self) -> None:
        self.kernel = SimKernel()
        self.phc, self.chrony = SimPhc(self.kernel), SimChrony(self.kernel)
        self.said: list[str] = []
        self.episodes: list[tuple[Episode, bool]] = []
        devices = host_devices(made_up(self.root, *(["KVM virtual PTP"] if self.with_phc else [])))
        self.machine = self.made(devices)
        self.compared, self.told = Compared(self.machine), Told()
        self.metrics = AgentMetrics()

    def made(self, devices: Sequence[Device]) -> Machine:
        def reach(kernel: Kernel, clock: Clock, reference: Reference, memory: Path) -> LocalReach:
            return NodeReach(self.chrony, kernel, clock, reference, memory)

        return Machine(
            "node-1",
            self.kernel,
            self.kernel,
            lambda _node, text: self.said.append(text),
            devices[0] if devices else None,
            ioctl=self.phc.ioctl,
            memory=self.root / "run/steps",
            make_reach=reach,
        )

    def agent(self) -> Agent:
        signals: list[Signal] = [self.told]
        if self.with_phc:
            signals.append(PhcSignal(self.compared.offset, self.compared.scaled, self.orders.policy.tolerance_ns))
        worker = Worker(self.machine, self.orders)
        return Agent(worker, signals, self.kernel, self.machine.tell, self.metrics, [self], self.compared.rise)

    def surveyed(self, listed: object) -> None:
        raise AssertionError("an agent lists nothing")

    def seen(self, episode: Episode, *, new: bool) -> None:
        self.episodes.append((episode, new))

    def ended(self) -> None:
        self.said.append("ended")

    def steps(self) -> list[int]:
        return self.kernel.steps


class NodeReach(LocalReach):
    """This node's own clock, and programs that are only numbers."""

    def __init__(self, daemon: SimChrony, kernel: Kernel, clock: Clock, reference: Reference, memory: Path) -> None:
        super().__init__(kernel, clock, reference, memory)
        self._daemon = daemon

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        return self._daemon.run(argv[-1])


class Until:
    """Ends an agent when something is so; fails instead of hanging."""

    def __init__(self, *stages: tuple[Callable[[], bool], Callable[[], None]]) -> None:
        self._stages = list(stages)
        self._clock = threading.Event()
        self._timer = threading.Timer(PATIENCE_S, self._clock.set)
        self._timer.daemon = True
        self._timer.start()

    def is_over(self) -> bool:
        assert not self._clock.is_set(), "not reached"
        while self._stages and self._stages[0][0]():
            self._stages.pop(0)[1]()
        if not self._stages:
            self._timer.cancel()
        return not self._stages


def watched(node: SimNode, happen: Callable[[], None], until: Callable[[], bool]) -> list[Episode]:
    """Run an agent on a node until it has looked once, make something happen, and return what came of that."""

    def begin() -> None:
        node.episodes.clear()
        happen()

    node.agent().run(HOUR, Until((lambda: bool(node.episodes), begin), (until, lambda: None)))
    return [episode for episode, _ in node.episodes]


@pytest.fixture
def node(tmp_path: Path) -> SimNode:
    return SimNode(tmp_path)


def test_a_revert_is_corrected_by_the_hypervisors_clock_and_chronyd_is_resynced(node: SimNode) -> None:
    (episode,) = watched(node, lambda: node.kernel.stand_still(22 * SECOND), lambda: bool(node.episodes))
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert episode.cause.kind == "diverged"
    assert abs(node.kernel.offset) < MILLISECOND
    assert len(node.steps()) == 1


def test_a_day_old_snapshot_needs_a_second_signal_or_the_sources_and_then_it_is_one_step(node: SimNode) -> None:
    def revert() -> None:
        node.kernel.stand_still(20 * HOUR)

    (episode,) = watched(node, revert, lambda: bool(node.episodes))
    assert episode.verdict is Verdict.GOOD
    assert len(node.steps()) == 1
    assert node.chrony.resyncs == 2  # once to be asked, once after the step


def test_with_the_kernels_word_it_asks_nobody_first(node: SimNode) -> None:
    node.chrony.answered = False

    def revert() -> None:
        node.kernel.stand_still(20 * HOUR)
        node.told.due.append(What.REVERTED)

    episodes = watched(node, revert, lambda: any(one.actions for one, _ in node.episodes))
    assert episodes[-1].cause.kind == "reverted"
    assert len(node.steps()) == 1


def test_without_a_second_witness_a_long_jump_needs_consent(node: SimNode) -> None:
    node.chrony.runs = False
    (episode,) = watched(node, lambda: node.kernel.stand_still(HOUR), lambda: bool(node.episodes))
    assert (episode.verdict, episode.decision, episode.consent) == (Verdict.BAD, Decision.CONSENT, "--max-forward")
    assert node.steps() == []


def test_a_phc_that_jumps_by_hours_while_the_sources_disagree_holds_the_steps_until_they_agree(node: SimNode) -> None:
    def jump() -> None:
        node.phc.ahead += 3 * HOUR

    def back() -> None:
        assert node.steps() == []
        node.phc.ahead = 0
        node.episodes.clear()

    def revert() -> None:
        node.kernel.stand_still(5 * SECOND)

    stages = (
        (lambda: bool(node.episodes), jump),
        (lambda: any("contradict" in text for text in node.said), back),
        (lambda: any("agree" in text for text in node.said), revert),
        (lambda: bool(node.steps()), lambda: None),
    )
    agent = node.agent()
    agent.run(1000, Until(*stages))  # hardly any time passes between ticks here
    refused = [one for one, _ in node.episodes if one.decision is Decision.REFUSED]
    assert all(one.findings[-1].check == "held" for one in refused)
    assert "clockstep_agent_held 0.0" in node.metrics.text()


def test_with_consent_to_step_back_the_sources_are_asked_first_too(node: SimNode) -> None:
    node.orders = Orders(Policy(resync_idle=False, max_backward_ns=24 * HOUR))

    def jump() -> None:
        node.phc.ahead -= 3 * HOUR

    (episode, *_) = watched(node, jump, lambda: bool(node.episodes))
    assert node.steps() == []
    assert (episode.decision, episode.findings[-1].check) == (Decision.REFUSED, "held")


def test_with_consent_and_the_sources_word_a_clock_is_stepped_back(node: SimNode) -> None:
    node.orders = Orders(Policy(resync_idle=False, max_backward_ns=24 * HOUR))
    (episode,) = watched(node, lambda: node.kernel.stand_still(-3 * HOUR), lambda: bool(node.episodes))
    assert episode.verdict is Verdict.GOOD
    assert len(node.steps()) == 1


def test_a_clock_that_is_ahead_is_not_stepped_back_without_consent(node: SimNode) -> None:
    (episode,) = watched(node, lambda: node.kernel.stand_still(-HOUR), lambda: bool(node.episodes))
    assert episode.consent == "--allow-backward"
    assert node.steps() == []


def test_a_phc_that_counts_tai_is_found_out_and_nothing_is_stepped_by_37_s(tmp_path: Path) -> None:
    node = SimNode(tmp_path)
    node.phc.ahead = 37 * SECOND
    (episode,) = watched(node, lambda: node.kernel.stand_still(SECOND), lambda: bool(node.episodes))
    assert "counts TAI" in node.said[0]
    assert abs(node.kernel.offset) < MILLISECOND
    assert episode.verdict is Verdict.GOOD


def test_a_phc_of_an_unknown_scale_is_not_used_and_that_is_said_once(tmp_path: Path) -> None:
    node = SimNode(tmp_path)
    node.kernel.offset = -500 * SECOND
    node.chrony.runs = False
    worker = Worker(node.machine, node.orders)
    assert worker.correct(Task(None, 1)).episode is None
    assert worker.correct(Task(None, 2)).episode is None
    assert len(node.said) == 1
    assert "nothing says which is UTC" in node.said[0]
    assert node.steps() == []


def test_a_phc_that_is_gone_is_said_and_when_it_is_back_it_counts_again(node: SimNode) -> None:
    def gone() -> None:
        node.phc.gone = True

    def back() -> None:
        node.phc.gone = False

    def revert() -> None:
        node.kernel.stand_still(2 * SECOND)

    stages = (
        (lambda: bool(node.episodes), gone),
        (lambda: any("No such device" in text for text in node.said), back),
        (lambda: any("works again" in text for text in node.said), revert),
        (lambda: bool(node.steps()), lambda: None),
    )
    node.agent().run(HOUR, Until(*stages))
    assert abs(node.kernel.offset) < MILLISECOND


def test_without_a_phc_the_nodes_chronyd_says_the_time_once_it_has_measured_anew(tmp_path: Path) -> None:
    node = SimNode(tmp_path, with_phc=False)

    def reverted() -> None:
        node.kernel.stand_still(300 * SECOND)
        node.told.due.append(What.REVERTED)

    stages = ((lambda: True, reverted), (lambda: bool(node.episodes), lambda: None))
    node.agent().run(HOUR, Until(*stages))
    ((episode, _),) = node.episodes
    assert episode.verdict is Verdict.GOOD
    assert episode.facts.readings[0].reference == "chrony"
    assert episode.facts.readings[0].offset.error_ns > 20_000  # root delay and dispersion are in the bound
    assert abs(node.kernel.offset) < MILLISECOND


def test_a_chronyd_without_an_answer_is_no_truth(tmp_path: Path) -> None:
    node = SimNode(tmp_path, with_phc=False)
    node.chrony.answered = False

    def reverted() -> None:
        node.kernel.stand_still(300 * SECOND)
        node.told.due.append(What.REVERTED)

    node.agent().run(HOUR, Until((lambda: True, reverted), (lambda: bool(node.episodes), lambda: None)))
    ((episode, _),) = node.episodes
    assert episode.verdict is Verdict.UNREACHABLE
    assert "no answer from its sources" in episode.facts.trouble[0].text
    assert node.steps() == []


class SlewedKernel(SimKernel):
    """A node whose chronyd slews as fast as it can: its clock and CLOCK_MONOTONIC gain a twelfth on the raw one."""

    slewed = 0

    def pass_ns(self, duration_ns: int) -> None:
        super().pass_ns(duration_ns)
        self.slewed += duration_ns // 12
        self.offset += duration_ns // 12

    def monotonic_ns(self) -> int:
        return self.raw_ns() + self.slewed


def test_a_chronyd_that_slews_while_it_is_asked_is_understood_within_its_bound(tmp_path: Path) -> None:
    kernel = SlewedKernel(offset=-20 * SECOND)
    daemon = SimChrony(kernel)

    def asked_slowly() -> None:
        daemon.known = kernel.offset
        kernel.pass_ns(50 * MILLISECOND)

    daemon.hook = asked_slowly
    reach = NodeReach(daemon, kernel, kernel, HostReference(), tmp_path / "steps")
    sources = DaemonReference(reach, kernel, kernel)
    sources.measure()
    now = sources.now()
    assert MILLISECOND < now.error_ns < 10 * MILLISECOND
    assert abs(now.at_ns - kernel.true) <= now.error_ns


def test_a_revert_in_the_middle_of_a_correction_is_corrected_too(node: SimNode) -> None:
    again = iter([5 * SECOND])

    def in_the_middle() -> None:
        for by_ns in again:
            node.kernel.stand_still(by_ns)

    def revert() -> None:
        node.chrony.hook = in_the_middle
        node.kernel.stand_still(22 * SECOND)

    watched(node, revert, lambda: abs(node.kernel.offset) < MILLISECOND and bool(node.episodes))
    assert len(node.steps()) == 2


def test_an_agent_that_may_not_step_says_so(node: SimNode) -> None:
    node.kernel.refusal = errno.EPERM
    (episode,) = watched(node, lambda: node.kernel.stand_still(SECOND), lambda: bool(node.episodes))
    assert episode.verdict is not Verdict.GOOD
    assert "not permitted" in episode.facts.trouble[-1].text


def test_an_agent_that_only_observes_steps_and_resyncs_nothing(tmp_path: Path) -> None:
    node = SimNode(tmp_path, orders=Orders(Policy(resync_idle=False), act=False))
    (episode,) = watched(node, lambda: node.kernel.stand_still(SECOND), lambda: bool(node.episodes))
    assert episode.verdict is Verdict.BAD
    assert node.steps() == []
    assert node.chrony.resyncs == 0


def test_a_bug_in_a_correction_is_an_episode_and_ends_nothing(node: SimNode) -> None:
    def bug() -> None:
        raise RuntimeError("a bug")

    def break_it() -> None:
        node.chrony.hook = bug
        node.kernel.stand_still(SECOND)

    (episode,) = watched(node, break_it, lambda: bool(node.episodes))
    assert episode.facts.trouble[0].internal


def test_a_clock_that_somebody_sets_is_looked_at_and_what_is_good_is_told_once(node: SimNode) -> None:
    def set_twice() -> None:
        node.told.due.append(What.SET)

    stages = (
        (lambda: len(node.episodes) == 1, set_twice),
        (lambda: len(node.episodes) == 2, set_twice),
        (lambda: len(node.episodes) == 3, lambda: None),
    )
    node.agent().run(HOUR, Until(*stages))
    assert [new for _, new in node.episodes] == [True, False, False]
    assert 'clockstep_disruptions_total{signal="told"} 2.0' in node.metrics.text()


def test_an_agent_beside_a_watcher_steps_once(node: SimNode) -> None:
    reach = node.machine.reach(node_reference(node))
    node.kernel.stand_still(3 * SECOND)
    by_ns = -reach.clock().offset.value_ns
    node.kernel.add(by_ns, reset_tick=False)  # the watcher's program, between look and step
    with pytest.raises(ReachError, match="something else"):
        reach.step(by_ns, "0123456789ab" + "0" * 16)
    assert abs(node.kernel.offset) < MILLISECOND


def node_reference(node: SimNode) -> Reference:
    from clockstep.host.phc_reference import PhcReference

    return PhcReference(node.machine.phc(), node.kernel)


@pytest.mark.parametrize("at", [86_400 * SECOND, 2**63 - HOUR])
def test_a_clock_at_1970_or_2262_is_neither_stepped_without_consent_nor_a_bug(node: SimNode, at: int) -> None:
    def far_off() -> None:
        node.kernel.offset = at - node.kernel.true
        node.told.due.append(What.REVERTED)

    (episode,) = watched(node, far_off, lambda: bool(node.episodes))
    assert episode.verdict is not Verdict.GOOD
    assert not any(trouble.internal for trouble in episode.facts.trouble)
    assert node.steps() == []


def test_a_chronyd_that_hangs_keeps_no_clock_from_being_corrected(node: SimNode) -> None:
    def hang() -> None:
        raise ReachError("/bin/sh did not end")

    def revert() -> None:
        node.chrony.hook = hang
        node.kernel.stand_still(22 * SECOND)

    (episode,) = watched(node, revert, lambda: bool(node.episodes))
    assert len(node.steps()) == 1
    assert abs(node.kernel.offset) < MILLISECOND
    assert episode.verdict is Verdict.GOOD
    assert "did not end" in episode.facts.trouble[-1].text


def test_while_the_phc_is_gone_an_event_has_chronyd_measure_anew(node: SimNode) -> None:
    def reverted() -> None:
        node.phc.gone = True
        node.kernel.stand_still(300 * SECOND)
        node.told.due.append(What.REVERTED)

    (episode,) = watched(node, reverted, lambda: bool(node.episodes))
    assert episode.facts.readings[0].reference == "chrony"
    assert abs(node.kernel.offset) < MILLISECOND


def test_an_agent_that_only_observes_has_no_chronyd_measure_anew(tmp_path: Path) -> None:
    node = SimNode(tmp_path, with_phc=False, orders=Orders(Policy(resync_idle=False), act=False))
    assert Worker(node.machine, node.orders).correct(Task(What.REVERTED, 1)).episode is None
    assert node.chrony.resyncs == 0
