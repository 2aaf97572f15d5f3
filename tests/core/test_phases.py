"""The two phases: a clock is proven, workloads are thawed, and then the daemon settles, whatever it does meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.anchoring import anchored, moved_between
from clockstep.core.moved import moved_away
from clockstep.core.targets import Scope
from clockstep.daemons import chrony
from clockstep.errors import ReachError
from clockstep.flows import revert as reverts
from clockstep.host.locks import DomainLocks
from clockstep.loop.prove import prove
from clockstep.loop.run import Run, begin
from clockstep.loop.settle import settle
from clockstep.model import (
    Cause,
    Claim,
    Decision,
    Episode,
    Facts,
    Finding,
    HostClock,
    Offset,
    Policy,
    Reading,
    Resync,
    SetReport,
    Snapshot,
    Step,
    Thaw,
    Verdict,
)
from clockstep.ports import Instant, Node, Output, World
from clockstep.reach.injection import PERL
from clockstep.reach.sampling import sampled
from clockstep.state.journal import FileJournal
from clockstep.workloads.freezer import THAW
from core.simulation import MILLISECOND, NOW_S, SECOND, SimClock, SimGuest, SimHypervisor

ASKED = Cause("asked")


def run_of(guest: SimGuest, policy: Policy | None = None) -> Run:
    return begin(Node("node1", guest.reach()), ASKED, policy or Policy(), guest.clock, guest.clock)


def both(guest: SimGuest, policy: Policy | None = None) -> Episode:
    run = run_of(guest, policy)
    prove(run)
    return settle(run)


def moved(episode: Episode) -> list[Finding]:
    return [finding for finding in episode.findings if finding.check == "moved"]


def test_a_proven_clock_is_returned_before_its_daemon_is_asked_anything() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    run = run_of(guest)
    assert prove(run)
    assert [type(action) for action in run.done] == [Step]
    assert len(guest.commands) == 1
    proven_ns = run.proven_ns
    episode = settle(run)
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert episode.proven_ns == proven_ns
    assert (episode.verdict, episode.decision, moved(episode)) == (Verdict.GOOD, Decision.NOTHING, [])


@pytest.mark.parametrize("offset_ns", [5 * SECOND, -2 * 86_400 * SECOND])
def test_a_clock_that_needs_consent_is_not_proven_and_settling_it_does_nothing(offset_ns: int) -> None:
    guest = SimGuest(SimClock(), offset_ns)
    run = run_of(guest)
    assert not prove(run)
    episode = settle(run)
    assert (episode.verdict, episode.decision) == (Verdict.BAD, Decision.CONSENT)
    assert (guest.steps, guest.commands) == ([], [])


@dataclass
class Driven(SimGuest):
    """A guest whose chronyd, once it has measured again, slews the clock to its servers' time until it is stepped."""

    servers_ahead_ns: int = 0
    pulls: int = 1
    driving: bool = False

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        self.driving = self.driving and argv[2] != PERL
        done = super()._execute(argv)
        if argv[2] == chrony.RESYNC and self.pulls:
            self.pulls -= 1
            self.driving = True
            self.synchronised_at = None
        return done

    def pass_ns(self, duration_ns: int) -> None:
        super().pass_ns(duration_ns)
        if self.driving:
            most, left = duration_ns * 833 // 10_000, self.servers_ahead_ns - self.offset_ns
            self.offset_ns += max(-most, min(left, most))


def test_a_daemon_that_drives_a_proven_clock_away_for_good_is_named_with_by_how_much() -> None:
    guest = Driven(SimClock(), -60 * SECOND, servers_ahead_ns=3 * SECOND)
    episode = both(guest)
    assert (episode.verdict, episode.proven_ns) == (Verdict.BAD, None)
    (finding,) = moved(episode)
    assert finding.verdict is Verdict.BAD
    assert finding.text.startswith("chrony has moved the clock by +")
    assert "servers" in finding.remedy
    assert episode.after is not None
    assert episode.after.earliest_ns <= guest.offset_ns <= episode.after.latest_ns


def test_a_clock_that_its_daemon_drives_behind_is_stepped_and_proven_again_and_that_is_said() -> None:
    guest = Driven(SimClock(), -60 * SECOND, servers_ahead_ns=-SECOND)
    episode = both(guest)
    assert episode.verdict is Verdict.GOOD
    assert len(guest.steps) == 2
    (finding,) = moved(episode)
    assert finding.verdict is Verdict.GOOD
    assert finding.text.startswith("chrony has moved the clock by -")
    assert finding.remedy


@given(
    was=st.integers(-(10**7), 10**7),
    by=st.integers(-(10**12), 10**12),
    error=st.integers(0, 10**6),
    elapsed=st.integers(0, 10**11),
)
def test_who_moved_a_clock_is_said_only_if_it_is_surely_beyond_and_never_of_a_daemon_that_cannot(
    was: int, by: int, error: int, elapsed: int
) -> None:
    before = Facts((Reading("agent", Offset(was, error), 0, 0),), Claim("chrony", synchronised=True))
    now = Facts((Reading("agent", Offset(was + by, error), 0, 0),))
    finding = moved_away(before, now, elapsed, Policy())
    beyond = Offset(was + by, error).surely_beyond(Policy().tolerance_ns)
    assert (finding is not None) is beyond
    if finding and finding.text.startswith("chrony has moved"):
        assert abs(by) <= elapsed // 10 + 2 * error


def test_what_moved_a_clock_without_a_daemon_is_not_put_down_to_one() -> None:
    before, now = (Facts((Reading("agent", Offset(value, 1000), 0, 0),)) for value in (0, 20 * MILLISECOND))
    finding = moved_away(before, now, SECOND, Policy())
    assert finding is not None
    assert finding.text.startswith("something other than clockstep has moved the clock by +20")


@dataclass
class Steered(SimGuest):
    """A guest whose daemon steps the clock to its servers' time as it is resynced, which takes seconds."""

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        done = super()._execute(argv)
        if argv[2] == chrony.RESYNC:
            self.pass_ns(3 * SECOND)
            self.offset_ns = 300 * SECOND
        return done


def test_a_clock_is_looked_at_after_a_resync_during_which_the_deadline_has_passed() -> None:
    guest = Steered(SimClock(), -60 * SECOND)
    episode = both(guest, Policy(deadline_ns=3 * SECOND))
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert (episode.verdict, episode.proven_ns) == (Verdict.BAD, None)
    assert episode.after is not None
    assert episode.after.value_ns > 299 * SECOND


@dataclass
class Interrupted(SimGuest):
    """A guest to which something else happens after so many questions to its daemon."""

    questions: int = 0

    def _ask(self) -> tuple[int, str, str]:
        self.questions += 1
        return super()._ask()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_settling_is_cut_short_by_a_new_event_but_not_before_the_daemon_was_resynced(after: int) -> None:
    guest = Interrupted(SimClock(), -60 * SECOND)
    run = run_of(guest, Policy(require_sync=True))
    assert prove(run)
    episode = settle(run, lambda: guest.questions >= after)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert guest.questions <= max(1, after) + 1
    assert not any(finding.check == "sync" for finding in episode.findings)


def test_what_is_seen_after_a_new_event_is_not_put_down_to_the_daemon() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    run = run_of(guest)
    assert prove(run)

    def reverted() -> bool:
        guest.offset_ns = -300 * SECOND
        return True

    episode = settle(run, reverted)
    assert (episode.verdict, moved(episode), len(guest.steps)) == (Verdict.GOOD, [], 1)


@dataclass
class Frozen(SimGuest):
    """A guest whose workloads are frozen: it keeps how its clock was at each thaw, and what had been run before."""

    failures: list[ReachError] = field(default_factory=list)
    thaws: list[tuple[int, bool]] = field(default_factory=list)

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[2] != THAW:
            return super()._execute(argv)
        self.pass_ns(self.exec_latency_ns)
        if self.failures:
            raise self.failures.pop(0)
        self.thaws.append((self.offset_ns, chrony.RESYNC in self.commands))
        return 0, "frozen", ""


NAMES = ["node1", "node2", "node3"]
LONG = Policy(deadline_ns=600 * SECOND)
"""What one node takes passes for the others, too: they share a clock."""


def reverted(tmp_path: Path, hypervisor: SimHypervisor) -> SetReport:
    """Revert all to a snapshot in which their workloads are frozen."""
    clock = hypervisor.clock
    world = World(hypervisor, clock, clock, DomainLocks(clock), FileJournal(tmp_path), lambda _node, _text: None)
    for name in NAMES:
        frozen = Snapshot("base", clock.real, "set", tuple(NAMES), frozen=("kubepods.slice",))
        hypervisor.taken[name]["base"] = (frozen, clock.real)
    clock.sleep_ns(3600 * SECOND)
    return reverts.revert(world, reverts.choose(hypervisor, Scope(), "base"), LONG)


def frozen(**first: list[ReachError]) -> tuple[SimHypervisor, list[Frozen]]:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    machines = [Frozen(clock, failures=first.get(name, [])) for name in NAMES]
    hypervisor.machines.update(zip(NAMES, machines, strict=True))
    return hypervisor, machines


def test_each_node_is_thawed_once_its_clock_is_proven_and_before_its_daemon_is_touched(tmp_path: Path) -> None:
    hypervisor, machines = frozen()
    report = reverted(tmp_path, hypervisor)
    assert [one.thaw for one in report.freezes] == [Thaw.PROVEN] * 3
    for machine in machines:
        ((offset_ns, resynced),) = machine.thaws
        assert abs(offset_ns) < 10 * MILLISECOND
        assert not resynced
        assert chrony.RESYNC in machine.commands


def test_a_node_whose_clock_cannot_be_proven_stays_frozen_and_costs_the_others_nothing(tmp_path: Path) -> None:
    hypervisor, machines = frozen()
    machines[1].root = False
    report = reverted(tmp_path, hypervisor)
    assert [one.thaw for one in report.freezes] == [Thaw.PROVEN, Thaw.FROZEN, Thaw.PROVEN]
    assert [len(machine.thaws) for machine in machines] == [1, 0, 1]


def test_a_thaw_that_fails_is_tried_again_unless_that_is_in_vain(tmp_path: Path) -> None:
    lost, lasting = ReachError("the answer was lost"), ReachError("it may not", lasting=True)
    hypervisor, machines = frozen(node1=[lost], node2=[lasting])
    report = reverted(tmp_path, hypervisor)
    assert [one.thaw for one in report.freezes] == [Thaw.PROVEN, Thaw.FROZEN, Thaw.PROVEN]
    assert [len(machine.thaws) for machine in machines] == [1, 0, 1]
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3


class HardwareClock:
    """A clock beside the host's that nobody sets, and that is read with an error."""

    name = "phc"

    def __init__(self, clock: SimClock, error_ns: int = 0) -> None:
        self._clock, self._error_ns = clock, error_ns

    def now(self) -> Instant:
        return Instant(self._clock.monotonic_ns() + NOW_S * SECOND, self._error_ns)

    def anchor(self) -> Offset:
        return anchored(self._clock.monotonic_ns(), self.now().at_ns, self._clock.monotonic_ns())

    def moved_since(self, anchor: Offset) -> int:
        return moved_between(anchor, self.anchor())

    def quality(self) -> HostClock:
        return HostClock(synchronised=True, max_error_ns=self._error_ns)


class HostItself:
    """The host's own clock as the one that is corrected: a step of it is a step of CLOCK_REALTIME."""

    source = "here"

    def __init__(self, clock: SimClock, reference: HardwareClock) -> None:
        self.host, self._reference = clock, reference
        self.steps: list[int] = []

    def clock(self, within_ns: int | None = None) -> Reading:
        return sampled(self.source, lambda: divmod(self.host.realtime_ns(), SECOND), self.host, self._reference, 0)

    def step(self, by_ns: int, token: str) -> int | None:
        self.steps.append(by_ns)
        self.host.set_by(by_ns)
        return by_ns

    def fate(self, token: str) -> int | None:
        raise AssertionError("the step was answered")

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        return Output(1, "", "")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error_ns", [0, 50_000])
def test_a_node_corrects_itself_against_another_clock_and_its_own_step_is_no_set_of_that(error_ns: int) -> None:
    clock = SimClock()
    reference = HardwareClock(clock, error_ns)
    here = HostItself(clock, reference)
    run = begin(Node("here", here), ASKED, Policy(max_forward_ns=10**18), clock, reference)
    before = clock.real - clock.mono - NOW_S * SECOND
    assert before < -SECOND
    assert prove(run)
    episode = settle(run)
    assert (episode.verdict, len(here.steps)) == (Verdict.GOOD, 1)
    assert abs(clock.real - clock.mono - NOW_S * SECOND) <= MILLISECOND
    (reading,) = episode.facts.readings
    assert reading.reference == "phc"
    assert reading.offset.error_ns >= error_ns


@given(error_ns=st.integers(0, SECOND), off_ns=st.integers(-60 * SECOND, 60 * SECOND))
def test_a_reading_is_no_better_than_what_it_was_compared_with(error_ns: int, off_ns: int) -> None:
    clock = SimClock()
    reference = HardwareClock(clock, error_ns)
    said = sampled("x", lambda: divmod(reference.now().at_ns + off_ns, SECOND), clock, reference, 0).offset
    assert said.error_ns >= error_ns
    assert said.earliest_ns + error_ns <= off_ns + 10_000
    assert said.latest_ns - error_ns >= off_ns - 10_000
