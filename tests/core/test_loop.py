"""The loop on simulated guests: what it brings right, what it leaves alone, and what it says."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.daemons import ask_all, chrony
from clockstep.errors import ReachError
from clockstep.loop.company import PATIENCE_NS, Company
from clockstep.loop.look import observe, read
from clockstep.loop.prove import prove
from clockstep.loop.run import begin
from clockstep.loop.settle import settle
from clockstep.model import Cause, Decision, Episode, Policy, Reading, Resync, Step, Verdict
from clockstep.ports import Node, Output
from clockstep.reach.agent import AgentReach
from clockstep.reach.injection import CHOICE, MEMORY, PERL
from clockstep.render.output import json_line
from core.simulation import MILLISECOND, SECOND, SimClock, SimGuest

ASKED = Cause("asked")


def heal(
    node: Node,
    cause: Cause,
    policy: Policy,
    clock: SimClock,
    company: Company | None = None,
    superseded: Callable[[], bool] = lambda: False,
) -> Episode:
    """Both phases, one after the other."""
    run = begin(node, cause, policy, clock, clock, company=company)
    prove(run)
    return settle(run, superseded)


def healed(guest: SimGuest, policy: Policy | None = None, cause: Cause = ASKED) -> Episode:
    return heal(Node("node1", guest.reach()), cause, policy or Policy(), guest.clock)


def true_now(guest: SimGuest, episode: Episode) -> bool:
    after = episode.after
    return after is not None and after.earliest_ns <= guest.offset_ns <= after.latest_ns


@given(behind=st.integers(20 * MILLISECOND, 86_000 * SECOND))
def test_a_clock_that_is_behind_is_brought_right_in_one_step_and_its_daemon_along(behind: int) -> None:
    guest = SimGuest(SimClock(), -behind)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert abs(guest.offset_ns) < MILLISECOND
    assert true_now(guest, episode)
    assert episode.facts.claim is not None
    assert episode.facts.claim.synchronised


def test_an_episode_keeps_what_was_before_and_when_it_was_right_and_proven() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    episode = healed(guest, cause=Cause("reverted", 61 * SECOND, since_ns=guest.clock.mono - SECOND))
    assert episode.before is not None
    assert episode.before.earliest_ns <= -60 * SECOND <= episode.before.latest_ns
    assert episode.wrong_for_ns is not None
    assert episode.proven_ns is not None
    assert SECOND < episode.wrong_for_ns < episode.proven_ns < SECOND + episode.took_ns


def test_a_right_clock_is_left_alone() -> None:
    guest = SimGuest(SimClock(), 3 * MILLISECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert episode.actions == ()
    assert guest.offset_ns == 3 * MILLISECOND


def test_what_a_daemon_slews_between_the_look_and_the_step_is_taken_off_the_step() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, slew=833, exec_latency_ns=SECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < MILLISECOND


def test_a_clock_that_is_ahead_is_left_alone_without_consent() -> None:
    guest = SimGuest(SimClock(), 5 * SECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.BAD
    assert guest.steps == []
    assert episode.took_ns < SECOND


def test_a_clock_that_looks_right_when_the_deadline_comes_is_not_called_good() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, exec_latency_ns=2 * SECOND)
    episode = healed(guest, Policy(deadline_ns=SECOND))
    assert guest.steps
    assert abs(guest.offset_ns) < MILLISECOND
    assert episode.proven_ns is None
    assert episode.verdict is Verdict.UNSURE
    assert any("confirmed only" in finding.text for finding in episode.findings)


def test_a_resync_without_effect_is_made_again() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, deaf_resyncs=1)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync, Resync]
    assert episode.facts.claim is not None
    assert episode.facts.claim.synchronised


def test_a_daemon_that_is_not_in_sync_yet_is_waited_for_in_the_node_and_seldom_asked() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    assert healed(guest).verdict is Verdict.GOOD
    assert guest.commands.count(chrony.WAIT) == 2
    assert guest.commands.count(ask_all()) <= 4


def test_a_daemon_is_not_waited_for_beyond_the_deadline() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    episode = healed(guest, Policy(deadline_ns=4 * SECOND))
    assert episode.took_ns < 5 * SECOND
    assert guest.commands.count(chrony.WAIT) == 0


def test_a_clock_that_is_a_little_ahead_is_left_to_its_daemon_to_slew_back() -> None:
    guest = SimGuest(SimClock(), 40 * MILLISECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert episode.actions == (Resync("chrony"),)
    assert guest.steps == []


def test_a_clock_that_is_a_little_ahead_without_a_daemon_is_left_alone_at_once() -> None:
    guest = SimGuest(SimClock(), 40 * MILLISECOND, chrony=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.BAD
    assert episode.actions == ()
    assert episode.took_ns < SECOND


def test_a_clock_on_the_edge_of_being_right_is_left_to_its_daemon_and_never_stepped() -> None:
    guest = SimGuest(SimClock(), -10 * MILLISECOND, latency_ns=MILLISECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert episode.actions == (Resync("chrony"),)
    assert guest.steps == []


def test_a_clock_that_is_ahead_is_stepped_back_with_consent() -> None:
    guest = SimGuest(SimClock(), 5 * SECOND)
    assert healed(guest, Policy(max_backward_ns=60 * SECOND)).verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < MILLISECOND


def test_a_bound_too_wide_to_judge_by_never_steps() -> None:
    guest = SimGuest(SimClock(), -60 * MILLISECOND, latency_ns=SECOND)
    episode = healed(guest)
    assert episode.verdict is Verdict.UNSURE
    assert guest.steps == []


def test_a_host_whose_clock_is_stepped_meanwhile_is_not_followed() -> None:
    clock = SimClock()
    guest = SimGuest(clock)

    class Jumping:
        source = "guest agent"

        def clock(self, within_ns: int | None = None) -> Reading:
            clock.set_by(3600 * SECOND)
            return guest.reach().clock(within_ns)

        def run(self, argv: object, stdin: bytes, deadline_ns: int) -> Output:
            raise AssertionError("nothing is run on a node whose readings mean nothing")

        def step(self, by_ns: int, token: str) -> int | None:
            raise AssertionError("a host that jumped is no truth to step to")

        def fate(self, token: str) -> int | None:
            raise AssertionError("no step was asked for")

        def close(self) -> None:
            pass

    episode = heal(Node("node1", Jumping()), ASKED, Policy(), clock)
    assert episode.verdict is Verdict.UNSURE
    assert episode.facts.readings == ()
    assert "set forward by 1 h" in episode.findings[0].text


@given(by_ms=st.integers(-9, 9), behind=st.integers(0, 60 * SECOND))
def test_a_host_whose_clock_is_set_by_a_little_meanwhile_is_followed(by_ms: int, behind: int) -> None:
    clock, by_ns = SimClock(), by_ms * MILLISECOND
    guest = SimGuest(clock, -behind)
    run = begin(Node("node1", guest.reach()), ASKED, Policy(), clock, clock)
    clock.set_by(by_ns)
    guest.offset_ns -= by_ns
    prove(run)
    episode = settle(run)
    assert episode.verdict is Verdict.GOOD
    assert true_now(guest, episode)


def test_the_look_during_which_the_host_was_set_by_a_little_is_as_much_less_exact() -> None:
    clock = SimClock()
    run = begin(Node("node1", SimGuest(clock).reach()), ASKED, Policy(), clock, clock)
    exact = [reading.offset.error_ns for reading in read(run, ask=False).readings]
    clock.set_by(4 * MILLISECOND)
    during, after = ([reading.offset.error_ns for reading in read(run, ask=False).readings] for _ in range(2))
    assert exact[0] < MILLISECOND
    assert during[0] > 4 * MILLISECOND
    assert after == exact


def test_a_node_without_network_is_good_with_a_warning_once_its_daemon_had_time() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, network=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert episode.took_ns >= Policy().deadline_ns
    assert any("not synchronised" in finding.text and finding.remedy for finding in episode.findings)


def test_a_daemon_that_no_server_had_answered_before_is_waited_for_once_and_shortly() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, network=False, heard=False, synchronised_at=None)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert episode.proven_ns is not None
    assert episode.took_ns - episode.proven_ns < 3 * SECOND
    (said,) = [finding.text for finding in episode.findings if finding.check == "daemon"]
    assert said == "chrony is not synchronised, and was not before: it had no answer from a time source"
    seen = observe(Node("node1", guest.reach()), ASKED, Policy(), guest.clock, guest.clock)
    (said,) = [finding.text for finding in seen.findings if finding.check == "daemon"]
    assert said == "chrony is not synchronised: it has had no answer from a time source"


def test_one_that_must_be_in_sync_is_waited_for_all_the_same() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, network=False, heard=False, synchronised_at=None)
    episode = healed(guest, Policy(require_sync=True))
    assert episode.verdict is Verdict.BAD
    assert episode.took_ns >= Policy().deadline_ns


def test_an_idle_daemon_is_resynced_only_if_the_policy_says_so() -> None:
    for idle in (True, False):
        guest = SimGuest(SimClock(), MILLISECOND, network=False, synchronised_at=None)
        episode = healed(guest, Policy(resync_idle=idle))
        assert episode.verdict is Verdict.GOOD
        assert [type(action) for action in episode.actions][:1] == ([Resync] if idle else [])
        assert (episode.took_ns < SECOND) is not idle


def test_a_node_without_a_daemon_is_done_once_its_clock_is_proven() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, chrony=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step]


@pytest.mark.parametrize("lacking", ["exec_allowed", "has_tools"])
def test_where_nothing_can_be_injected_the_clock_is_set_until_it_is_right(lacking: str) -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, chrony=False)
    setattr(guest, lacking, False)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < 10 * MILLISECOND
    assert true_now(guest, episode)


def test_where_commands_are_blocked_it_says_that_the_daemon_was_not_resynced_and_what_to_allow() -> None:
    episode = healed(SimGuest(SimClock(), -60 * SECOND, exec_allowed=False))
    assert any("daemon was not resynced" in finding.text and finding.remedy for finding in episode.findings)


@pytest.mark.parametrize("program", ["chronyd", "ntpd"])
def test_a_daemon_that_does_not_say_how_it_stands_is_named_and_not_waited_for(program: str) -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, chrony=False, silent=f"{program}\n")
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step]
    assert episode.took_ns < 5 * SECOND
    assert any(finding.text.startswith(f"{program} runs, but does not report") for finding in episode.findings)


@pytest.mark.parametrize("lacking", [{"network": False}, {"chrony": False}, {"chrony": False, "silent": "ntpd\n"}])
def test_where_a_daemon_in_sync_is_required_a_right_clock_alone_is_not_good(lacking: dict[str, Any]) -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, **lacking)
    episode = healed(guest, Policy(require_sync=True))
    assert abs(guest.offset_ns) < MILLISECOND
    assert len(guest.steps) == 1
    assert episode.verdict is Verdict.BAD
    assert any("was not in sync by the deadline" in finding.text for finding in episode.findings)


def test_where_a_daemon_in_sync_is_required_one_that_is_in_sync_is_good() -> None:
    assert healed(SimGuest(SimClock(), -60 * SECOND), Policy(require_sync=True)).verdict is Verdict.GOOD


def test_an_agent_that_may_not_step_the_clock_is_not_asked_again_and_again() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, root=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.BAD
    assert len(guest.commands) == 1
    assert any("CAP_SYS_TIME" in finding.remedy for finding in episode.findings)


@dataclass
class Mute(SimGuest):
    """A guest whose answer to the first step is lost.

    It carries the step out at once, before or after it is asked what became of it, or `never`; or it is `cut off` in
    the middle, before or after adjtimex(2).
    """

    makes: str = "at once"
    lost: list[str] | None = None
    late: tuple[int, str, str] | None = None

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if self.lost is None and argv[2] == PERL:
            self.lost = argv
            self.pass_ns(self.exec_latency_ns)
            if self.makes in {"at once", "cut off after"}:
                self._step(argv[3:])
            if self.makes.startswith("cut off"):
                self.memory[argv[4]] = "begun"
            raise ReachError("Cannot recv data: Connection reset by peer")
        if self.late is None and self.lost and self.makes == "before":
            self.late = self._step(self.lost[3:])
        done = super()._execute(argv)
        if self.late is None and self.lost and self.makes == "after":
            self.late = self._step(self.lost[3:])
        return done


@dataclass
class FirstExecLost(SimGuest):
    """A guest whose answer to the first request to run anything is lost."""

    lost: bool = False

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        if not self.lost and json.loads(request)["execute"] == "guest-exec":
            self.lost = True
            self.pass_ns(2 * SECOND)
            raise ReachError("Guest agent is not responding")
        return super().command(request, timeout_ns)


@pytest.mark.parametrize("lacking", [{"exec_allowed": False}, {"has_tools": False}, {}])
def test_a_lost_answer_of_a_guest_that_runs_no_programs_keeps_it_from_nothing(lacking: dict[str, Any]) -> None:
    guest = FirstExecLost(SimClock(), -60 * SECOND, chrony=False, **lacking)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < 100 * MILLISECOND
    assert not any(action.unconfirmed for action in episode.actions if isinstance(action, Step))


@dataclass
class Killed(SimGuest):
    """A guest in which the first program that steps is killed, before or after adjtimex(2)."""

    code: int = 137
    after: bool = True
    killed: bool = False

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[2] != PERL or self.killed:
            return super()._execute(argv)
        self.killed = True
        self.pass_ns(self.exec_latency_ns)
        if self.after:
            self._step(argv[3:])
        self.memory[argv[4]] = "begun"
        return self.code, "", "Killed"


@pytest.mark.parametrize("code", [-1, 1, 120, 137])
@pytest.mark.parametrize("after", [True, False])
def test_a_program_that_is_killed_while_it_steps_leaves_that_open(code: int, after: bool) -> None:
    guest = Killed(SimClock(), -60 * SECOND, code=code, after=after)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < MILLISECOND
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert len(guest.steps) == 1


@dataclass
class Boastful(SimGuest):
    """A guest that says that it has added what no clock can take."""

    def _step(self, words: list[str]) -> tuple[int, str, str]:
        code, out, err = super()._step(words)
        return code, "done 99999999999 0\n" if out.startswith("done") else out, err


def test_what_a_guest_says_that_it_has_added_is_bounded() -> None:
    episode = healed(Boastful(SimClock(), -60 * SECOND))
    assert all(abs(action.by_ns) < 2**63 for action in episode.actions if isinstance(action, Step))
    assert json.loads(json_line(episode))["verdict"] == "unsure"


@dataclass
class Overshooting(SimGuest):
    """A guest whose clock something else moves right after its guard has stepped it."""

    more_ns: int = 0

    def _hear(self, line: str) -> None:
        super()._hear(line)
        self.offset_ns += self.more_ns


@pytest.mark.parametrize("more_ms", [11, 500, 3000])
def test_a_step_of_a_guards_is_in_the_record_whatever_came_after_it(more_ms: int) -> None:
    guest = Overshooting(SimClock(), -3 * SECOND, guarded=True, chrony=False, more_ns=more_ms * MILLISECOND)
    assert healed(guest).actions == (Step(guest.steps[0]),)


@dataclass
class Forgetful(SimGuest):
    """A guest that cannot say what became of a step, and never will."""

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[-2] != MEMORY:
            return super()._execute(argv)
        self.commands.append("fate")
        return 77, "", "/run/clockstep/steps: Read-only file system"


def test_a_guest_that_cannot_say_what_became_of_a_step_is_not_asked_again_and_again() -> None:
    guest = Forgetful(SimClock(), -60 * SECOND, guarded=True)
    episode = healed(guest)
    assert guest.commands.count("fate") == 1
    assert episode.verdict is Verdict.UNSURE
    assert [action.unconfirmed for action in episode.actions if isinstance(action, Step)] == [True]


FAR = Policy(max_forward_ns=11 * 86_400 * SECOND)
SHIFTS = [20 * MILLISECOND, 200 * MILLISECOND, SECOND // 2, 3 * SECOND, 4 * SECOND, 60 * SECOND, 864_000 * SECOND]


@pytest.mark.parametrize("behind_ns", SHIFTS)
@pytest.mark.parametrize("makes", ["at once", "before", "after", "never", "cut off", "cut off after"])
def test_a_step_whose_answer_is_lost_is_made_once_and_the_record_shows_it(makes: str, behind_ns: int) -> None:
    guest = Mute(SimClock(), -behind_ns, makes=makes)
    episode = healed(guest, FAR)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < MILLISECOND
    assert len(guest.steps) == 1
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert isinstance(episode.actions[0], Step)
    asked = -int(episode.before.value_ns) if episode.before else 0
    assert episode.actions[0] == Step(asked if makes == "cut off after" else guest.steps[0])


@pytest.mark.parametrize("behind_ns", SHIFTS[1:])
@pytest.mark.parametrize("latency_ms", [20, 1900, 2100, 4000, 9000])
def test_a_guard_that_is_late_adds_nothing_to_what_was_done_meanwhile(latency_ms: int, behind_ns: int) -> None:
    guest = LateGuard(SimClock(), -behind_ns, guarded=True, guard_latency_ns=latency_ms * MILLISECOND)
    episode = healed(guest, FAR)
    guest.pass_ns(10 * SECOND)
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < MILLISECOND
    assert [action.by_ns for action in episode.actions if isinstance(action, Step)] == guest.steps
    assert len(guest.steps) == 1


@dataclass
class LateGuard(SimGuest):
    """A guest whose guard hears a line some time after it was written."""

    line: str = ""
    heard_at: int = 0

    def _hear(self, line: str) -> None:
        self.line, self.heard_at = line, self.clock.mono + self.guard_latency_ns

    def pass_ns(self, duration_ns: int) -> None:
        super().pass_ns(duration_ns)
        if self.line and self.clock.mono >= self.heard_at:
            line, self.line = self.line, ""
            self._step(line.split())


@dataclass
class LateSet(SimGuest):
    """A guest that runs no commands, and that is set some time after it was asked to; the first answer is lost."""

    exec_allowed: bool = False
    late_by_ns: int = 0
    wanted: tuple[int, int] | None = None
    set_at: int = 0
    sets: int = 0

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        self.sets += 1
        if self.sets > 1:
            super().set_time(seconds, nanoseconds)
            return
        self.wanted, self.set_at = (seconds, nanoseconds), self.clock.mono + self.late_by_ns
        self.pass_ns(2 * SECOND)
        raise ReachError("Guest agent is not responding")

    def pass_ns(self, duration_ns: int) -> None:
        super().pass_ns(duration_ns)
        if self.wanted and self.clock.mono >= self.set_at:
            (seconds, nanoseconds), self.wanted = self.wanted, None
            self.offset_ns = seconds * SECOND + nanoseconds - self.clock.real


@pytest.mark.parametrize("late_by_ns", [0, SECOND, 3 * SECOND, 4900 * MILLISECOND, 3600 * SECOND])
def test_a_set_that_was_not_answered_is_not_asked_for_again_before_its_time(late_by_ns: int) -> None:
    guest = LateSet(SimClock(), -60 * SECOND, late_by_ns=late_by_ns, chrony=False)
    episode = healed(guest, Policy(deadline_ns=30 * SECOND))
    assert episode.verdict is Verdict.GOOD
    assert abs(guest.offset_ns) < 10 * MILLISECOND
    assert all(not action.unconfirmed for action in episode.actions if isinstance(action, Step))


def test_a_clock_that_is_right_is_not_done_with_while_a_set_may_yet_move_it_back() -> None:
    guest = LateSet(SimClock(), -60 * SECOND, late_by_ns=4 * SECOND, chrony=False)
    corrected = False

    class Corrected(AgentReach):
        def clock(self, within_ns: int | None = None) -> Reading:
            nonlocal corrected
            if guest.sets and not corrected:  # by somebody else
                corrected, guest.offset_ns = True, 0
            return super().clock(within_ns)

    node = Node("node1", Corrected(guest, guest.clock, guest.clock))
    run = begin(node, ASKED, Policy(deadline_ns=30 * SECOND), guest.clock, guest.clock)
    assert prove(run)
    assert guest.wanted is None
    episode = settle(run)
    assert guest.wanted is None
    assert abs(guest.offset_ns) < 10 * MILLISECOND
    assert episode.verdict is Verdict.GOOD


def test_a_second_loop_sets_nothing_while_the_first_ones_set_may_yet_come() -> None:
    guest = LateSet(SimClock(), -60 * SECOND, late_by_ns=4900 * MILLISECOND, chrony=False)
    node = Node("node1", guest.reach())
    for deadline_ns in (2500 * MILLISECOND, 30 * SECOND):
        episode = heal(node, ASKED, Policy(deadline_ns=deadline_ns), guest.clock)
    assert episode.verdict is Verdict.GOOD
    guest.pass_ns(10 * SECOND)
    assert abs(guest.offset_ns) < 10 * MILLISECOND


def test_a_set_that_may_come_after_the_deadline_is_unconfirmed_in_the_record() -> None:
    guest = LateSet(SimClock(), -60 * SECOND, late_by_ns=SECOND, chrony=False)
    episode = healed(guest, Policy(deadline_ns=4 * SECOND))
    assert episode.verdict is Verdict.UNSURE
    (step,) = episode.actions
    assert isinstance(step, Step)
    assert step.unconfirmed
    assert any("may still happen" in finding.text for finding in episode.findings)


def test_a_daemon_is_resynced_but_not_waited_for_when_something_else_has_happened_to_the_node() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    node, policy = Node("node1", guest.reach()), Policy(require_sync=True)
    episode = heal(node, ASKED, policy, guest.clock, superseded=lambda: True)
    assert episode.verdict is Verdict.GOOD
    assert [type(action) for action in episode.actions] == [Step, Resync]
    assert chrony.WAIT not in guest.commands


def test_a_guest_that_does_not_run_is_unreachable_at_once() -> None:
    guest = SimGuest(SimClock(), running=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.UNREACHABLE
    assert episode.took_ns < SECOND


def test_a_guest_that_is_away_for_a_revert_meanwhile_is_waited_for() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    away = 0

    class Reverted:
        source = "guest agent"

        def clock(self, within_ns: int | None = None) -> Reading:
            nonlocal away
            away += 1
            guest.running = not 2 < away < 9
            if away == 9:
                guest.offset_ns = -70 * SECOND
            return reach.clock(within_ns)

        def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
            return reach.run(argv, stdin, deadline_ns)

        def step(self, by_ns: int, token: str) -> int | None:
            return reach.step(by_ns, token)

        def fate(self, token: str) -> int | None:
            return reach.fate(token)

        def close(self) -> None:
            pass

    reach = guest.reach()
    episode = heal(Node("node1", Reverted()), ASKED, Policy(), guest.clock)
    assert episode.verdict is Verdict.GOOD
    assert len(guest.steps) == 2


def test_looking_changes_nothing_and_says_what_a_step_would_do() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    episode = observe(Node("node1", guest.reach()), ASKED, Policy(), guest.clock, guest.clock)
    assert (episode.verdict, episode.actions, guest.steps) == (Verdict.BAD, (), [])
    assert [type(action) for action in episode.planned] == [Step]
    assert any("claims to be synchronised" in finding.text for finding in episode.findings)


@pytest.mark.parametrize("behind_s", [1, 60, 86_000])
def test_a_guard_that_runs_already_makes_the_step_and_nothing_is_started_for_it(behind_s: int) -> None:
    guest = SimGuest(SimClock(), -behind_s * SECOND, guarded=True)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert len(guest.steps) == 1
    assert not {CHOICE, PERL} & set(guest.commands)
    assert episode.actions[0] == Step(guest.steps[0])


def test_a_guard_that_is_too_slow_does_not_step_a_second_time() -> None:
    guest = SimGuest(SimClock(), -SECOND, guarded=True, guard_latency_ns=2100 * MILLISECOND)
    assert healed(guest).verdict is Verdict.GOOD
    assert len(guest.steps) == 1
    assert PERL in guest.commands


def test_a_near_clock_is_no_guards_work() -> None:
    guest = SimGuest(SimClock(), -50 * MILLISECOND, guarded=True)
    assert healed(guest).verdict is Verdict.GOOD
    assert PERL in guest.commands


def test_a_daemon_waits_for_the_clocks_of_the_others_but_not_for_long() -> None:
    company, clock = Company(), SimClock()
    late, wrong = SimGuest(clock, -60 * SECOND), SimGuest(clock, -60 * SECOND)
    other = begin(Node("node2", wrong.reach()), ASKED, Policy(), clock, clock)
    company.join(other)
    began = clock.mono
    episode = heal(Node("node1", late.reach()), ASKED, Policy(), clock, company)
    assert [type(action) for action in episode.actions] == [Step, Resync]
    resynced = clock.mono - began
    company.leave(other)
    alone = SimGuest(clock, -60 * SECOND)
    began = clock.mono
    heal(Node("node1", alone.reach()), ASKED, Policy(), clock, company)
    assert PATIENCE_NS - SECOND < resynced - (clock.mono - began) < PATIENCE_NS + SECOND


def test_a_clock_that_is_surely_days_wrong_is_bad_whatever_may_be_done_about_it() -> None:
    guest = SimGuest(SimClock(), -37 * 365 * 86_400 * SECOND)
    seen = observe(Node("node1", guest.reach()), ASKED, Policy(), guest.clock, guest.clock)
    assert (seen.verdict, seen.decision, seen.consent) == (Verdict.BAD, Decision.CONSENT, "--max-forward")
    assert seen.planned == ()
    assert not any("clockstep step" in finding.remedy for finding in seen.findings)
