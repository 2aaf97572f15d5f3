"""What the watcher makes of what happens, and what it does about it, on simulated machines."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from clockstep.core.events import BOOT_NS, FOUND, SILENCE_NS, STEPPED
from clockstep.core.plan import SLACK_NS
from clockstep.core.selection import Wanted, is_chosen, matched
from clockstep.core.trail import OFTEN, WINDOW_NS, Trail, cause, follow, too_often
from clockstep.daemons import ask_all, chrony
from clockstep.daemons.chrony import WAIT
from clockstep.errors import ReachError
from clockstep.flows.snapshot import create
from clockstep.flows.watch.watched import Orders, drop
from clockstep.flows.watch.watcher import Watcher
from clockstep.flows.watch.work import GUARD_EVERY_NS
from clockstep.host.locks import DomainLocks
from clockstep.machines.several import Several
from clockstep.model import Decision, Episode, Guest, Happening, Policy, Reading, Snapshot, Verdict, What
from clockstep.ports import Listed, World
from clockstep.reach.agent import AgentReach
from clockstep.reach.guard import START
from clockstep.reach.injection import PERL
from clockstep.state.journal import FileJournal
from clockstep.state.sightings import FileSightings
from clockstep.units import DAY_NS
from clockstep.workloads.freezer import THAW
from conftest import until
from core.simulation import MILLISECOND, SECOND, SimClock, SimGuest, SimHypervisor

NAMES = ["node1", "node2", "other"]


def trail_of(*happenings: tuple[What, int]) -> Trail:
    trail = Trail()
    for what, at_ns in happenings:
        trail = follow(trail, Happening("uuid", what, at_ns))
    return trail


@pytest.mark.parametrize(
    ("happenings", "kind", "explains_ns"),
    [
        ([(What.PAUSED, 100), (What.RESUMED, 100 + 5 * SECOND)], "resumed", 5 * SECOND + SLACK_NS),
        ([(What.RESUMED, 5)], "resumed", DAY_NS),
        ([(What.STOPPED, 1), (What.REVERTED, 2), (What.REVERTED, 3)], "reverted", 60 * SECOND + SLACK_NS),
        ([(What.REVERTED, 1), (What.PAUSED, 2), (What.RESUMED, 9)], "reverted", 60 * SECOND + SLACK_NS),
        ([(What.STOPPED, 0), (What.RESTORED, 7 * SECOND)], "restored", DAY_NS),
        ([(What.STOPPED, 0), (What.RESTORED, 3 * DAY_NS)], "restored", 3 * DAY_NS + SLACK_NS),
        ([(What.MIGRATED, 1)], "migrated", DAY_NS),
        ([(What.BOOTED, 1), (What.ANSWERS, 2)], "booted", DAY_NS),
        ([(What.STOPPED, 1), (What.RESUMED, 2)], "booted", DAY_NS),
        ([(What.ANSWERS, 2)], "agent-answers", DAY_NS),
    ],
)
def test_what_happens_is_a_cause_that_explains_so_much(
    happenings: list[tuple[What, int]], kind: str, explains_ns: int
) -> None:
    found = cause(trail_of(*happenings), 60 * SECOND)
    assert (found.kind, found.explains_ns) == (kind, explains_ns)


def test_nothing_is_due_while_a_guest_stands_still() -> None:
    assert not trail_of((What.REVERTED, 1), (What.PAUSED, 2)).due
    assert not trail_of((What.RESUMED, 1), (What.STOPPED, 2)).due
    assert trail_of((What.PAUSED, 1), (What.RESUMED, 2)).due


def test_too_often_is_within_the_window() -> None:
    assert too_often([0] * OFTEN, WINDOW_NS)
    assert not too_often([0] * OFTEN, WINDOW_NS + 1)
    assert not too_often([0] * (OFTEN - 1), 0)


class Watch:
    """A watcher whose time is driven by the test: it takes in until a condition holds."""

    def __init__(
        self,
        clock: SimClock,
        folder: Path,
        hypervisor: SimHypervisor | None = None,
        *,
        synchronised: bool = True,
        several: Several | None = None,
    ) -> None:
        self.hypervisor = hypervisor or SimHypervisor(clock, NAMES)
        self.clock = clock
        self.told: list[Episode] = []
        self.said: list[str] = []
        locks = DomainLocks(clock)
        self.world = World(
            several or self.hypervisor, clock, clock, locks, FileJournal(folder), lambda _node, text: self.say(text)
        )
        self.listed: Sequence[Listed] = ()
        self.all: list[Episode] = []
        orders = Orders(self.is_meant, Policy(), synchronised=lambda: synchronised, matched=self.matched)
        self.watcher = Watcher(self.world, orders, [self], FileSightings(folder))
        self.world.hypervisor.subscribe(self.watcher._inbox.put)
        self.sweep()

    def is_meant(self, guest: Guest) -> bool:
        return guest.name != "other"

    def matched(self, guests: Sequence[Guest]) -> frozenset[str]:
        return frozenset()

    def surveyed(self, listed: Sequence[Listed]) -> None:
        self.listed = listed

    def seen(self, episode: Episode, *, new: bool) -> None:
        self.all.append(episode)
        if new:
            self.told.append(episode)

    def ended(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def sweep(self) -> None:
        self.watcher.sweep(FOUND)
        self.take_in(self.is_idle)

    def is_idle(self) -> bool:
        return self.watcher._inbox.empty() and not any(watched.busy for watched in self.watcher._watched.values())

    def take_in(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "the awaited condition never came"
            self.watcher.take_in(20 * MILLISECOND)

    def happens(self, name: str, *whats: What) -> None:
        (guest,) = [guest for guest in self.hypervisor.guests() if guest.name == name]
        for what in whats:
            self.hypervisor.tell(Happening(guest.uuid, what, self.clock.mono))

    def put_behind(self, name: str, seconds: int) -> None:
        self.hypervisor.machines[name].offset_ns = -seconds * SECOND

    def settle(self, count: int) -> list[Episode]:
        self.take_in(lambda: len(self.told) >= count)
        self.take_in(self.is_idle)
        return self.told


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(SimClock(), tmp_path)


def test_right_clocks_are_nothing_to_tell(watch: Watch) -> None:
    watch.sweep()
    assert watch.told == []


def test_one_revert_that_comes_as_several_events_is_one_episode(watch: Watch) -> None:
    watch.put_behind("node1", 3600)
    watch.happens("node1", What.STOPPED, What.REVERTED, What.REVERTED, What.ANSWERS)
    (episode,) = watch.settle(1)
    assert (episode.node, episode.verdict, episode.cause.kind) == ("node1", Verdict.GOOD, "reverted")
    assert episode.wrong_for_ns is not None
    assert len(watch.hypervisor.machines["node1"].steps) == 1


def test_a_revert_explains_no_more_than_the_snapshots_age(watch: Watch) -> None:
    guests = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    create(watch.world, guests, "base", Policy())
    before = list(watch.hypervisor.machines["node1"].steps)
    watch.put_behind("node1", 7200)
    watch.happens("node1", What.REVERTED)
    (episode,) = watch.settle(1)
    assert (episode.verdict, episode.decision) == (Verdict.BAD, Decision.CONSENT)
    assert episode.actions == ()
    for _ in range(3):  # and a sweep does not make it explain more
        watch.sweep()
    assert watch.hypervisor.machines["node1"].steps == before
    watch.put_behind("node1", 30)
    watch.sweep()
    assert watch.told[-1].verdict is Verdict.GOOD


def test_reverts_again_and_again_are_all_mended(watch: Watch) -> None:
    for count in range(OFTEN + 3):
        watch.clock.sleep_ns(5 * SECOND)
        watch.put_behind("node1", 3600)
        watch.happens("node1", What.REVERTED)
        assert len(watch.settle(count + 1)) == count + 1
    assert {episode.verdict for episode in watch.told} == {Verdict.GOOD}


@dataclass
class Waiting(SimGuest):
    """A guest to which something happens once, while its daemon is asked or waited for."""

    at: str = WAIT
    happens: Callable[[], None] = lambda: None
    done: bool = False

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        output = super()._execute(argv)
        if argv[2] == self.at and self.steps and not self.done:
            self.done = True
            self.happens()
        return output


@pytest.mark.parametrize("at", [ask_all(), WAIT])
def test_a_revert_while_a_daemon_is_seen_to_is_an_episode_of_its_own(watch: Watch, at: str) -> None:
    watched = next(iter(watch.watcher._watched.values()))

    def revert() -> None:
        watch.clock.sleep_ns(SECOND)  # events that come within one are of one happening
        watch.put_behind("node1", 3600)
        watch.happens("node1", What.REVERTED)
        until(lambda: watched.state.trail.due, 5)

    machine = watch.hypervisor.machines["node1"] = Waiting(watch.clock, at=at, happens=revert)
    drop(watched)  # the way that is open leads to the machine before
    watch.put_behind("node1", 3)
    watch.happens("node1", What.PAUSED, What.RESUMED)
    first, second = watch.settle(2)
    assert (first.cause.kind, second.cause.kind) == ("resumed", "reverted")
    assert (first.verdict, second.verdict) == (Verdict.GOOD, Verdict.GOOD)
    assert [step // SECOND for step in machine.steps] == [3, 3600]


def test_the_way_to_a_node_stays_open_over_a_pause_and_not_over_a_revert(watch: Watch) -> None:
    watched = next(iter(watch.watcher._watched.values()))
    before = watched.reach
    watch.put_behind("node1", 3)
    watch.happens("node1", What.PAUSED, What.RESUMED)
    watch.settle(1)
    assert watched.reach is before
    watch.clock.sleep_ns(2 * SECOND)
    watch.put_behind("node1", 3600)
    watch.happens("node1", What.REVERTED)
    watch.settle(2)
    assert watched.reach is not before


def test_a_way_that_two_threads_drop_at_once_is_no_trouble(watch: Watch) -> None:
    watched = next(iter(watch.watcher._watched.values()))
    closed = list[object]()

    class Way(AgentReach):
        def __bool__(self) -> bool:  # the other thread is quicker
            watched.reach = None
            return True

        def close(self) -> None:
            closed.append(self)

    watched.reach = Way(watch.hypervisor.machines["node1"], watch.clock, watch.clock)
    drop(watched)
    assert len(closed) == 1


class Buggy(SimGuest):
    """A guest on whose thaw a bug is met."""

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[2] == THAW:
            raise RuntimeError("a bug")
        return super()._execute(argv)


def test_a_bug_on_one_node_delays_no_other_for_ever(watch: Watch) -> None:
    watched = next(iter(watch.watcher._watched.values()))
    drop(watched)
    watch.hypervisor.machines["node1"] = Buggy(watch.clock)
    frozen = Snapshot("base", watch.clock.real, "set", ("node1",), frozen=("kubepods.slice",))
    watch.hypervisor.taken["node1"]["base"] = (frozen, watch.clock.real)
    watch.happens("node1", What.REVERTED)
    (episode,) = watch.settle(1)
    assert "internal error" in episode.facts.trouble[-1].text
    assert not watch.watcher._worker._company.has_unproven()


class Silent(SimHypervisor):
    """One whose ways to a node are silent once, until they are closed."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__(clock, NAMES)
        self.hushed = ""
        self.waiting = threading.Event()

    def reach(self, guest: Guest) -> AgentReach:
        hypervisor, closed = self, threading.Event()

        class Way(AgentReach):
            def clock(self, within_ns: int | None = None) -> Reading:
                if hypervisor.hushed == guest.name:
                    hypervisor.waiting.set()
                    assert closed.wait(10)
                    raise ReachError("the connection was closed", lasting=True)
                return super().clock(within_ns)

            def close(self) -> None:
                closed.set()

        return Way(self.machines[guest.name], self.clock, self.clock)


@pytest.mark.parametrize("happened", [[], [What.PAUSED, What.RESUMED]])
def test_a_way_that_waits_for_an_answer_from_before_a_revert_is_closed_at_once(
    tmp_path: Path, happened: list[What]
) -> None:
    hypervisor = Silent(SimClock())
    watch = Watch(hypervisor.clock, tmp_path, hypervisor)
    hypervisor.hushed = "node1"
    if happened:
        watch.happens("node1", *happened)
        watch.take_in(hypervisor.waiting.is_set)
    else:
        watch.watcher.sweep(FOUND)
        assert hypervisor.waiting.wait(10)
    watch.clock.sleep_ns(2 * SECOND)
    watch.put_behind("node1", 3600)
    hypervisor.hushed = ""
    watch.happens("node1", What.REVERTED)
    (episode,) = watch.settle(1)
    assert (episode.cause.kind, episode.verdict) == ("reverted", Verdict.GOOD)


class Late(SimHypervisor):
    """One that says once more which snapshot was the current one before a revert, before it says which is."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__(clock, NAMES)
        self.said: list[Snapshot | None] = []

    def current(self, guest: Guest) -> Snapshot | None:
        return self.said.pop() if len(self.said) > 1 else self.said[0] if self.said else super().current(guest)


def test_a_snapshot_that_is_called_current_only_after_the_event_explains_the_revert(tmp_path: Path) -> None:
    hypervisor = Late(SimClock())
    watch = Watch(hypervisor.clock, tmp_path, hypervisor)
    guests = [guest for guest in hypervisor.guests() if guest.name == "node1"]
    create(watch.world, guests, "old", Policy())
    old = hypervisor.current(guests[0])
    watch.clock.sleep_ns(3 * DAY_NS)
    create(watch.world, guests, "new", Policy())
    hypervisor.said = [old, hypervisor.current(guests[0])]
    watch.put_behind("node1", 3 * 86_400)
    watch.happens("node1", What.REVERTED)
    (episode,) = watch.settle(1)
    assert (episode.cause.kind, episode.verdict) == ("reverted", Verdict.GOOD)
    assert round(hypervisor.machines["node1"].steps[-1] / SECOND) == 3 * 86_400


def test_the_cause_is_kept_for_when_a_guest_that_was_reverted_answers(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    guests = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    create(watch.world, guests, "base", Policy())
    watch.clock.sleep_ns(3 * DAY_NS)
    watch.put_behind("node1", 3 * 86_400)
    machine.deaf = True
    watch.happens("node1", What.REVERTED)
    assert watch.settle(1)[0].verdict is Verdict.UNREACHABLE
    machine.deaf = False
    watch.sweep()
    assert (watch.told[-1].verdict, watch.told[-1].cause.kind) == (Verdict.GOOD, "reverted")


def test_while_the_host_is_not_to_be_trusted_clocks_are_only_looked_at(watch: Watch) -> None:
    watch.watcher.orders.trusts = lambda: False
    watch.put_behind("node1", 30)
    watch.sweep()
    assert (watch.told[-1].verdict, watch.told[-1].actions) == (Verdict.BAD, ())
    watch.watcher.orders.trusts = lambda: True
    watch.sweep()
    assert watch.told[-1].verdict is Verdict.GOOD


def guards(watch: Watch) -> list[str]:
    return [name for name, machine in watch.hypervisor.machines.items() if machine.guarded]


def starts(watch: Watch, name: str) -> int:
    return watch.hypervisor.machines[name].commands.count(START)


def test_no_guard_is_started_where_nobody_asked_for_one(watch: Watch) -> None:
    watch.sweep()
    assert guards(watch) == []


def test_each_chosen_node_whose_clock_is_right_gets_a_guard_that_makes_the_step_after_a_revert(watch: Watch) -> None:
    watch.watcher.orders.guards = True
    watch.put_behind("node2", -30)
    watch.sweep()
    assert guards(watch) == ["node1"]
    machine = watch.hypervisor.machines["node1"]
    machine.commands.clear()
    watch.put_behind("node1", 60)
    watch.happens("node1", What.REVERTED)
    watch.settle(2)
    assert len(machine.steps) == 1
    assert PERL not in machine.commands


def test_it_is_seen_to_again_after_an_event_or_a_while_and_not_at_each_sweep(watch: Watch) -> None:
    watch.watcher.orders.guards = True
    for _ in range(2):
        watch.sweep()
        assert starts(watch, "node1") == 1
    watch.put_behind("node1", 60)
    watch.happens("node1", What.BOOTED)
    watch.settle(1)
    watch.sweep()
    assert starts(watch, "node1") == 2
    watch.clock.sleep_ns(GUARD_EVERY_NS + 1)
    watch.sweep()
    assert (starts(watch, "node1"), starts(watch, "node2"), starts(watch, "other")) == (3, 2, 0)


def test_a_node_that_takes_no_guard_is_not_asked_at_each_sweep(watch: Watch) -> None:
    watch.watcher.orders.guards = True
    watch.hypervisor.machines["node1"].has_tools = False
    for _ in range(3):
        watch.sweep()
    assert starts(watch, "node1") == 1
    assert watch.said == ["node1: no guard could be started; after a revert its step takes longer"]


def test_a_node_that_another_clockstep_works_on_gets_its_guard_afterwards(watch: Watch) -> None:
    watch.watcher.orders.guards = True
    (guest,) = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    with DomainLocks(watch.clock).hold([guest], 0):
        watch.sweep()
    assert guards(watch) == ["node2"]
    watch.sweep()
    assert guards(watch) == ["node1", "node2"]


def test_a_clock_that_no_event_told_of_is_found_by_the_sweep(watch: Watch) -> None:
    watch.put_behind("node2", 30)
    watch.sweep()
    (episode,) = watch.told
    assert (episode.node, episode.verdict, episode.cause) == ("node2", Verdict.GOOD, STEPPED)


def test_a_clock_that_is_a_little_ahead_is_left_to_its_daemon_which_is_resynced(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    machine.offset_ns = SECOND // 5
    watch.sweep()
    assert chrony.RESYNC in machine.commands
    assert (watch.told[-1].verdict, machine.steps) == (Verdict.GOOD, [])


def test_a_clock_that_needs_consent_to_go_back_is_asked_nothing(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    machine.offset_ns = 5 * SECOND
    watch.sweep()
    assert (watch.told[-1].decision, machine.commands, machine.steps) == (Decision.CONSENT, [], [])


def test_a_clock_that_drifts_or_was_wrong_from_the_start_was_set_by_nobody(tmp_path: Path) -> None:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    hypervisor.machines["node1"].offset_ns = -30 * SECOND
    watch = Watch(clock, tmp_path, hypervisor=hypervisor)
    assert [(episode.node, episode.cause) for episode in watch.told] == [("node1", FOUND)]
    clock.sleep_ns(3600 * SECOND)
    hypervisor.machines["node2"].offset_ns = -50 * MILLISECOND
    watch.sweep()
    assert (watch.told[-1].node, watch.told[-1].cause) == ("node2", FOUND)


def test_a_guest_that_is_not_chosen_is_not_looked_at(watch: Watch) -> None:
    watch.put_behind("other", 30)
    watch.happens("other", What.REVERTED)
    watch.sweep()
    assert {episode.node for episode in watch.all} == {"node1", "node2"}
    assert {guest.name for one in watch.listed for guest in one.guests} == set(NAMES)


def test_the_way_to_a_guest_that_is_not_chosen_any_more_is_closed(watch: Watch) -> None:
    (node1,) = [one for one in watch.watcher._watched.values() if one.guest.name == "node1"]
    assert node1.reach is not None
    watch.watcher.orders.chosen = lambda guest: guest.name == "node2"
    watch.sweep()
    assert node1.reach is None


def test_with_all_observed_a_guest_that_is_not_chosen_is_shown_once_and_never_touched(watch: Watch) -> None:
    watch.watcher.orders.observes_all = True
    watch.put_behind("other", 30)
    watch.happens("other", What.REVERTED)
    for _ in range(3):
        watch.sweep()
    (episode,) = watch.told
    assert (episode.node, episode.verdict, episode.actions) == ("other", Verdict.BAD, ())
    assert watch.hypervisor.machines["other"].steps == []


def test_a_paused_guest_is_left_alone_until_it_runs_on(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    watch.put_behind("node1", 30)
    machine.running = False
    watch.happens("node1", What.REVERTED)
    watch.take_in(watch.is_idle)
    watch.sweep()
    assert watch.told == []
    machine.running = True
    watch.clock.sleep_ns(5 * SECOND)
    watch.happens("node1", What.RESUMED)
    (episode,) = watch.settle(1)
    assert (episode.verdict, episode.cause.kind) == (Verdict.GOOD, "reverted")


def test_a_guest_that_another_clockstep_holds_is_looked_at_when_it_is_free(watch: Watch) -> None:
    (held,) = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    watch.put_behind("node1", 30)
    with DomainLocks(watch.clock).hold([held], SECOND):
        watch.happens("node1", What.REVERTED)
        watch.take_in(lambda: watch.watcher._watched[held.key].state.trail.due)
        watch.sweep()
        assert watch.told == []
    watch.sweep()
    (episode,) = watch.told
    assert (episode.verdict, episode.cause.kind) == (Verdict.GOOD, "reverted")


def test_a_clock_that_is_wrong_again_and_again_is_flagged_and_left_to_a_person(watch: Watch) -> None:
    for _ in range(OFTEN + 3):
        watch.put_behind("node1", 30)
        watch.sweep()
    assert len(watch.hypervisor.machines["node1"].steps) == OFTEN
    assert any("stepped repeatedly" in finding.text for finding in watch.told[OFTEN - 1].findings)
    assert [episode.verdict for episode in watch.told[OFTEN:]] == [Verdict.BAD]
    watch.clock.sleep_ns(WINDOW_NS)
    watch.sweep()
    watch.sweep()
    assert len(watch.hypervisor.machines["node1"].steps) == OFTEN + 1


def test_a_node_that_does_not_answer_is_told_once_and_again_when_it_is_back(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    machine.deaf = True
    watch.sweep()
    assert Verdict.UNREACHABLE in {episode.verdict for episode in watch.all[-len(NAMES) :]}
    assert watch.told == []  # it may just be shutting down
    for _ in range(3):
        watch.clock.sleep_ns(SILENCE_NS // 2)
        watch.sweep()
    assert [(episode.node, episode.verdict) for episode in watch.told] == [("node1", Verdict.UNREACHABLE)]
    machine.deaf = False
    watch.put_behind("node1", 30)
    watch.sweep()
    assert watch.told[-1].verdict is Verdict.GOOD


@pytest.mark.parametrize("whats", [(What.RESUMED, What.BOOTED), (What.BOOTED, What.RESUMED), (What.RESUMED,)])
def test_a_boot_is_called_so_and_is_no_alarm_and_its_time_does_not_count(watch: Watch, whats: tuple[What, ...]) -> None:
    machine = watch.hypervisor.machines["node1"]
    watch.happens("node1", What.STOPPED)
    machine.deaf = True
    watch.happens("node1", *whats)
    watch.take_in(lambda: watch.all[-1].verdict is Verdict.UNREACHABLE)
    watch.clock.sleep_ns(60 * SECOND)
    watch.sweep()
    assert watch.told == []
    machine.deaf = False
    watch.put_behind("node1", 1)
    watch.sweep()
    (episode,) = watch.settle(1)
    assert (episode.cause.kind, episode.verdict) == ("booted", Verdict.GOOD)
    assert episode.wrong_for_ns is not None
    assert episode.wrong_for_ns < 5 * SECOND


def test_a_boot_that_never_ends_is_told(watch: Watch) -> None:
    watch.hypervisor.machines["node1"].deaf = True
    watch.happens("node1", What.STOPPED, What.BOOTED)
    watch.take_in(lambda: watch.all[-1].verdict is Verdict.UNREACHABLE)
    watch.clock.sleep_ns(BOOT_NS)
    watch.sweep()
    assert [(one.cause.kind, one.verdict) for one in watch.settle(1)] == [("booted", Verdict.UNREACHABLE)]


def test_when_the_host_wakes_everything_is_looked_at_and_the_sleep_explains_it(watch: Watch) -> None:
    assert watch.watcher.host_changed() is None
    watch.clock.slept += 3 * 86_400 * SECOND
    found = watch.watcher.host_changed()
    assert found is not None
    assert (found.kind, found.explains_ns) == ("host-woke", 3 * 86_400 * SECOND + SLACK_NS)
    for name in NAMES:
        watch.put_behind(name, 3 * 86_400)
    watch.watcher.sweep(found)
    episodes = watch.settle(2)
    verdicts = {episode.node: episode.verdict for episode in episodes}
    assert (verdicts["node1"], verdicts["node2"]) == (Verdict.GOOD, Verdict.GOOD)
    assert watch.watcher.host_changed() is None


def test_a_host_whose_clock_is_set_is_said_aloud(watch: Watch) -> None:
    watch.clock.set_by(100 * SECOND)
    found = watch.watcher.host_changed()
    assert found is not None
    assert found.kind == "host-clock-set"
    assert any("host's clock was set" in text for text in watch.said)
    assert watch.watcher.host_changed() is None


class Control:
    """What a test asks of a watcher that runs."""

    def __init__(self) -> None:
        self.over = self.reload = False

    def is_over(self) -> bool:
        return self.over

    def wants_reload(self) -> bool:
        wanted, self.reload = self.reload, False
        return wanted


def test_it_runs_until_it_is_over(watch: Watch) -> None:
    over = Control()
    watch.put_behind("node1", 60)
    running = threading.Thread(target=watch.watcher.run, args=(SECOND, over))
    running.start()
    until(lambda: bool(watch.told), 10)
    over.over = True
    running.join(10)
    assert not running.is_alive()
    assert watch.told[0].verdict is Verdict.GOOD


def test_memory_stays_flat_over_a_thousand_episodes(watch: Watch) -> None:
    def reverts(count: int) -> int:
        for _ in range(count):
            watch.clock.sleep_ns(5 * SECOND)
            watch.put_behind("node1", 3600)
            watch.happens("node1", What.REVERTED)
            watch.settle(1)
            watch.told.clear()
            watch.all.clear()
            watch.said.clear()
            machine = watch.hypervisor.machines["node1"]
            machine.steps.clear()
            machine.commands.clear()
        gc.collect()
        return len(gc.get_objects())

    before = reverts(50)
    assert reverts(1000) - before < 100


def test_a_hypervisor_that_does_not_answer_is_said_once_and_nothing_is_forgotten(watch: Watch) -> None:
    known = dict(watch.watcher._watched)
    watch.hypervisor.silent = True
    for _ in range(3):
        watch.sweep()
    assert [text for text in watch.said if "does not answer" in text] == ["libvirt does not answer; trying again"]
    assert watch.watcher._watched == known
    watch.hypervisor.silent = False
    watch.sweep()
    assert watch.said[-1] == "libvirt at its default address answers again"


def test_guests_that_come_and_go_are_no_trouble(watch: Watch) -> None:
    gone = watch.hypervisor.machines.pop("node2")
    watch.sweep()
    watch.hypervisor.machines["node3"] = gone
    watch.hypervisor.taken["node3"] = {}
    watch.put_behind("node3", 30)
    (guest,) = [guest for guest in watch.hypervisor.guests() if guest.name == "node3"]
    assert isinstance(guest, Guest)
    watch.happens("node3", What.BOOTED)
    (episode,) = watch.settle(1)
    assert (episode.node, episode.verdict) == ("node3", Verdict.GOOD)


def test_a_pause_right_after_one_that_was_dealt_with_is_dealt_with_too(watch: Watch) -> None:
    watch.hypervisor.machines["node1"].chrony = False  # so that the work is over soon
    for count in (1, 2):
        watch.put_behind("node1", 1)
        watch.happens("node1", What.PAUSED, What.RESUMED)
        watch.take_in(watch.is_idle)
        assert len(watch.told) == count
        assert abs(watch.hypervisor.machines["node1"].offset_ns) < MILLISECOND
        watch.clock.sleep_ns(SECOND // 5)


def test_an_event_of_a_machine_that_nobody_knows_asks_no_other_machine_anything(watch: Watch) -> None:
    watch.all.clear()
    watch.hypervisor.tell(Happening("a short-lived machine", What.BOOTED, watch.clock.mono))
    watch.watcher.take_in(20 * MILLISECOND)
    watch.take_in(watch.is_idle)
    assert watch.all == []


def test_a_host_that_was_off_for_days_explains_that_its_guests_are_behind_by_them(tmp_path: Path) -> None:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    Watch(clock, tmp_path, hypervisor)  # which has seen all clocks right
    off_ns = 3 * 86_400 * SECOND
    clock.real, clock.mono = clock.real + off_ns, 100 * SECOND
    for machine in hypervisor.machines.values():
        machine.offset_ns = -off_ns
    after = Watch(clock, tmp_path, hypervisor)
    after.happens("node1", What.RESTORED)
    after.settle(2)
    assert {episode.node: episode.verdict for episode in after.told} == dict.fromkeys(NAMES[:2], Verdict.GOOD)


def test_a_save_file_that_is_older_than_the_last_stop_explains_more_than_that() -> None:
    found = cause(trail_of((What.STOPPED, 100 * SECOND), (What.RESTORED, 105 * SECOND)))
    assert found.explains_ns >= DAY_NS


def test_a_host_that_was_off_explains_it_where_no_event_told_of_the_restore(tmp_path: Path) -> None:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    Watch(clock, tmp_path, hypervisor)
    off_ns = 3 * 86_400 * SECOND
    clock.real, clock.mono = clock.real + off_ns, 100 * SECOND
    hypervisor.machines["node1"].offset_ns = -off_ns
    hypervisor.machines["node2"].offset_ns = -off_ns - 3600 * SECOND
    after = Watch(clock, tmp_path, hypervisor)
    assert {one.node: (one.verdict, one.decision) for one in after.told} == {
        "node1": (Verdict.GOOD, Decision.NOTHING),
        "node2": (Verdict.BAD, Decision.CONSENT),
    }


def test_a_host_that_is_not_synchronised_after_it_was_off_explains_a_day_until_it_is(tmp_path: Path) -> None:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    Watch(clock, tmp_path, hypervisor)
    off_ns = 3 * 86_400 * SECOND
    clock.real, clock.mono = clock.real + off_ns, 100 * SECOND
    hypervisor.machines["node1"].offset_ns = -off_ns
    after = Watch(clock, tmp_path, hypervisor, synchronised=False)
    assert [(one.node, one.verdict, one.decision) for one in after.told] == [("node1", Verdict.BAD, Decision.CONSENT)]
    after.watcher.orders.synchronised = lambda: True
    after.sweep()
    assert [(one.node, one.verdict) for one in after.told[1:]] == [("node1", Verdict.GOOD)]


def test_a_host_whose_clock_was_set_ahead_explains_no_more_by_it(watch: Watch) -> None:
    watch.clock.set_by(3 * 86_400 * SECOND)
    for name in NAMES:
        watch.put_behind(name, 3 * 86_400)
    found = watch.watcher.host_changed()
    assert found is not None
    watch.watcher.sweep(found)
    watch.take_in(watch.is_idle)
    watch.happens("node1", What.RESUMED)
    watch.settle(2)
    assert {(one.verdict, one.decision) for one in watch.told} == {(Verdict.BAD, Decision.CONSENT)}
    assert watch.hypervisor.machines["node1"].steps == []


def test_a_watcher_that_never_saw_a_clock_explains_a_day(tmp_path: Path) -> None:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    hypervisor.machines["node1"].offset_ns = -3 * 86_400 * SECOND
    watch = Watch(clock, tmp_path, hypervisor)
    assert [(one.node, one.verdict, one.decision) for one in watch.told] == [("node1", Verdict.BAD, Decision.CONSENT)]


class Hosts(Watch):
    """A watcher of two hosts, with one machine that may be on either, and one of each host's own called `twin`."""

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        clock = SimClock()
        self.here = SimHypervisor(clock, ["twin", "web"])
        self.there = SimHypervisor(clock, ["twin"])
        self.names = names or ("*",)
        self.both = Several({"a": self.here, "b": self.there})
        super().__init__(clock, folder, self.here, several=self.both)

    def is_meant(self, guest: Guest) -> bool:
        return is_chosen(guest, Wanted(tuple(self.names)))

    def matched(self, guests: Sequence[Guest]) -> frozenset[str]:
        return matched(guests, Wanted(tuple(self.names)))

    def guest(self, name: str, connection: str) -> Guest:
        (guest,) = [one for one in self.both.guests() if name in one.names and one.connection == connection]
        return guest

    def tells(self, what: What, connection: str, uuid: str) -> None:
        host = self.here if connection == "a" else self.there
        host.tell(Happening(uuid, what, self.clock.mono))

    def migrate(self, name: str) -> SimGuest:
        """The machine goes to the other host, with its clock and its UUID, and runs no more where it was."""
        self.there.identities[name] = self.guest(name, "a").uuid
        before = self.here.machines.pop(name)
        self.there.taken[name] = {}
        self.there.machines[name] = SimGuest(self.clock, before.offset_ns)
        before.running = False
        return self.there.machines[name]


def test_machines_of_one_name_on_two_hosts_are_told_apart(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path)
    hosts.there.machines["twin"].offset_ns = -30 * SECOND
    hosts.tells(What.RESUMED, "b", hosts.guest("twin@b", "b").uuid)
    (episode,) = hosts.settle(1)
    assert (episode.node, episode.verdict) == ("twin@b", Verdict.GOOD)
    assert (hosts.here.machines["twin"].steps, len(hosts.there.machines["twin"].steps)) == ([], 1)


def test_a_machine_that_is_named_is_watched_on_when_another_host_gets_one_of_its_name(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, ["web"])
    hosts.there.machines["web"] = SimGuest(hosts.clock)
    hosts.there.taken["web"] = {}
    hosts.sweep()
    hosts.here.machines["web"].offset_ns = -30 * SECOND
    hosts.tells(What.RESUMED, "a", hosts.guest("web@a", "a").uuid)
    (episode,) = hosts.settle(1)
    assert (episode.node, episode.verdict) == ("web@a", Verdict.GOOD)


def test_a_name_that_means_nothing_any_more_is_said_once(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, ["web", "tw*"])
    gone = hosts.here.machines.pop("web")
    for _ in range(3):
        hosts.sweep()
    assert hosts.said == ["no node matches 'web' any more"]
    hosts.here.machines["web"] = gone
    hosts.sweep()
    del hosts.here.machines["web"]
    hosts.sweep()
    assert hosts.said == ["no node matches 'web' any more"] * 2


def test_a_machine_that_migrates_is_looked_at_where_it_comes_to(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, ["web"])
    uuid = hosts.guest("web", "a").uuid
    hosts.migrate("web").offset_ns = -5 * SECOND
    hosts.tells(What.MIGRATED, "b", uuid)
    hosts.tells(What.STOPPED, "a", uuid)
    (episode,) = hosts.settle(1)
    assert (episode.cause.kind, episode.verdict) == ("migrated", Verdict.GOOD)
    hosts.sweep()
    assert [key for key in hosts.watcher._watched if key[1] == uuid] == [("b", uuid)]


@pytest.mark.parametrize("first", [What.MIGRATED, What.STOPPED])
def test_a_machine_that_migrates_while_it_is_worked_on_is_corrected_where_it_comes_to(
    tmp_path: Path, first: What
) -> None:
    """The work ends as a result, its cause goes along, and the clock is corrected once."""
    hosts = Hosts(tmp_path, ["web"])
    uuid = hosts.guest("web", "a").uuid
    before = hosts.here.machines["web"]
    before.deaf, before.offset_ns = True, -5 * SECOND
    hosts.tells(What.REVERTED, "a", uuid)
    hosts.take_in(lambda: any(watched.busy for watched in hosts.watcher._watched.values()))
    web = hosts.migrate("web")
    events = [(What.MIGRATED, "b"), (What.STOPPED, "a")]
    for what, connection in events if first is What.MIGRATED else reversed(events):
        hosts.tells(what, connection, uuid)

    def is_corrected() -> bool:
        if hosts.watcher._unplaced:  # on a busy machine the listing came too late for the event: the next sweep has it
            hosts.sweep()
        return any(one.verdict is Verdict.GOOD and one.actions for one in hosts.told)

    hosts.take_in(is_corrected)
    hosts.take_in(hosts.is_idle)
    (corrected,) = [one for one in hosts.told if one.actions]
    assert (corrected.node, corrected.cause.kind) == ("web", "reverted")
    assert (len(before.steps), len(web.steps)) == (0, 1)
    assert abs(web.offset_ns) < MILLISECOND
    hosts.sweep()
    assert [key for key in hosts.watcher._watched if key[1] == uuid] == [("b", uuid)]


class Slow(SimHypervisor):
    """One that lists its machines only when it may."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__(clock, NAMES)
        self.may = threading.Event()
        self.may.set()

    def guests(self) -> list[Guest]:
        found = super().guests()
        assert self.may.wait(20)
        return found


def test_an_event_of_a_machine_that_no_listing_has_yet_waits_for_one_that_is_late(tmp_path: Path) -> None:
    slow = Slow(SimClock())
    watch = Watch(slow.clock, tmp_path, slow, several=Several({"": slow}))
    slow.machines["new"] = SimGuest(slow.clock, -5 * 86_400 * SECOND)
    (new,) = [guest for guest in slow.guests() if guest.name == "new"]
    slow.taken["new"] = {"base": (Snapshot("base", slow.clock.real - 5 * 86_400 * SECOND, "set", ("new",)), 0)}
    slow.may.clear()
    slow.tell(Happening(new.uuid, What.REVERTED, slow.clock.mono))
    watch.watcher.take_in(20 * MILLISECOND)
    assert watch.is_idle()
    slow.may.set()
    watch.sweep()
    (episode,) = watch.settle(1)
    assert (episode.node, episode.cause.kind, episode.verdict) == ("new", "reverted", Verdict.GOOD)
    assert watch.watcher._unplaced == []


def test_an_event_of_a_machine_that_is_never_listed_is_forgotten(watch: Watch) -> None:
    watch.hypervisor.tell(Happening("nobody", What.REVERTED, watch.clock.mono))
    watch.take_in(lambda: len(watch.watcher._unplaced) == 1)
    watch.clock.sleep_ns(61 * SECOND)
    watch.sweep()
    assert watch.watcher._unplaced == []
