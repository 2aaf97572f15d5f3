"""The loop on simulated guests: what it brings right, what it leaves alone, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.daemons import ask_all, chrony
from clockstep.errors import ReachError
from clockstep.heal import PATIENCE_NS, Company, heal, observe, start
from clockstep.model import Cause, Episode, Policy, Reading, Resync, Step, Verdict
from clockstep.ports import Node, Output
from clockstep.reach.injection import CHOICE, PERL
from core.simulation import MILLISECOND, SECOND, SimClock, SimGuest

ASKED = Cause("asked for")


def healed(guest: SimGuest, policy: Policy | None = None, cause: Cause = ASKED) -> Episode:
    return heal(Node("node1", guest.reach()), cause, policy or Policy(), guest.clock, lambda _node, _text: None)


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
    assert any("right at the last look" in finding.text for finding in episode.findings)


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

        def adjust(self, by_ns: int) -> None:
            raise AssertionError("a host that jumped is no truth to step to")

        def close(self) -> None:
            pass

    episode = heal(Node("node1", Jumping()), ASKED, Policy(), clock, lambda _node, _text: None)
    assert episode.verdict is Verdict.UNSURE
    assert episode.facts.readings == ()
    assert "set forward by 1 h" in episode.findings[0].text


def test_a_node_without_network_is_good_with_a_warning_once_its_daemon_had_time() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, network=False)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert episode.took_ns >= Policy().deadline_ns
    assert any("not synchronised" in finding.text and finding.remedy for finding in episode.findings)


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
    assert any(finding.text.startswith(f"{program} runs, and does not say") for finding in episode.findings)


@pytest.mark.parametrize("lacking", [{"network": False}, {"chrony": False}, {"chrony": False, "silent": "ntpd\n"}])
def test_where_a_daemon_in_sync_is_required_a_right_clock_alone_is_not_good(lacking: dict[str, Any]) -> None:
    guest = SimGuest(SimClock(), -60 * SECOND, **lacking)
    episode = healed(guest, Policy(require_sync=True))
    assert abs(guest.offset_ns) < MILLISECOND
    assert len(guest.steps) == 1
    assert episode.verdict is Verdict.BAD
    assert any("in sync is required" in finding.text for finding in episode.findings)


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
    """A guest whose answer to the first step is lost, which it makes at once, with the next one, or `never`."""

    makes: str = "at once"
    lost: list[str] | None = None

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[2] == PERL and self.lost is None:
            self.lost = argv
            if self.makes == "at once":
                super()._execute(argv)
            raise ReachError("Cannot recv data: Connection reset by peer")
        if argv[2] == PERL and self.lost and self.makes == "late":
            super()._execute(self.lost)
        return super()._execute(argv)


@pytest.mark.parametrize("makes", ["at once", "late", "never"])
def test_a_step_whose_answer_is_lost_is_in_the_record_once_and_its_daemon_resynced(makes: str) -> None:
    guest = Mute(SimClock(), -60 * SECOND, makes=makes)
    episode = healed(guest)
    assert episode.verdict is Verdict.GOOD
    assert len(guest.steps) == 1
    assert [type(action) for action in episode.actions] == [Step, Resync]


def test_a_daemon_is_resynced_but_not_waited_for_when_something_else_has_happened_to_the_node() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    node, policy = Node("node1", guest.reach()), Policy(require_sync=True)
    episode = heal(node, ASKED, policy, guest.clock, lambda _node, _text: None, overtaken=lambda: True)
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

        def adjust(self, by_ns: int) -> None:
            reach.adjust(by_ns)

        def close(self) -> None:
            pass

    reach = guest.reach()
    episode = heal(Node("node1", Reverted()), ASKED, Policy(), guest.clock, lambda _node, _text: None)
    assert episode.verdict is Verdict.GOOD
    assert len(guest.steps) == 2


def test_looking_changes_nothing_and_says_what_a_step_would_do() -> None:
    guest = SimGuest(SimClock(), -60 * SECOND)
    episode = observe(Node("node1", guest.reach()), ASKED, Policy(), guest.clock)
    assert (episode.verdict, episode.actions, guest.steps) == (Verdict.BAD, (), [])
    assert [type(action) for action in episode.planned] == [Step]
    assert any("claims to be synchronised" in finding.text for finding in episode.findings)


@pytest.mark.parametrize("behind_s", [1, 60, 86_000])
def test_a_guard_that_runs_already_makes_the_step_and_nothing_is_started_for_it(behind_s: int) -> None:
    guest = SimGuest(SimClock(), -behind_s * SECOND, guarded=True)
    assert healed(guest).verdict is Verdict.GOOD
    assert len(guest.steps) == 1
    assert not {CHOICE, PERL} & set(guest.commands)


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
    other = start(Node("node2", wrong.reach()), ASKED, Policy(), clock)
    company.join(other)
    began = clock.mono
    episode = heal(Node("node1", late.reach()), ASKED, Policy(), clock, lambda _node, _text: None, company)
    assert [type(action) for action in episode.actions] == [Step, Resync]
    resynced = clock.mono - began
    company.leave(other)
    alone = SimGuest(clock, -60 * SECOND)
    began = clock.mono
    heal(Node("node1", alone.reach()), ASKED, Policy(), clock, lambda _node, _text: None, company)
    assert PATIENCE_NS - SECOND < resynced - (clock.mono - began) < PATIENCE_NS + SECOND
