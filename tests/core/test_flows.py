"""Many nodes together: in one barrier, and with nothing left half done."""

import threading

import pytest

from clockstep.errors import ClockstepError, DeadlineError, HypervisorError, ReachError, UsageError
from clockstep.fleet import side_by_side
from clockstep.flows.revert import members_of, revert
from clockstep.flows.snapshot import create, listing
from clockstep.flows.step import ASKED, status, step
from clockstep.locks import DomainLocks
from clockstep.model import Guest, HostClock, Offset, Outcome, Policy, Snapshot, Verdict
from clockstep.ports import World
from clockstep.reach.agent import AgentReach
from core.simulation import MILLISECOND, SECOND, SimClock, SimHypervisor

NAMES = ["node1", "node2", "node3"]


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def hypervisor(clock: SimClock) -> SimHypervisor:
    return SimHypervisor(clock, NAMES)


@pytest.fixture
def world(hypervisor: SimHypervisor, clock: SimClock) -> World:
    return World(hypervisor, clock, HostClock(True, 1000), DomainLocks(clock), lambda _node, _text: None)


def running(hypervisor: SimHypervisor) -> list[bool]:
    return [hypervisor.machines[name].running for name in NAMES]


def taken(world: World, name: str = "base") -> None:
    assert create(world, world.hypervisor.guests(), name, Policy()).complete


def test_a_snapshot_leaves_every_clock_right_although_it_pauses(world: World, hypervisor: SimHypervisor) -> None:
    report = create(world, hypervisor.guests(), "base", Policy())
    assert [member.outcome for member in report.members] == [Outcome.TAKEN] * 3
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    assert all(episode.actions for episode in report.episodes)
    assert report.pause_spread_ns is not None
    assert running(hypervisor) == [True] * 3


def test_nothing_is_resumed_before_every_snapshot_is_taken(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    operations = [operation for operation, _ in hypervisor.calls]
    assert operations == ["pause"] * 3 + ["snapshot"] * 3 + ["resume"] * 3


def test_when_one_snapshot_fails_none_remains_and_all_run_on(world: World, hypervisor: SimHypervisor) -> None:
    hypervisor.broken = {("snapshot", "node2")}
    report = create(world, hypervisor.guests(), "base", Policy())
    assert not report.complete
    assert [member.node for member in report.members if member.trouble] == ["node2"]
    assert hypervisor.taken == {name: {} for name in NAMES}
    assert running(hypervisor) == [True] * 3


def test_when_one_pause_fails_no_snapshot_is_taken_and_all_run_on(world: World, hypervisor: SimHypervisor) -> None:
    hypervisor.broken = {("pause", "node2")}
    report = create(world, hypervisor.guests(), "base", Policy())
    assert not report.complete
    assert ("snapshot", "node1") not in hypervisor.calls
    assert running(hypervisor) == [True] * 3


def test_whatever_interrupts_a_snapshot_all_run_on(world: World, hypervisor: SimHypervisor) -> None:
    class Interrupting(SimHypervisor):
        def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
            raise KeyboardInterrupt

    interrupting = Interrupting(hypervisor.clock, NAMES)
    with pytest.raises(KeyboardInterrupt):
        create(world._replace(hypervisor=interrupting), interrupting.guests(), "base", Policy())
    assert running(interrupting) == [True] * 3


def test_a_guest_that_does_not_run_is_refused_before_anything_is_touched(
    world: World, hypervisor: SimHypervisor
) -> None:
    hypervisor.pause(hypervisor.guests()[1])
    hypervisor.calls.clear()
    with pytest.raises(UsageError, match="node2 is paused"):
        create(world, hypervisor.guests(), "base", Policy())
    assert hypervisor.calls == []
    assert running(hypervisor) == [True, False, True]


def test_a_snapshot_name_that_exists_is_refused(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    with pytest.raises(UsageError, match="node1 has a snapshot 'base' already"):
        create(world, hypervisor.guests(), "base", Policy())


def test_a_revert_ends_with_every_clock_right_and_knows_how_wrong_they_were(
    world: World, hypervisor: SimHypervisor, clock: SimClock
) -> None:
    taken(world)
    clock.sleep_ns(3600 * SECOND)
    report = revert(world, hypervisor.guests(), "base", Policy())
    assert report.complete
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    for episode in report.episodes:
        assert episode.before is not None
        assert episode.before.surely_beyond(3600 * SECOND)
        assert episode.cause.text == "reverted to snapshot base"
        assert episode.wrong_for_ns is not None
    assert all(abs(machine.offset_ns) < MILLISECOND for machine in hypervisor.machines.values())


def test_a_revert_further_back_than_a_day_is_explained_by_the_snapshots_age(
    world: World, hypervisor: SimHypervisor, clock: SimClock
) -> None:
    taken(world)
    clock.sleep_ns(30 * 86_400 * SECOND)
    report = revert(world, hypervisor.guests(), "base", Policy())
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3


def test_when_one_cannot_be_reverted_none_is_resumed(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("revert", "node2")}
    hypervisor.calls.clear()
    report = revert(world, hypervisor.guests(), "base", Policy())
    assert not report.complete
    assert [member.outcome for member in report.members] == [Outcome.HELD, Outcome.NOT_REVERTED, Outcome.HELD]
    assert "resume" not in [operation for operation, _ in hypervisor.calls]
    assert running(hypervisor) == [False, True, False]


def test_a_member_without_the_snapshot_stops_a_revert_before_anything_is_touched(
    world: World, hypervisor: SimHypervisor
) -> None:
    taken(world)
    del hypervisor.taken["node2"]["base"]
    hypervisor.calls.clear()
    with pytest.raises(UsageError, match=r"no snapshot 'base': node2"):
        revert(world, members_of("base", hypervisor), "base", Policy())
    assert hypervisor.calls == []


def test_snapshots_that_were_not_taken_together_are_not_reverted_together(
    world: World, hypervisor: SimHypervisor
) -> None:
    for guest in hypervisor.guests():
        create(world, [guest], "base", Policy())
    with pytest.raises(UsageError, match="not taken together"):
        revert(world, hypervisor.guests(), "base", Policy())


def test_one_that_cannot_be_resumed_does_not_delay_the_others(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("resume", "node2")}
    report = revert(world, hypervisor.guests(), "base", Policy())
    verdicts = [episode.verdict for episode in report.episodes]
    assert verdicts == [Verdict.GOOD, Verdict.UNREACHABLE, Verdict.GOOD]


def test_the_list_shows_what_belongs_together_and_what_lacks(world: World, hypervisor: SimHypervisor) -> None:
    taken(world, "whole")
    taken(world, "torn")
    del hypervisor.taken["node3"]["torn"]
    hypervisor.taken["node1"]["theirs"] = (Snapshot("theirs", 5), 5)
    sets = {one.name: one for one in listing(hypervisor).snapshots}
    assert sets["whole"].complete
    assert not sets["torn"].complete
    assert sets["torn"].members == tuple(NAMES)
    assert (sets["theirs"].set_id, sets["theirs"].members) == (None, ("node1",))


def test_one_sick_node_never_costs_the_others(world: World, hypervisor: SimHypervisor) -> None:
    hypervisor.machines["node2"].running = False
    for name in NAMES:
        hypervisor.machines[name].offset_ns = -60 * SECOND
    episodes = step(world, dict.fromkeys(hypervisor.guests(), ASKED), Policy())
    assert [episode.node for episode in episodes] == NAMES
    assert [episode.verdict for episode in episodes] == [Verdict.GOOD, Verdict.UNREACHABLE, Verdict.GOOD]


def test_status_lists_every_node(world: World, hypervisor: SimHypervisor) -> None:
    assert [episode.node for episode in status(world, hypervisor.guests(), Policy())] == NAMES


def test_a_job_that_hangs_is_left_behind_and_named() -> None:
    forever = threading.Event()
    guests = [Guest("quick", "1", "running"), Guest("stuck", "2", "running")]

    def job(guest: Guest) -> str:
        if guest.name == "stuck":
            forever.wait()
        return "done"

    results = side_by_side(guests, job, SECOND // 5)
    forever.set()
    assert results["quick"] == "done"
    assert isinstance(results["stuck"], DeadlineError)


def test_an_error_of_one_job_is_its_result() -> None:
    def job(_guest: Guest) -> str:
        raise HypervisorError("no")

    results = side_by_side([Guest("one", "1", "running")], job, SECOND)
    assert isinstance(results["one"], ClockstepError)


def test_a_bug_in_a_job_is_raised_and_not_taken_for_a_sick_node() -> None:
    def job(_guest: Guest) -> str:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        side_by_side([Guest("one", "1", "running")], job, SECOND)


class Connections(SimHypervisor):
    """Guests that are reached by something that stays open; one of them hangs until that is closed."""

    def __init__(self, clock: SimClock, hanging: str = "") -> None:
        super().__init__(clock, NAMES)
        self.hanging = hanging
        self.opened_on: list[bool] = []
        self.closed: set[str] = set()

    def reach(self, guest: Guest) -> AgentReach:
        hypervisor = self
        closed = threading.Event()
        self.opened_on.append(self.machines[guest.name].running)

        class Connection(AgentReach):
            def clock(self) -> Offset:
                if guest.name != hypervisor.hanging:
                    return super().clock()
                closed.wait()
                raise ReachError("the connection was closed", lasting=True)

            def close(self) -> None:
                hypervisor.closed.add(guest.name)
                closed.set()

        return Connection(self.machines[guest.name], self.clock)


def test_every_way_is_closed_in_the_end_under_a_node_that_hangs_too(world: World, clock: SimClock) -> None:
    hypervisor = Connections(clock, hanging="node2")
    policy = Policy(deadline_ns=500 * MILLISECOND)
    episodes = status(world._replace(hypervisor=hypervisor), hypervisor.guests(), policy)
    assert [episode.verdict for episode in episodes if episode.node == "node2"] == [Verdict.UNREACHABLE]
    assert hypervisor.closed == set(NAMES)


def test_after_a_revert_nothing_is_opened_before_the_guest_runs_on(world: World, clock: SimClock) -> None:
    hypervisor = Connections(clock)
    reverted = world._replace(hypervisor=hypervisor)
    taken(reverted)
    assert revert(reverted, hypervisor.guests(), "base", Policy()).complete
    assert hypervisor.opened_on == [True] * 6
