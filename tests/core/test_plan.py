"""What is decided: only what is surely wrong, within what the policy and the cause allow."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.checks import judge, worst
from clockstep.core.plan import consent, decide, explained, hopeless, plan
from clockstep.model import Cause, Claim, Decision, Facts, Offset, Policy, Reading, Resync, Step, Trouble, Verdict

SECOND = 10**9
DAY = 86_400 * SECOND
offsets = st.builds(Offset, st.integers(-(10**15), 10**15), st.integers(0, 10**13))
claims = st.none() | st.builds(Claim, st.just("chrony"), st.booleans())
facts = st.builds(
    Facts,
    readings=st.lists(st.builds(Reading, st.just("agent"), offsets, st.just(0)), max_size=3).map(tuple),
    claim=claims,
    trouble=st.just(()) | st.just((Trouble("deaf"),)),
    host_jumped_ns=st.sampled_from([0, 0, 5 * SECOND]),
)
policies = st.builds(
    Policy,
    tolerance_ns=st.integers(0, SECOND),
    max_forward_ns=st.none() | st.integers(0, 10**15),
    max_backward_ns=st.integers(0, 10**15),
)


def seen(value_ns: int, error_ns: int = 1000, claim: Claim | None = None) -> Facts:
    return Facts((Reading("agent", Offset(value_ns, error_ns), 0, 0),), claim)


def verdict(looked: Facts, policy: Policy) -> Verdict:
    return worst(judge(looked, policy))


@given(facts, policies)
def test_only_a_clock_that_is_surely_wrong_is_stepped(looked: Facts, policy: Policy) -> None:
    if any(isinstance(action, Step) for action in plan(looked, policy)):
        assert verdict(looked, policy) is Verdict.BAD


@given(facts, policies)
def test_no_plan_exceeds_the_policy(looked: Facts, policy: Policy) -> None:
    for action in plan(looked, policy):
        if isinstance(action, Step):
            forward = DAY if policy.max_forward_ns is None else policy.max_forward_ns
            assert -policy.max_backward_ns <= action.by_ns <= forward


@given(facts, policies, policies)
def test_the_verdict_is_the_same_whatever_is_allowed(looked: Facts, policy: Policy, other: Policy) -> None:
    allowing = replace(other, tolerance_ns=policy.tolerance_ns)
    assert verdict(looked, policy) is verdict(looked, allowing)


@given(facts, policies)
def test_what_is_decided_goes_with_what_was_measured(looked: Facts, policy: Policy) -> None:
    decided, seen = decide(looked, policy), verdict(looked, policy)
    assert bool(consent(looked, policy)) is (decided is Decision.CONSENT)
    assert (decided is Decision.REFUSED) is bool(looked.host_jumped_ns)
    if decided in {Decision.STEP, Decision.CONSENT}:
        assert seen is Verdict.BAD
    if seen is Verdict.GOOD:
        assert decided is Decision.NOTHING
    if decided is not Decision.STEP:
        assert not any(isinstance(action, Step) for action in plan(looked, policy))


@given(facts, policies)
def test_the_option_that_is_named_gives_consent(looked: Facts, policy: Policy) -> None:
    widest = {
        "--max-forward": replace(policy, max_forward_ns=10**17),
        "--allow-backward": replace(policy, max_backward_ns=10**17),
    }
    if option := consent(looked, policy):
        assert decide(looked, widest[option]) is Decision.STEP


@given(st.integers(1, 10**12), st.integers(-(10**12), 10**12), st.integers(0, 10**9))
def test_readings_that_contradict_each_other_never_step(apart: int, value: int, error: int) -> None:
    said = [Offset(value, error), Offset(value + 2 * error + apart, error)]
    looked = Facts(tuple(Reading("agent", offset, 0, 0) for offset in said))
    assert verdict(looked, Policy()) in {Verdict.GOOD, Verdict.UNSURE}
    assert plan(looked, Policy()) == ()


@given(st.integers(-(10**12), 10**12), st.integers(11 * 10**6, 10**12))
def test_a_wide_error_bound_never_steps(value: int, error: int) -> None:
    looked = seen(value, abs(value) + error)
    assert verdict(looked, Policy()) is Verdict.UNSURE
    assert plan(looked, Policy()) == ()


@given(st.integers(11 * 10**6, DAY - 10**6))
def test_a_clock_that_is_behind_is_stepped_forward_by_what_it_is_behind(behind: int) -> None:
    assert plan(seen(-behind), Policy()) == (Step(behind),)


def test_more_than_a_day_behind_without_a_cause_may_be_a_wrong_host() -> None:
    looked = seen(-DAY - SECOND)
    assert verdict(looked, Policy()) is Verdict.BAD
    assert (decide(looked, Policy()), consent(looked, Policy())) == (Decision.CONSENT, "--max-forward")
    assert plan(looked, Policy()) == ()
    assert hopeless(looked, Policy())


def test_a_revert_explains_its_snapshots_age_and_no_more() -> None:
    policy = explained(Policy(), Cause("reverted", explains_ns=3 * DAY))
    assert plan(seen(-2 * DAY), policy) == (Step(2 * DAY),)
    assert plan(seen(-4 * DAY), policy) == ()


def test_the_users_own_limit_counts_more_than_the_cause() -> None:
    policy = explained(Policy(max_forward_ns=SECOND), Cause("reverted", explains_ns=3 * DAY))
    assert policy.max_forward_ns == SECOND


def test_a_step_backward_needs_consent_and_says_what_it_may_break() -> None:
    looked = seen(5 * SECOND)
    assert plan(looked, Policy()) == ()
    assert consent(looked, Policy()) == "--allow-backward"
    assert any("tokens" in finding.text for finding in judge(looked, Policy()))
    assert plan(looked, Policy(max_backward_ns=DAY)) == (Step(-5 * SECOND),)


def test_a_host_whose_clock_jumped_is_no_truth_to_step_to() -> None:
    looked = replace(seen(-5 * SECOND), host_jumped_ns=3 * SECOND)
    assert verdict(looked, Policy()) is Verdict.UNSURE
    assert plan(looked, Policy()) == ()


def test_a_daemon_that_claims_to_be_synchronised_while_wrong_is_found_out() -> None:
    findings = judge(seen(-342 * SECOND, claim=Claim("chrony", synchronised=True)), Policy())
    assert any(finding.check == "daemon" and finding.verdict is Verdict.BAD for finding in findings)


def test_a_right_clock_with_a_daemon_out_of_sync_is_good_with_a_warning() -> None:
    findings = judge(seen(0, claim=Claim("chrony", synchronised=False)), Policy())
    assert worst(findings) is Verdict.GOOD
    assert any(finding.remedy for finding in findings)


def test_a_daemon_is_resynced_once_for_each_step() -> None:
    claimed = seen(0, claim=Claim("chrony", synchronised=True))
    assert plan(claimed, Policy(), [Step(1)]) == (Resync("chrony"),)
    assert plan(claimed, Policy(), [Step(1), Resync("chrony")]) == ()
    assert plan(claimed, Policy(), [Step(1), Resync("chrony"), Step(2)]) == (Resync("chrony"),)
    assert plan(claimed, Policy()) == ()


def test_a_clock_that_cannot_be_read_is_unreachable_and_says_why() -> None:
    looked = Facts(trouble=(Trouble("the agent is deaf", "wake it"),))
    assert verdict(looked, Policy()) is Verdict.UNREACHABLE
    assert any(
        (finding.text, finding.remedy) == ("the agent is deaf", "wake it") for finding in judge(looked, Policy())
    )
