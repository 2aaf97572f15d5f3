"""The watcher's table under whatever order of events: nothing is lost, nothing is made up, one work at a time."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.events import (
    FOUND,
    SAME_NS,
    SILENCE_NS,
    Done,
    State,
    Turn,
    View,
    Work,
    ended,
    happened,
    listed,
    migrated,
    swept,
)
from clockstep.core.plan import SLACK_NS
from clockstep.core.trail import OFTEN, Trail, cause, follow, merged
from clockstep.model import Cause, Episode, Facts, Guest, Happening, Offset, Step, Verdict, What
from clockstep.units import DAY_NS, SECOND_NS

GUEST = Guest("node1", "u1", "running")
MOVES = {What.REVERTED, What.RESTORED, What.MIGRATED, What.BOOTED, What.RESUMED}
HALTS = {What.PAUSED, What.STOPPED}
TOLD = (*MOVES, *HALTS, What.ANSWERS)
"""What a hypervisor tells; the rest is what only a node itself notices, and no such event reaches the table."""


def episode(why: Cause, verdict: Verdict, *, stepped: bool = False) -> Episode:
    actions = (Step(SECOND_NS),) if stepped else ()
    return Episode("node1", why, verdict, Offset(0, 1), actions, Offset(0, 1), Facts(), (), 0, 1)


@dataclass
class Machine:
    """A machine of the table, with what a plain reading of its events says of it."""

    state: State = field(default_factory=lambda: State(GUEST))
    now_ns: int = 1000 * SECOND_NS
    chosen: bool = True
    trusted: bool = True
    works: list[tuple[int, Work]] = field(default_factory=list)
    told: list[Episode] = field(default_factory=list)
    events: list[Happening] = field(default_factory=list)

    @property
    def view(self) -> View:
        return View(self.now_ns, chosen=self.chosen, observed=self.chosen, trusted=self.trusted)

    def take(self, turn: Turn) -> None:
        before = self.state
        self.state = turn.state
        if turn.work:
            self.works.append((len(self.events), turn.work))
        assert (self.state.work is not None) == bool(turn.work) or self.state.work is before.work
        if turn.told:
            self.told.append(turn.told.episode)

    def happens(self, what: What) -> None:
        self.events.append(Happening("u1", what, self.now_ns))
        busy = self.state.work
        self.take(happened(self.state, self.events[-1], self.view))
        assert busy is None or self.state.work is busy, "one work at a time"

    def sweep(self, state: str = "running") -> None:
        busy = self.state.work
        self.take(swept(self.state, replace(GUEST, state=state), FOUND, self.view))
        assert busy is None or self.state.work is busy, "one work at a time"

    def end(self, how: str) -> None:
        """The work ends in one of the ways in which it can."""
        work = self.state.work
        if work is None:
            self.take(ended(self.state, Done(GUEST.key), self.view))
            assert self.state.work is None
            return
        why = work.known or (cause(work.trail) if work.trail else FOUND)
        verdict = {"good": Verdict.GOOD, "unsure": Verdict.UNSURE, "bad": Verdict.BAD}.get(how)
        if verdict:
            done = Done(GUEST.key, episode(why, verdict))
        elif how == "silent":
            done = Done(GUEST.key, episode(why, Verdict.UNREACHABLE), work.trail)
        elif how == "paused" and work.trail:
            done = Done(GUEST.key, left=replace(work.trail, due=False))
        else:
            done = Done(GUEST.key, left=work.trail)  # another clockstep has it
        self.take(ended(self.state, done, self.view))


ACTS = st.one_of(
    st.sampled_from(sorted(TOLD, key=lambda what: what.value)),
    st.sampled_from(["good", "bad", "unsure", "silent", "paused", "busy", "sweep"]),
    st.integers(1, 3 * SECOND_NS),
)


def play(acts: list[What | str | int], machine: Machine) -> None:
    for act in acts:
        if isinstance(act, What):
            machine.happens(act)
        elif isinstance(act, int):
            machine.now_ns += act
        elif act == "sweep":
            machine.sweep()
        else:
            machine.end(act)


def begin_of(events: list[Happening], last: int) -> int:
    """Return the first event of the happening that an event belongs to: what libvirt says twice has no halt in it."""
    begin, kind, off = 0, What.STOPPED, False
    for at, one in enumerate(events[: last + 1]):
        if one.what is What.ANSWERS:
            continue
        again = kind not in HALTS and one.what in {kind, What.RESUMED} and one.at_ns - events[begin].at_ns < SAME_NS
        if not again:
            begin, kind = at, What.BOOTED if one.what is What.RESUMED and off else one.what
        off = one.what is What.STOPPED or (off and one.what is What.PAUSED)
    return begin


@given(st.lists(ACTS, max_size=40))
def test_no_event_is_lost(acts: list[What | str | int]) -> None:
    machine = Machine()
    play(acts, machine)
    while machine.state.work:
        machine.end("good")
    machine.sweep()  # which takes up what another clockstep, or a silence, has kept from being dealt with
    while machine.state.work:
        machine.end("good")
    last = next((at for at, one in reversed(list(enumerate(machine.events))) if one.what in MOVES | HALTS), None)
    if last is None or machine.events[last].what in HALTS:
        return
    covered = [seen for seen, work in machine.works if work.trail is not None or work.known is not None]
    assert any(seen > last for seen in covered), "a look or a correction began after the last event"
    corrected = [seen for seen, work in machine.works if work.trail is not None]
    begin = begin_of(machine.events, last)
    assert any(seen > begin for seen in corrected), "it was dealt with as what it is, and not only looked at"
    assert not machine.state.trail.due


@given(st.lists(ACTS, max_size=40))
def test_no_cause_is_made_up(acts: list[What | str | int]) -> None:
    machine = Machine()
    play(acts, machine)
    while machine.state.work:
        machine.end("good")
    for seen, work in machine.works:
        before = [one.what for one in machine.events[:seen]]
        if work.trail is None or work.trail.why is None:
            assert work.trail is None or What.ANSWERS in before
            continue
        booted = What.STOPPED in before and What.RESUMED in before
        assert work.trail.why in before or (work.trail.why is What.BOOTED and booted)
        stops = [at for at, what in enumerate(before) if what is What.STOPPED]
        if stops and What.MIGRATED in before[stops[0] :]:  # it may have left and come back, with all that it was
            continue
        since = before[stops[-1] :] if stops else before
        assert work.trail.why in since or (work.trail.why is What.BOOTED and What.RESUMED in since), "a stop ends it"


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from(["busy", "silent"])), min_size=1)
)
def test_pauses_that_were_not_dealt_with_are_all_explained(pauses: list[tuple[int, int, str]]) -> None:
    machine, still_ns = Machine(), 0
    for paused_ns, ran_ns, how in pauses:
        machine.happens(What.PAUSED)
        machine.now_ns += paused_ns
        machine.happens(What.RESUMED)
        machine.now_ns += ran_ns
        machine.end(how)
        still_ns += paused_ns
    machine.end("busy")
    machine.sweep()
    assert machine.state.work
    assert machine.state.work.trail
    assert cause(machine.state.work.trail).explains_ns >= still_ns + SLACK_NS


@given(st.lists(ACTS, max_size=40))
def test_nothing_is_begun_by_an_event_on_a_machine_that_is_not_chosen(acts: list[What | str | int]) -> None:
    machine = Machine(chosen=False)
    play(acts, machine)
    assert machine.works == []


@given(st.lists(ACTS, max_size=40))
def test_while_the_host_is_not_trusted_nothing_is_corrected_and_nothing_is_lost(acts: list[What | str | int]) -> None:
    machine = Machine(trusted=False)
    play(acts, machine)
    ends = 0
    while machine.state.work:
        machine.end("bad")
        ends += 1
        assert ends < 3, "looks that may not correct do not follow each other without end"
    assert all(work.trail is None and not work.act for _, work in machine.works)
    due = machine.state.trail
    machine.trusted = True
    machine.sweep()
    assert machine.state.work
    assert machine.state.work.trail == (due if due.due else None)


@given(st.lists(ACTS, max_size=40), st.sampled_from(["good", "bad", "unsure", "silent", "paused", "busy"]))
def test_the_work_that_follows_from_what_came_meanwhile_comes_to_an_end(acts: list[What | str | int], how: str) -> None:
    machine = Machine()
    play(acts, machine)
    ends = 0
    while machine.state.work:
        machine.end(how)
        ends += 1
        assert ends <= 2


@given(st.lists(ACTS, max_size=30))
def test_a_sweep_leaves_a_machine_alone_that_does_not_run(acts: list[What | str | int]) -> None:
    machine = Machine()
    play(acts, machine)
    while machine.state.work:
        machine.end("good")
    count = len(machine.works)
    machine.sweep("paused")
    assert len(machine.works) == count


def test_a_revert_is_told_of_several_times_and_worked_on_once() -> None:
    machine = Machine()
    for what in (What.STOPPED, What.REVERTED, What.REVERTED, What.ANSWERS):
        machine.happens(what)
        machine.now_ns += SECOND_NS // 10
    machine.end("good")
    machine.happens(What.REVERTED)
    assert len(machine.works) == 1
    machine.now_ns += SAME_NS
    machine.happens(What.REVERTED)
    assert [work.trail and work.trail.why for _, work in machine.works] == [What.REVERTED, What.REVERTED]


@pytest.mark.parametrize("halt", [What.PAUSED, What.STOPPED])
def test_a_second_revert_within_a_second_is_one_of_its_own_where_the_machine_was_halted_in_between(halt: What) -> None:
    machine = Machine()
    machine.happens(What.REVERTED)
    machine.happens(halt)
    machine.happens(What.REVERTED)
    machine.end("good")
    assert len(machine.works) == 2
    assert machine.state.work is not None


def test_a_pause_before_an_earlier_one_was_dealt_with_explains_both() -> None:
    machine = Machine()
    machine.happens(What.PAUSED)
    machine.now_ns += 3600 * SECOND_NS
    machine.happens(What.RESUMED)
    machine.happens(What.PAUSED)
    machine.now_ns += SECOND_NS
    machine.happens(What.RESUMED)
    machine.end("busy")
    assert machine.state.work
    assert machine.state.work.trail
    assert cause(machine.state.work.trail).explains_ns == 3601 * SECOND_NS + SLACK_NS


def test_a_silence_does_not_make_a_cause_explain_more() -> None:
    machine = Machine()
    machine.happens(What.REVERTED)
    unsure = Cause("reverted", 60 * SECOND_NS)
    machine.take(ended(machine.state, Done(GUEST.key, episode(unsure, Verdict.UNSURE)), machine.view))
    machine.sweep()
    machine.end("silent")
    machine.happens(What.ANSWERS)
    assert machine.state.work
    assert machine.state.work.known == unsure


@pytest.mark.parametrize(
    ("away_ns", "explained_ns"), [(None, DAY_NS), (5, DAY_NS), (9 * DAY_NS, 9 * DAY_NS + SLACK_NS)]
)
def test_a_sweep_explains_what_has_passed_since_the_clock_was_last_within_tolerance(
    away_ns: int | None, explained_ns: int
) -> None:
    turn = swept(State(GUEST), GUEST, FOUND, View(0, away_ns=away_ns))
    assert turn.work
    assert turn.work.known
    assert turn.work.known.explains_ns == explained_ns


def test_a_host_that_woke_explains_its_sleep_and_no_more() -> None:
    woke = Cause("host-woke", 3 * SECOND_NS)
    turn = swept(State(GUEST), GUEST, woke, View(0, away_ns=9 * DAY_NS))
    assert turn.work
    assert turn.work.known == woke


@pytest.mark.parametrize("order", ["stopped last", "stopped first", "ended first"])
def test_a_machine_that_migrates_while_it_is_worked_on_takes_its_cause_along(order: str) -> None:
    here = Machine()
    here.happens(What.REVERTED)
    if order == "stopped first":
        here.happens(What.STOPPED)
    if order == "ended first":
        here.end("silent")
        here.happens(What.STOPPED)
    there = migrated(State(replace(GUEST, connection="b")), [here.state])
    turn = happened(there, Happening("u1", What.MIGRATED, here.now_ns, "b"), here.view)
    assert turn.work
    assert turn.work.trail
    assert (turn.work.trail.why, turn.work.trail.due) == (What.REVERTED, True)
    while here.state.work:
        here.happens(What.STOPPED)
        here.end("silent")
    assert not here.state.trail.due


def test_a_machine_that_was_corrected_before_it_migrates_has_only_migrated() -> None:
    here = Machine()
    here.happens(What.REVERTED)
    here.end("good")
    here.happens(What.STOPPED)
    there = migrated(State(replace(GUEST, connection="b")), [here.state])
    turn = happened(there, Happening("u1", What.MIGRATED, here.now_ns, "b"), here.view)
    assert turn.work
    assert turn.work.trail
    assert turn.work.trail.why is What.MIGRATED


def test_a_listing_forgets_what_is_gone_from_its_connection_alone_and_not_what_is_worked_on() -> None:
    a, b = Guest("a", "ua", "running", "x"), Guest("b", "ub", "running", "x")
    far = Guest("c", "uc", "running", "y")
    worked_on = State(b, work=Work(None, FOUND, act=True))
    states = {a.key: State(a), b.key: worked_on, far.key: State(far)}
    assert listed(states, "x", []).keys() == {b.key, far.key}
    new = Guest("d", "ud", "shut off", "x")
    known = listed(states, "x", [new, replace(b, name="renamed")])
    assert known.keys() == {new.key, b.key, far.key}
    assert known[new.key].trail.stopped
    assert (known[b.key].guest.name, known[b.key].work) == ("renamed", worked_on.work)


def test_a_node_that_is_silent_is_no_news_until_it_has_been_for_a_while() -> None:
    machine = Machine()
    new: list[bool] = []
    for _ in range(4):
        machine.sweep()
        turn = ended(machine.state, Done(GUEST.key, episode(FOUND, Verdict.UNREACHABLE)), machine.view)
        machine.take(turn)
        assert turn.told
        new.append(turn.told.new)
        machine.now_ns += SILENCE_NS // 2
    assert new == [False, False, True, False]


def test_what_is_stepped_again_and_again_is_left_alone() -> None:
    machine = Machine()
    for _ in range(OFTEN):
        machine.sweep()
        turn = ended(machine.state, Done(GUEST.key, episode(FOUND, Verdict.GOOD, stepped=True)), machine.view)
        machine.take(turn)
    assert machine.told[-1].findings[-1].check == "often"
    machine.sweep()
    assert machine.state.work
    assert not machine.state.work.act


def followed(whats: list[tuple[What, int]]) -> Trail:
    trail, at_ns = Trail(), 0
    for what, after_ns in whats:
        at_ns += after_ns
        trail = follow(trail, Happening("u1", what, at_ns))
    return trail


TRAILS = st.builds(followed, st.lists(st.tuples(st.sampled_from(list(What)), st.integers(1, 100)), max_size=5))


@given(TRAILS, TRAILS)
def test_what_was_left_and_what_came_since_are_both_kept(left: Trail, since: Trail) -> None:
    both = merged(left, since)
    assert both.why in {left.why, since.why}
    if left.why and not since.stopped:
        assert both.why is not None
    if since.stopped:
        assert both == since
    if left == Trail():
        assert (both.why, both.due) == (since.why, since.due)
    if since == Trail():
        assert (both.why, both.due) == (left.why, left.due)
