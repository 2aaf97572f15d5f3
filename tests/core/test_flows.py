"""Many nodes together: in one barrier, and with nothing left half done."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from clockstep.core.targets import Scope
from clockstep.errors import (
    ClockstepError,
    DeadlineError,
    HypervisorError,
    InternalError,
    JournalError,
    LostConnectionError,
    ReachError,
    UsageError,
)
from clockstep.flows import revert as reverts
from clockstep.flows.hold import Hold
from clockstep.flows.pause import pause, resume
from clockstep.flows.revert import choose
from clockstep.flows.sets import having, listing, outcomes
from clockstep.flows.snapshot import create, delete
from clockstep.flows.step import ASKED, Pass, nodes, status, step
from clockstep.host.locks import DomainLocks
from clockstep.loop.fleet import AT_ONCE, side_by_side
from clockstep.loop.prove import prove
from clockstep.loop.settle import settle
from clockstep.model import Episode, Guest, Outcome, Pause, Policy, Reading, SetReport, Snapshot, Verdict
from clockstep.ports import Hypervisor, World
from clockstep.reach.agent import AgentReach
from clockstep.state.journal import FileJournal
from conftest import until
from core.simulation import MILLISECOND, SECOND, SimClock, SimHypervisor

NAMES = ["node1", "node2", "node3"]


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def hypervisor(clock: SimClock) -> SimHypervisor:
    return SimHypervisor(clock, NAMES)


@pytest.fixture
def world(hypervisor: SimHypervisor, clock: SimClock, tmp_path: Path) -> World:
    journal = FileJournal(tmp_path)
    return World(hypervisor, clock, clock, DomainLocks(clock), journal, lambda _node, _text: None)


def running(hypervisor: SimHypervisor) -> list[bool]:
    return [hypervisor.machines[name].running for name in NAMES]


def revert(world: World, guests: Sequence[Guest] | None = None, name: str | None = "base") -> SetReport:
    return reverts.revert(world, choose(world.hypervisor, Scope(tuple(guests or ())), name), Policy())


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
    report = revert(world)
    assert report.complete
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    for episode in report.episodes:
        assert episode.before is not None
        assert episode.before.surely_beyond(3600 * SECOND)
        assert (episode.cause.kind, episode.cause.detail) == ("reverted", "base")
        assert episode.wrong_for_ns is not None
    assert all(abs(machine.offset_ns) < MILLISECOND for machine in hypervisor.machines.values())


def test_a_revert_further_back_than_a_day_is_explained_by_the_snapshots_age(
    world: World, hypervisor: SimHypervisor, clock: SimClock
) -> None:
    taken(world)
    clock.sleep_ns(30 * 86_400 * SECOND)
    report = revert(world)
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3


def test_when_one_cannot_be_reverted_none_is_resumed(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("revert", "node2")}
    hypervisor.calls.clear()
    report = revert(world)
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
        revert(world)
    assert hypervisor.calls == []


def test_snapshots_that_were_not_taken_together_are_not_reverted_together(
    world: World, hypervisor: SimHypervisor
) -> None:
    for guest in hypervisor.guests():
        create(world, [guest], "base", Policy())
    with pytest.raises(UsageError, match="not taken together"):
        revert(world)


def test_one_that_cannot_be_resumed_does_not_delay_the_others(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("resume", "node2")}
    report = revert(world)
    verdicts = [episode.verdict for episode in report.episodes]
    assert verdicts == [Verdict.GOOD, Verdict.UNREACHABLE, Verdict.GOOD]


class Slow(SimHypervisor):
    """Resumes one guest only after a while, or only when it is asked to again."""

    def __init__(self, clock: SimClock, name: str, takes_ns: int = 0, refusals: int = 0) -> None:
        super().__init__(clock, NAMES)
        self.name, self.takes_ns, self.refusals = name, takes_ns, refusals

    def resume(self, guest: Guest) -> None:
        if guest.name == self.name:
            self.clock.sleep_ns(self.takes_ns)
            if self.refusals:
                self.refusals -= 1
                raise LostConnectionError("libvirtd is away")
        super().resume(guest)


@pytest.mark.parametrize("work", ["snapshot", "revert", "resume"])
def test_one_that_is_only_resumed_late_is_corrected_too(world: World, clock: SimClock, work: str) -> None:
    slow = Slow(clock, "node2")
    world = world._replace(hypervisor=slow)
    taken(world)
    slow.refusals = 1
    if work == "snapshot":
        report = create(world, slow.guests(), "other", Policy())
    elif work == "revert":
        report = revert(world)
    else:
        assert pause(world, slow.guests(), Policy()).complete
        clock.sleep_ns(60 * SECOND)
        report = resume(world, slow.guests(), Policy(), mixed=False)
    assert report.complete
    assert [(e.node, e.verdict, len(e.actions)) for e in report.episodes] == [(n, Verdict.GOOD, 2) for n in NAMES]
    assert all(abs(machine.offset_ns) < MILLISECOND for machine in slow.machines.values())


def test_one_that_is_resumed_minutes_late_is_explained_by_that(world: World, clock: SimClock) -> None:
    slow = Slow(clock, "node1", takes_ns=75 * SECOND)
    world = world._replace(hypervisor=slow)
    (guest, *_) = slow.guests()
    assert create(world, [guest], "base", Policy()).complete
    slow.refusals = 1
    report = reverts.revert(world, choose(slow, Scope((guest,)), "base"), Policy())
    assert [(e.verdict, len(e.actions)) for e in report.episodes] == [(Verdict.GOOD, 2)]


def test_one_that_was_left_behind_is_not_corrected_by_two_at_once(
    world: World, hypervisor: SimHypervisor, clock: SimClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clockstep.flows.step.GRACE_NS", 0)
    hypervisor.machines["node1"].offset_ns = -60 * SECOND
    (guest, *_), go_on, begun = hypervisor.guests(), threading.Event(), threading.Event()

    def correct(guest: Guest, work: Pass) -> Episode:
        assert go_on.wait(20)
        begun.set()
        run = work.begin(guest, clock.monotonic_ns())
        prove(run)
        return settle(run)

    with nodes(world, [guest]) as node:
        (episode,) = Pass(world, {guest: ASKED}, Policy(deadline_ns=100 * MILLISECOND), node).each(correct)
    assert episode.verdict is Verdict.UNREACHABLE
    go_on.set()
    assert begun.wait(20)
    until(lambda: not any(thread.name == "node1" for thread in threading.enumerate()), 20)
    assert hypervisor.machines["node1"].steps == []


def test_a_resume_that_takes_long_takes_nothing_from_the_time_for_the_clock(world: World, clock: SimClock) -> None:
    slow = Slow(clock, "node1", takes_ns=25 * SECOND)
    world = world._replace(hypervisor=slow)
    (guest, *_) = slow.guests()
    assert create(world, [guest], "base", Policy(deadline_ns=10 * SECOND)).complete
    report = reverts.revert(world, choose(slow, Scope((guest,)), "base"), Policy(deadline_ns=10 * SECOND))
    assert [(e.verdict, len(e.actions)) for e in report.episodes] == [(Verdict.GOOD, 2)]


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
    assert results[guests[0]] == "done"
    assert isinstance(results[guests[1]], DeadlineError)


class Twins:
    """Machines that can be paused, but for those of one connection."""

    def pause(self, guest: Guest) -> None:
        if guest.connection == "there":
            raise HypervisorError("no")


def test_two_machines_of_one_name_do_not_stand_for_each_other(world: World) -> None:
    here, there = (Guest("web", str(uuid4()), "running", connection) for connection in ("here", "there"))
    hold = Hold(world._replace(hypervisor=cast("Hypervisor", Twins())), [here, there], "pause")
    failed = hold.pause_all()
    assert list(failed) == [there]
    assert hold.still() == [here]
    members = outcomes([here, there], failed, Outcome.NOT_PAUSED, Outcome.PAUSED)
    assert [member.outcome for member in members] == [Outcome.PAUSED, Outcome.NOT_PAUSED]


def test_few_of_many_jobs_are_under_way_at_once() -> None:
    under_way, most = set[Guest](), 0

    def job(guest: Guest) -> None:
        nonlocal most
        under_way.add(guest)
        most = max(most, len(under_way))
        time.sleep(0.001)
        under_way.discard(guest)

    guests = [Guest(str(number), str(number), "running") for number in range(5 * AT_ONCE)]
    assert list(side_by_side(guests, job, 20 * SECOND)) == guests
    assert most <= 2 * AT_ONCE


def test_however_many_jobs_hang_the_others_are_done_and_all_are_named() -> None:
    forever = threading.Event()
    guests = [Guest(str(number), str(number), "running") for number in range(5 * AT_ONCE)]

    def job(guest: Guest) -> str:
        if int(guest.uuid) < 3 * AT_ONCE:
            forever.wait()
        return "done"

    results = side_by_side(guests, job, SECOND)
    forever.set()
    assert [guest for guest, result in results.items() if result == "done"] == guests[3 * AT_ONCE :]
    assert all(isinstance(results[guest], DeadlineError) for guest in guests[: 3 * AT_ONCE])


def test_it_is_told_how_many_are_done_while_others_are_not(world: World, hypervisor: SimHypervisor) -> None:
    told: list[str] = []
    world = world._replace(tell=lambda node, text: None if node else told.append(text))
    taken(world)
    revert(world)
    counts = [text for text in told if " of 3 " in text]
    for what in ("taken", "nodes done", "reverted", "nodes done"):
        assert [counts.pop(0), counts.pop(0)] == [f"1 of 3 {what}", f"2 of 3 {what}"]
    assert counts == []


def test_an_error_of_one_job_is_its_result() -> None:
    def job(_guest: Guest) -> str:
        raise HypervisorError("no")

    one = Guest("one", "1", "running")
    assert isinstance(side_by_side([one], job, SECOND)[one], ClockstepError)


def test_a_bug_in_the_work_on_one_node_is_its_result_and_costs_the_others_nothing() -> None:
    def job(guest: Guest) -> str:
        if guest.name == "one":
            raise KeyError("oops")
        return "done"

    one, two = Guest("one", "1", "running"), Guest("two", "2", "running")
    results = side_by_side([one, two], job, SECOND)
    assert results[two] == "done"
    failed = results[one]
    assert isinstance(failed, InternalError)
    assert failed.message == "internal error: KeyError: 'oops'"


def test_two_machines_of_one_name_are_two_results() -> None:
    twins = [Guest("web", "1", "running", "here"), Guest("web", "1", "running", "there")]
    assert list(side_by_side(twins, lambda guest: guest.connection, SECOND).values()) == ["here", "there"]


def test_an_interrupt_in_a_job_is_raised() -> None:
    def job(_guest: Guest) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([Guest("one", "1", "running")], job, SECOND)


@pytest.mark.parametrize("number", ["inf", "nan", "-inf", "1e999999999", "1e5000", "9" * 5000])
def test_a_node_with_a_special_number_ends_no_run(world: World, hypervisor: SimHypervisor, number: str) -> None:
    hypervisor.machines["node2"].tracking = f"0,,0,0.0,{number},0.0,0.0,0.0,0.0,0.0,{number},{number},2.0,Normal\n"
    episodes = {episode.node: episode for episode in status(world, hypervisor.guests(), Policy())}
    assert {name: episode.verdict for name, episode in episodes.items()} == dict.fromkeys(NAMES, Verdict.GOOD)
    assert episodes["node1"].facts.claim is not None
    assert episodes["node2"].facts.claim is None


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
            def clock(self, within_ns: int | None = None) -> Reading:
                if guest.name != hypervisor.hanging:
                    return super().clock(within_ns)
                closed.wait()
                raise ReachError("the connection was closed", lasting=True)

            def close(self) -> None:
                hypervisor.closed.add(guest.name)
                closed.set()

        return Connection(self.machines[guest.name], self.clock, self.clock)


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
    assert revert(reverted).complete
    assert hypervisor.opened_on == [True] * 6  # once for the snapshot, over its pause, and once after the revert


def test_the_newest_set_is_taken_where_no_snapshot_is_named(world: World, hypervisor: SimHypervisor) -> None:
    for name in ("old", "new"):
        taken(world, name)
    hypervisor.taken["node1"]["theirs"] = (Snapshot("theirs", 2**62), 5)
    assert choose(hypervisor, Scope(), None).name == "new"
    assert set(choose(hypervisor, Scope(), "old").snapshots) == set(hypervisor.guests())


def test_a_machine_whose_snapshots_cannot_be_listed_stops_only_what_it_is_part_of(
    world: World, hypervisor: SimHypervisor
) -> None:
    guests = hypervisor.guests()
    create(world, guests[:2], "base", Policy())
    hypervisor.broken = {("snapshots", "node3")}
    chosen = choose(hypervisor, Scope(), "base")
    assert set(chosen.snapshots) == set(guests[:2])
    assert any("node3: its snapshots cannot be listed" in said for said in chosen.remarks)
    assert choose(hypervisor, Scope(named=tuple(guests[:2])), "base").remarks == ()
    hypervisor.broken = {("snapshots", "node2")}
    with pytest.raises(UsageError, match=r"no snapshot 'base': node2; node2: its snapshots cannot be listed"):
        choose(hypervisor, Scope(), "base")


def test_where_frozen_workloads_are_required_a_snapshot_of_running_ones_is_refused(
    world: World, hypervisor: SimHypervisor
) -> None:
    taken(world)
    assert choose(hypervisor, Scope(), "base").remarks == ()
    with pytest.raises(ClockstepError, match="node1: its workloads were not frozen for this snapshot") as caught:
        choose(hypervisor, Scope(), "base", require_frozen=True)
    assert not isinstance(caught.value, UsageError)
    assert "nothing was changed" in caught.value.hint
    assert all(running(hypervisor))
    for name in NAMES:
        snapshot, at_ns = hypervisor.taken[name]["base"]
        hypervisor.taken[name]["base"] = (replace(snapshot, frozen=("kubepods.slice",)), at_ns)
    assert choose(hypervisor, Scope(), "base", require_frozen=True).remarks == ()


def test_nothing_but_other_tools_snapshots_is_no_newest_set(hypervisor: SimHypervisor) -> None:
    hypervisor.taken["node1"]["theirs"] = (Snapshot("theirs", 5), 5)
    with pytest.raises(UsageError, match="no snapshot was taken by clockstep"):
        choose(hypervisor, Scope(), None)


def test_snapshots_of_another_tool_are_reverted_with_a_word_when_their_times_are_far_apart(
    world: World, hypervisor: SimHypervisor, clock: SimClock
) -> None:
    for number, name in enumerate(NAMES):
        created = clock.real - (300 - 50 * number) * SECOND
        hypervisor.taken[name]["theirs"] = (Snapshot("theirs", created, memory=number > 0), created)
    targets = choose(hypervisor, Scope(named=tuple(hypervisor.guests())), "theirs")
    assert [remark.partition(":")[0] for remark in targets.remarks] == [
        "node1",
        "the snapshots were taken 1 min 40 s apart",
    ]
    report = reverts.revert(world, targets, Policy())
    assert report.remarks == targets.remarks
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3


@pytest.mark.parametrize("work", ["create", "revert"])
def test_a_guest_that_cannot_take_part_is_refused_with_the_reason_before_anything_is_touched(
    world: World, hypervisor: SimHypervisor, work: str
) -> None:
    taken(world)
    hypervisor.unfit = {"node2": ["its disk vda is raw"], "node3": ["it boots by UEFI flash"]}
    hypervisor.calls.clear()
    with pytest.raises(UsageError, match="node2: its disk vda is raw; node3: it boots by UEFI flash"):
        revert(world) if work == "revert" else create(world, hypervisor.guests(), "next", Policy())
    assert hypervisor.calls == []


@pytest.mark.parametrize(
    "name", ["", " x", "a/b", ".hidden", "-x", "tab\t", "new\nline", "x" * 201, "ü" * 101, 'a"b', "a\\b"]
)
def test_a_name_that_nothing_can_keep_is_refused_before_anything_is_touched(
    world: World, hypervisor: SimHypervisor, name: str
) -> None:
    with pytest.raises(UsageError):
        create(world, hypervisor.guests(), name, Policy())
    assert hypervisor.calls == []


class Killed(BaseException):
    """Stands for SIGKILL: whatever runs on after it does so without this machine's help."""


class Dying(SimHypervisor):
    """A hypervisor under which the process dies just before an operation on one guest, and says no more."""

    def __init__(self, clock: SimClock, operation: str, guest: str) -> None:
        super().__init__(clock, NAMES)
        self.fatal: tuple[str, str] | None = (operation, guest)
        self.dead = False

    def _begin(self, operation: str, guest: Guest) -> None:
        if self.dead or self.fatal == (operation, guest.name):
            self.dead = True
            raise Killed
        super()._begin(operation, guest)

    def revive(self) -> None:
        self.dead, self.fatal = False, None


@pytest.mark.parametrize("guest", NAMES)
@pytest.mark.parametrize("operation", ["pause", "snapshot", "resume"])
def test_a_snapshot_that_was_killed_is_brought_to_its_end_by_the_same_command(
    world: World, clock: SimClock, operation: str, guest: str
) -> None:
    dying = Dying(clock, operation, guest)
    world = world._replace(hypervisor=dying)
    with pytest.raises(Killed):
        create(world, dying.guests(), "base", Policy())
    dying.revive()
    clock.sleep_ns(600 * SECOND)
    if not all(running(dying)):
        episodes = status(world, dying.guests(), Policy())
        paused = [e for e in episodes if not dying.machines[e.node].running]
        assert all("paused by clockstep at" in e.facts.trouble[0].text for e in paused)
    if operation == "resume":  # all have it: only the rest is to run on
        left = [one for one in dying.guests() if one.state == "paused"]
        assert resume(world, left, Policy(), mixed=False).complete
    else:
        assert create(world, dying.guests(), "base", Policy()).complete
    assert running(dying) == [True] * 3
    assert world.journal.pauses() == {}
    (one,) = listing(dying).snapshots
    assert one.complete
    assert all(abs(machine.offset_ns) < MILLISECOND for machine in dying.machines.values() if operation != "resume")


@pytest.mark.parametrize("guest", NAMES)
@pytest.mark.parametrize("operation", ["revert", "resume"])
def test_a_revert_that_was_killed_is_made_again_by_the_same_command(
    world: World, clock: SimClock, operation: str, guest: str
) -> None:
    dying = Dying(clock, "", "")
    world = world._replace(hypervisor=dying)
    taken(world)
    dying.fatal = (operation, guest)
    with pytest.raises(Killed):
        revert(world)
    dying.revive()
    clock.sleep_ns(600 * SECOND)
    report = revert(world)
    assert report.complete
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    assert world.journal.pauses() == {}


def test_members_with_different_pasts_are_resumed_only_where_that_is_said(
    world: World, hypervisor: SimHypervisor
) -> None:
    taken(world)
    hypervisor.broken = {("revert", "node2")}
    assert not revert(world).complete
    left = [guest for guest in hypervisor.guests() if guest.state == "paused"]
    assert [guest.name for guest in left] == ["node1", "node3"]
    with pytest.raises(UsageError, match="different pasts"):
        resume(world, left, Policy(), mixed=False)
    assert running(hypervisor) == [False, True, False]
    report = resume(world, left, Policy(), mixed=True)
    assert [member.outcome for member in report.members] == [Outcome.RESUMED] * 2
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 2
    assert running(hypervisor) == [True] * 3


def test_an_interrupted_revert_lets_all_run_on_once_all_are_back(world: World, clock: SimClock) -> None:
    class Interrupted(SimHypervisor):
        interrupted = False

        def revert(self, guest: Guest, name: str) -> None:
            if guest.name == "node2" and not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            super().revert(guest, name)

    hypervisor = Interrupted(clock, NAMES)
    world = world._replace(hypervisor=hypervisor)
    taken(world)
    with pytest.raises(KeyboardInterrupt):
        revert(world)
    assert running(hypervisor) == [True] * 3
    assert world.journal.pauses() == {}
    assert [guest for operation, guest in hypervisor.calls if operation == "revert"].count("node1") == 1


def test_what_is_paused_by_clockstep_is_resumed_by_it_and_brought_right(
    world: World, hypervisor: SimHypervisor, clock: SimClock
) -> None:
    report = pause(world, hypervisor.guests(), Policy())
    assert [member.outcome for member in report.members] == [Outcome.PAUSED] * 3
    assert report.pause_spread_ns is not None
    clock.sleep_ns(3 * 86_400 * SECOND)
    report = resume(world, hypervisor.guests(), Policy(), mixed=False)
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    assert world.journal.pauses() == {}


def test_what_others_have_paused_is_neither_paused_nor_resumed(world: World, hypervisor: SimHypervisor) -> None:
    hypervisor.pause(hypervisor.guests()[1])
    hypervisor.calls.clear()
    with pytest.raises(UsageError, match="node2 is paused, and not by clockstep"):
        pause(world, hypervisor.guests(), Policy())
    with pytest.raises(UsageError, match="node2 is paused, and not by clockstep"):
        resume(world, [hypervisor.guests()[1]], Policy(), mixed=False)
    assert hypervisor.calls == []


def test_what_an_io_error_has_paused_is_refused(world: World, hypervisor: SimHypervisor) -> None:
    pause(world, hypervisor.guests()[:1], Policy())
    hypervisor.machines["node1"].stuck = "an I/O error"
    with pytest.raises(UsageError, match="paused by its hypervisor"):
        resume(world, hypervisor.guests()[:1], Policy(), mixed=False)


def test_what_was_listed_before_another_had_its_turn_is_looked_at_again(
    world: World, hypervisor: SimHypervisor
) -> None:
    taken(world)
    listed = hypervisor.guests()
    hypervisor.broken = {("revert", "node3")}
    assert not revert(world).complete
    with pytest.raises(UsageError, match="node1 is paused by clockstep already"):
        create(world, listed, "next", Policy())
    with pytest.raises(UsageError, match="node1 is paused by clockstep already"):
        pause(world, listed, Policy())
    assert running(hypervisor) == [False, False, True]


def test_a_snapshot_that_changed_since_it_was_chosen_is_not_reverted_to(
    world: World, hypervisor: SimHypervisor
) -> None:
    taken(world)
    chosen = choose(hypervisor, Scope(), "base")
    del hypervisor.taken["node2"]["base"]
    hypervisor.calls.clear()
    with pytest.raises(UsageError, match="snapshot of node2 has changed"):
        reverts.revert(world, chosen, Policy())
    assert hypervisor.calls == []


@pytest.mark.parametrize("happened", [True, False])
def test_a_pause_whose_connection_breaks_is_undone_whether_or_not_it_happened(
    world: World, clock: SimClock, happened: bool
) -> None:
    class Breaking(SimHypervisor):
        def pause(self, guest: Guest) -> None:
            if happened or guest.name != "node2":
                super().pause(guest)
            if guest.name == "node2":
                raise LostConnectionError("client socket is closed")

    hypervisor = Breaking(clock, NAMES)
    report = create(world._replace(hypervisor=hypervisor), hypervisor.guests(), "base", Policy())
    assert not report.complete
    assert running(hypervisor) == [True] * 3
    assert world.journal.pauses() == {}


def test_a_revert_that_fails_leaves_the_note_of_an_earlier_pause(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    pause(world, hypervisor.guests(), Policy())
    hypervisor.broken = {("revert", "node1")}
    assert not revert(world).complete
    notes = {pause.node: pause.operation for pause in world.journal.pauses().values()}
    assert notes == {"node1": "pause", "node2": "revert", "node3": "revert"}


def test_a_guest_that_cannot_be_resumed_makes_a_revert_incomplete(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("resume", "node2")}
    report = revert(world)
    assert not report.complete
    assert [member.outcome for member in report.members] == [Outcome.REVERTED, Outcome.HELD, Outcome.REVERTED]
    hypervisor.broken = set()
    left = [guest for guest in hypervisor.guests() if guest.state == "paused"]
    assert resume(world, left, Policy(), mixed=False).complete


def test_all_run_on_also_where_it_cannot_be_written_down_that_all_were_put_back(
    world: World, hypervisor: SimHypervisor, tmp_path: Path
) -> None:
    class Full(FileJournal):
        def note(self, pause: Pause) -> None:
            if pause.operation == "revert" and pause.released:
                raise JournalError("no space left on device")
            super().note(pause)

    taken(world)
    assert revert(world._replace(journal=Full(tmp_path))).complete
    assert running(hypervisor) == [True] * 3


def test_a_pause_that_is_interrupted_leaves_none_paused(world: World, clock: SimClock) -> None:
    class Interrupting(SimHypervisor):
        def pause(self, guest: Guest) -> None:
            super().pause(guest)
            if guest.name == "node2":
                raise KeyboardInterrupt

    hypervisor = Interrupting(clock, ["node1", "node3", "node2"])
    with pytest.raises(KeyboardInterrupt):
        pause(world._replace(hypervisor=hypervisor), hypervisor.guests(), Policy())
    states = [hypervisor.machines[name].running for name in ("node1", "node3")]
    assert states == [True, True]


def test_a_set_of_other_guests_that_was_not_ended_is_not_touched_by_the_way(world: World, clock: SimClock) -> None:
    dying = Dying(clock, "snapshot", "node2")
    world = world._replace(hypervisor=dying)
    with pytest.raises(Killed):
        create(world, dying.guests(), "base", Policy())
    dying.revive()
    before = running(dying)
    with pytest.raises(UsageError, match="interrupted, of node1, node2, node3"):
        create(world, dying.guests()[:2], "base", Policy())
    assert running(dying) == before


def test_where_a_pause_cannot_be_written_down_nothing_is_paused(
    world: World, hypervisor: SimHypervisor, tmp_path: Path
) -> None:
    (tmp_path / "paused").write_text("in the way")
    report = create(world, hypervisor.guests(), "base", Policy())
    assert not report.complete
    assert "cannot be written" in str(report.members[0].trouble)
    assert "pause" not in [operation for operation, _ in hypervisor.calls]
    assert running(hypervisor) == [True] * 3


def test_a_snapshot_is_deleted_wherever_it_is(world: World, hypervisor: SimHypervisor) -> None:
    taken(world)
    hypervisor.broken = {("forget", "node2")}
    report = delete(world, having(hypervisor, Scope(), "base"), Policy())
    outcomes = [member.outcome for member in report.members]
    assert outcomes == [Outcome.DELETED, Outcome.NOT_DELETED, Outcome.DELETED]
    assert [one.present for one in listing(hypervisor).snapshots] == [("node2",)]
    with pytest.raises(UsageError, match="no node has a snapshot 'none'"):
        having(hypervisor, Scope(), "none")
