"""What the watcher makes of what happens, and what it does about it, on simulated machines."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from clockstep.core.plan import SLACK_NS
from clockstep.core.watching import OFTEN, WINDOW_NS, Trail, cause, follow, too_often
from clockstep.daemons import ask_all
from clockstep.daemons.chrony import WAIT
from clockstep.flows.snapshot import create
from clockstep.flows.watch import FOUND, GUARD_EVERY_NS, STEPPED, Orders, Watcher
from clockstep.journal import FileJournal
from clockstep.locks import DomainLocks
from clockstep.model import Episode, Guest, Happening, HostClock, Policy, Verdict, What
from clockstep.ports import Listed, World
from clockstep.reach.guard import START
from clockstep.reach.injection import PERL
from clockstep.units import DAY_NS
from conftest import until
from core.simulation import MILLISECOND, SECOND, SimClock, SimGuest, SimHypervisor

NAMES = ["node1", "node2", "other"]


def trail_of(*happenings: tuple[What, int]) -> Trail:
    trail = Trail()
    for what, at_ns in happenings:
        trail = follow(trail, Happening("uuid", what, at_ns))
    return trail


@pytest.mark.parametrize(
    ("happenings", "text", "explains_ns"),
    [
        ([(What.PAUSED, 100), (What.RESUMED, 100 + 5 * SECOND)], "resumed after a pause", 5 * SECOND + SLACK_NS),
        ([(What.RESUMED, 5)], "resumed after a pause", DAY_NS),
        ([(What.STOPPED, 1), (What.REVERTED, 2), (What.REVERTED, 3)], "reverted to a snapshot", 60 * SECOND + SLACK_NS),
        ([(What.REVERTED, 1), (What.PAUSED, 2), (What.RESUMED, 9)], "reverted to a snapshot", 60 * SECOND + SLACK_NS),
        ([(What.STOPPED, 0), (What.RESTORED, 7 * SECOND)], "restored from a saved state", 7 * SECOND + SLACK_NS),
        ([(What.MIGRATED, 1)], "migrated", DAY_NS),
        ([(What.BOOTED, 1), (What.ANSWERS, 2)], "booted", DAY_NS),
        ([(What.ANSWERS, 2)], "its agent answers", DAY_NS),
    ],
)
def test_what_happens_is_a_cause_that_explains_so_much(
    happenings: list[tuple[What, int]], text: str, explains_ns: int
) -> None:
    found = cause(trail_of(*happenings), 60 * SECOND)
    assert (found.text, found.explains_ns) == (text, explains_ns)


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

    def __init__(self, clock: SimClock, folder: Path, hypervisor: SimHypervisor | None = None) -> None:
        self.hypervisor = hypervisor or SimHypervisor(clock, NAMES)
        self.clock = clock
        self.told: list[Episode] = []
        self.said: list[str] = []
        host, locks = HostClock(True, 1000), DomainLocks(clock)
        self.world = World(self.hypervisor, clock, host, locks, FileJournal(folder), lambda _node, text: self.say(text))
        self.listed: Sequence[Listed] = ()
        self.all: list[Episode] = []
        self.watcher = Watcher(self.world, Orders(lambda guest: guest.name != "other", Policy()), self)
        self.hypervisor.subscribe(self.watcher._inbox.put)
        self.sweep()

    def surveyed(self, listed: Sequence[Listed]) -> None:
        self.listed = listed

    def seen(self, episode: Episode, *, new: bool) -> None:
        self.all.append(episode)
        if new:
            self.told.append(episode)

    def alive(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def sweep(self) -> None:
        self.watcher.sweep(FOUND)
        self.take_in(lambda: not any(watched.busy for watched in self.watcher._watched.values()))

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
        self.take_in(lambda: not any(watched.busy for watched in self.watcher._watched.values()))
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
    assert (episode.node, episode.verdict, episode.cause.text) == ("node1", Verdict.GOOD, "reverted to a snapshot")
    assert episode.wrong_for_ns is not None
    assert len(watch.hypervisor.machines["node1"].steps) == 1


def test_a_revert_explains_no_more_than_the_snapshots_age(watch: Watch) -> None:
    guests = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    create(watch.world, guests, "base", Policy())
    before = list(watch.hypervisor.machines["node1"].steps)
    watch.put_behind("node1", 7200)
    watch.happens("node1", What.REVERTED)
    (episode,) = watch.settle(1)
    assert episode.verdict is Verdict.UNSURE
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
        until(lambda: watched.trail.due, 5)

    machine = watch.hypervisor.machines["node1"] = Waiting(watch.clock, at=at, happens=revert)
    watch.put_behind("node1", 3)
    watch.happens("node1", What.PAUSED, What.RESUMED)
    first, second = watch.settle(2)
    assert (first.cause.text, second.cause.text) == ("resumed after a pause", "reverted to a snapshot")
    assert (first.verdict, second.verdict) == (Verdict.GOOD, Verdict.GOOD)
    assert [step // SECOND for step in machine.steps] == [3, 3600]


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
    assert (watch.told[-1].verdict, watch.told[-1].cause.text) == (Verdict.GOOD, "reverted to a snapshot")


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


def test_a_guest_that_is_not_chosen_is_shown_once_and_never_touched(watch: Watch) -> None:
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
    watch.take_in(lambda: not any(watched.busy for watched in watch.watcher._watched.values()))
    watch.sweep()
    assert watch.told == []
    machine.running = True
    watch.clock.sleep_ns(5 * SECOND)
    watch.happens("node1", What.RESUMED)
    (episode,) = watch.settle(1)
    assert (episode.verdict, episode.cause.text) == (Verdict.GOOD, "reverted to a snapshot")


def test_a_guest_that_another_clockstep_holds_is_looked_at_when_it_is_free(watch: Watch) -> None:
    (held,) = [guest for guest in watch.hypervisor.guests() if guest.name == "node1"]
    watch.put_behind("node1", 30)
    with DomainLocks(watch.clock).hold([held], SECOND):
        watch.happens("node1", What.REVERTED)
        watch.take_in(lambda: watch.watcher._watched[held.key].trail.due)
        watch.sweep()
        assert watch.told == []
    watch.sweep()
    (episode,) = watch.told
    assert (episode.verdict, episode.cause.text) == (Verdict.GOOD, "reverted to a snapshot")


def test_a_clock_that_is_wrong_again_and_again_is_flagged_and_left_to_a_person(watch: Watch) -> None:
    for _ in range(OFTEN + 3):
        watch.put_behind("node1", 30)
        watch.sweep()
    assert len(watch.hypervisor.machines["node1"].steps) == OFTEN
    assert any("again and again" in finding.text for finding in watch.told[OFTEN - 1].findings)
    assert [episode.verdict for episode in watch.told[OFTEN:]] == [Verdict.BAD]
    watch.clock.sleep_ns(WINDOW_NS)
    watch.sweep()
    watch.sweep()
    assert len(watch.hypervisor.machines["node1"].steps) == OFTEN + 1


def test_a_node_that_does_not_answer_is_told_once_and_again_when_it_is_back(watch: Watch) -> None:
    machine = watch.hypervisor.machines["node1"]
    machine.deaf = True
    for _ in range(3):
        watch.sweep()
    assert [(episode.node, episode.verdict) for episode in watch.told] == [("node1", Verdict.UNREACHABLE)]
    machine.deaf = False
    watch.put_behind("node1", 30)
    watch.sweep()
    assert watch.told[-1].verdict is Verdict.GOOD


def test_when_the_host_wakes_everything_is_looked_at_and_the_sleep_explains_it(watch: Watch) -> None:
    assert watch.watcher.host_changed() is None
    watch.clock.slept += 3 * 86_400 * SECOND
    found = watch.watcher.host_changed()
    assert found is not None
    assert (found.text, found.explains_ns) == ("the host woke", 3 * 86_400 * SECOND + SLACK_NS)
    for name in NAMES:
        watch.put_behind(name, 3 * 86_400)
    watch.watcher.sweep(found)
    episodes = watch.settle(3)
    verdicts = {episode.node: episode.verdict for episode in episodes}
    assert (verdicts["node1"], verdicts["node2"]) == (Verdict.GOOD, Verdict.GOOD)
    assert watch.watcher.host_changed() is None


def test_a_host_whose_clock_is_set_is_said_aloud(watch: Watch) -> None:
    watch.clock.set_by(100 * SECOND)
    found = watch.watcher.host_changed()
    assert found is not None
    assert found.text == "the host's clock was set"
    assert any("own clock was set" in text for text in watch.said)
    assert watch.watcher.host_changed() is None


def test_it_runs_until_it_is_over(watch: Watch) -> None:
    over = threading.Event()
    watch.put_behind("node1", 60)
    running = threading.Thread(target=watch.watcher.run, args=(SECOND, over))
    running.start()
    until(lambda: bool(watch.told), 10)
    over.set()
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
