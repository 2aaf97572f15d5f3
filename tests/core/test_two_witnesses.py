"""Whether a hypervisor's clock is believed, and what an agent may do by itself: rows of cases."""

import pytest

from clockstep.agent.limits import FOUND, Orders, Record, limited, may_act, noted, remarked, why
from clockstep.core.trail import OFTEN
from clockstep.core.witness import TAI_NS, UNWITNESSED_NS, heaviest, holding, time_scale
from clockstep.model import (
    Cause,
    Claim,
    Decision,
    Episode,
    Facts,
    Offset,
    Policy,
    Reading,
    Step,
    Verdict,
    What,
)
from clockstep.units import DAY_NS, HOUR_NS, MILLISECOND_NS, SECOND_NS

S, MS = SECOND_NS, MILLISECOND_NS


def in_sync(off_ns: int = 0) -> Claim:
    return Claim("chrony", synchronised=True, offset=Offset(off_ns, MS))


@pytest.mark.parametrize(
    ("phc", "claim", "scale"),
    [
        (Offset(0, MS), None, 0),
        (Offset(0, MS), in_sync(), 0),
        (Offset(-3 * S, MS), None, 0),
        (Offset(-37 * S, MS), in_sync(), TAI_NS),
        (Offset(-37 * S, MS), None, None),  # it may be TAI, and this machine may be 37 s behind
        (Offset(-37 * S, MS), Claim("chrony", synchronised=False), None),
        (Offset(-22 * S, MS), in_sync(), None),  # a revert that nobody has noticed, or a wrong host
        (Offset(37 * S, MS), in_sync(), None),
        (Offset(-3600 * S, MS), in_sync(), None),
        (Offset(-3600 * S, MS), in_sync(-3600 * S), 0),  # the machine is behind, and its sources know it
        (Offset(-3637 * S, MS), in_sync(-3600 * S), TAI_NS),
        (Offset(-56 * 365 * DAY_NS, MS), None, None),  # 1970
        (Offset(0, 6 * S), in_sync(), None),
    ],
)
def test_what_a_phc_counts_is_decided_by_evidence(phc: Offset, claim: Claim | None, scale: int | None) -> None:
    assert time_scale(phc, claim) == scale


def seen(read_ns: int, claim: Claim | None) -> Facts:
    return Facts((Reading("local", Offset(read_ns, MS // 10), 0, 100, "phc"),), claim)


@pytest.mark.parametrize(
    ("facts", "held", "holds"),
    [
        (seen(0, in_sync()), False, False),
        (seen(0, in_sync(-50 * MS)), False, False),
        (seen(0, in_sync(-22 * S)), False, True),
        (seen(-22 * S, in_sync()), False, False),  # a revert: chronyd has noticed nothing
        (seen(-22 * S, in_sync()), True, True),
        (seen(-22 * S, in_sync(-22 * S)), True, False),
        (seen(0, in_sync()), True, False),
        (seen(0, None), True, True),
        (seen(0, Claim("chrony", synchronised=False)), False, False),
        (Facts(claim=in_sync()), True, True),
    ],
)
def test_two_truths_that_contradict_each_other_hold_the_steps(facts: Facts, held: bool, holds: bool) -> None:
    before = Offset(3 * HOUR_NS, S) if held else None
    assert (holding(facts, before, 10 * MS) is not None) == holds


@pytest.mark.parametrize("what", [What.REVERTED, What.RESTORED, What.MIGRATED])
def test_what_a_second_signal_tells_of_explains_a_day(what: What) -> None:
    assert why(what, 5, confirmed=False) == Cause(what.value, DAY_NS, 5)


@pytest.mark.parametrize("what", [What.DIVERGED, What.RESUMED, What.SET, None])
def test_the_hypervisors_clock_alone_explains_a_quarter_of_an_hour(what: What | None) -> None:
    assert why(what, 5, confirmed=False).explains_ns == UNWITNESSED_NS
    assert why(what, 5, confirmed=True).explains_ns == DAY_NS


def test_of_two_happenings_the_one_counts_that_explains_more() -> None:
    assert heaviest(What.DIVERGED, What.REVERTED) is What.REVERTED
    assert heaviest(What.SET, None) is What.SET
    assert heaviest(None, None) is None


def corrected(by_ns: int, kind: str = "diverged", verdict: Verdict = Verdict.GOOD, consent: str = "") -> Episode:
    after = Offset(0, MS)
    steps = (Step(by_ns),) if by_ns else ()
    return Episode("n", Cause(kind), verdict, after, steps, after, Facts(), (), 0, 0, consent=consent)


def test_all_steps_together_have_a_limit() -> None:
    orders = Orders(Policy(max_backward_ns=DAY_NS), accumulated_ns=2 * HOUR_NS)
    record = noted(noted(Record(), corrected(HOUR_NS), 1), corrected(-HOUR_NS // 2), 2)
    assert record.stepped_ns == 3 * HOUR_NS // 2
    policy, cause = limited(orders, record, Cause("reverted"))
    assert cause.explains_ns == policy.max_backward_ns == HOUR_NS // 2
    given, _ = limited(Orders(Policy(max_forward_ns=DAY_NS), accumulated_ns=2 * HOUR_NS), record, FOUND)
    assert given.max_forward_ns == HOUR_NS // 2
    left = noted(record, corrected(DAY_NS), 3)
    assert limited(orders, left, Cause("reverted"))[1].explains_ns == 0
    said = remarked(orders, left, corrected(0, verdict=Verdict.BAD, consent="--max-forward"), 4)
    assert said.consent == "--max-accumulated"
    assert [finding.check for finding in said.findings] == ["accumulated"]


def test_a_clock_that_is_pulled_away_again_and_again_is_left_alone_but_for_what_a_second_signal_tells_of() -> None:
    orders, record = Orders(Policy()), Record()
    for at_ns in range(OFTEN):
        assert may_act(orders, record, What.DIVERGED, at_ns)
        record = noted(record, corrected(S), at_ns)
    assert not may_act(orders, record, What.DIVERGED, OFTEN)
    assert may_act(orders, record, What.REVERTED, OFTEN)
    assert remarked(orders, record, corrected(0, verdict=Verdict.BAD), OFTEN).decision is Decision.REFUSED
    reverts = Record()
    for at_ns in range(OFTEN):
        reverts = noted(reverts, corrected(S, "reverted"), at_ns)
    assert may_act(orders, reverts, What.DIVERGED, OFTEN)


def test_what_is_held_or_only_observed_is_not_stepped_and_the_first_is_said() -> None:
    held = Record(held=Offset(3 * HOUR_NS, S))
    assert not may_act(Orders(Policy()), held, What.REVERTED, 1)
    assert not may_act(Orders(Policy(), act=False), Record(), What.REVERTED, 1)
    (finding,) = remarked(Orders(Policy()), held, corrected(0), 1).findings
    assert finding.verdict is Verdict.UNSURE
    assert "3 h" in finding.text
