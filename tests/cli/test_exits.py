"""Exit codes: what each error, Episode and report ends with, and that the worst of several counts."""

from dataclasses import replace

import pytest

from clockstep.cli.exits import (
    ERRORS,
    SEVERITY,
    Exit,
    of_cluster,
    of_doctor,
    of_episodes,
    of_error,
    of_report,
    of_set,
    of_setup,
    worst,
)
from clockstep.core.setup import SetupNode, SetupOutcome, SetupPlan, SetupReport, failed
from clockstep.errors import (
    BusyError,
    ClockstepError,
    ConfinedError,
    HostError,
    HypervisorError,
    InternalError,
    JournalError,
    ReachError,
    UsageError,
)
from clockstep.loop.episodes import troubled
from clockstep.model import (
    AftermathReport,
    Cause,
    ClusterOutcome,
    ClusterState,
    Diagnosis,
    DoctorReport,
    Episode,
    Facts,
    Freeze,
    HostClock,
    Issue,
    Level,
    Looked,
    Report,
    SetReport,
    State,
    Trouble,
    Verdict,
)

HOST = HostClock(synchronised=True, max_error_ns=0)
GOOD = Episode("node", Cause("asked"), Verdict.GOOD, None, (), None, Facts(()), (), 0, 0)
BUG = InternalError(TypeError("x"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (HypervisorError("x"), 3),
        (ReachError("x"), 3),
        (ConfinedError("x"), 3),
        (BUG, 4),
        (BusyError("x"), 5),
        (HostError("x"), 6),
        (JournalError("x"), 6),
        (ClockstepError("nothing was changed"), 6),
    ],
)
def test_an_error_has_one_exit_code(error: ClockstepError, code: int) -> None:
    assert of_error(error) == code


def test_of_the_errors_a_special_one_comes_before_its_general_one() -> None:
    kinds = [kind for kind, _ in ERRORS]
    assert all(not issubclass(later, earlier) for at, earlier in enumerate(kinds) for later in kinds[at + 1 :])


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.GOOD, 0), (Verdict.BAD, 1), (Verdict.UNSURE, 1), (Verdict.UNREACHABLE, 3)]
)
def test_a_clock_that_is_not_proven_is_1_and_one_that_was_not_read_is_3(verdict: Verdict, code: int) -> None:
    assert of_episodes([GOOD, replace(GOOD, verdict=verdict)]) == code


@pytest.mark.parametrize(("error", "code"), [(BusyError("x"), 5), (BUG, 4), (ReachError("x"), 3)])
def test_what_kept_one_node_from_being_read_is_the_exit_code(error: ClockstepError, code: int) -> None:
    unread = replace(GOOD, verdict=Verdict.UNREACHABLE, facts=Facts((), None, (troubled(error),)))
    assert of_episodes([GOOD, unread]) == code
    assert of_episodes([GOOD, replace(unread, verdict=Verdict.GOOD)]) == (4 if error is BUG else 0)


def test_a_set_that_is_not_complete_is_6_and_workloads_in_trouble_are_1() -> None:
    report = SetReport(HOST, None, True, (), (GOOD,))
    assert of_set(report) == 0
    assert of_set(replace(report, complete=False)) == 6
    assert of_set(replace(report, freezes=(Freeze("node", (), trouble=Trouble("x")),))) == 1
    unread = replace(GOOD, verdict=Verdict.UNREACHABLE)
    assert of_set(replace(report, complete=False, episodes=(unread,))) == 3


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (ClusterOutcome.WORKS, 0),
        (ClusterOutcome.NOT_WAITED, 0),
        (ClusterOutcome.LATE, 1),
        (ClusterOutcome.UNMATCHED, 1),
        (ClusterOutcome.UNKNOWN, 3),
    ],
)
def test_a_cluster_that_is_not_seen_to_work_is_1_and_one_that_could_not_be_asked_is_3(
    outcome: ClusterOutcome, code: int
) -> None:
    state = ClusterState(outcome)
    report = SetReport(HOST, None, True, (), (GOOD,), cluster=state)
    assert (of_report(Report(HOST, (GOOD,), cluster=state)), of_set(report)) == (code, code)
    assert of_report(Report(HOST, (replace(GOOD, verdict=Verdict.BAD),), cluster=state)) == max(code, 1)
    assert of_cluster(replace(state, cordoned=("a",))) == (3 if code == 3 else 6)
    assert of_cluster(replace(state, trouble=troubled(BUG))) == 4


def test_without_a_cluster_only_the_clocks_count() -> None:
    assert of_report(Report(HOST, (GOOD,))) == 0


@pytest.mark.parametrize(
    ("outcome", "code", "strict"),
    [
        (SetupOutcome.UNCHANGED, 0, 0),
        (SetupOutcome.WOULD_CHANGE, 0, 1),
        (SetupOutcome.SET_UP, 0, 0),
        (SetupOutcome.DEFINED, 0, 0),
        (SetupOutcome.PUT_BACK, 0, 0),
        (SetupOutcome.NOT_PUT_BACK, 6, 6),
        (SetupOutcome.REFUSED, 6, 6),
        (SetupOutcome.FAILED, 1, 1),
        (SetupOutcome.LEFT_ALONE, 6, 6),
        (SetupOutcome.UNREACHED, 3, 3),
        (SetupOutcome.LOCKED, 5, 5),
    ],
)
def test_every_outcome_of_a_setup_has_its_code(outcome: SetupOutcome, code: int, strict: int) -> None:
    report = SetupReport(HOST, (SetupNode("node", outcome),))
    assert (of_setup(report, strict=False), of_setup(report, strict=True)) == (code, strict)


def test_a_node_that_is_set_up_and_not_proven_is_1() -> None:
    unproven = SetupNode("node", SetupOutcome.UNCHANGED, "set up, but not verified", SetupPlan())
    assert of_setup(SetupReport(HOST, (unproven,)), strict=False) == 1


def test_a_locked_node_is_no_unreachable_one_in_a_setup() -> None:
    assert failed("node", BusyError("x")).outcome is SetupOutcome.LOCKED
    assert failed("node", ReachError("x", "do that")) == SetupNode("node", SetupOutcome.UNREACHED, "x; do that")


@pytest.mark.parametrize(
    ("check", "level", "code"),
    [
        ("offset", Level.ERROR, 1),
        ("makestep", Level.WARNING, 0),
        ("clocksource", Level.NOTE, 0),
        ("reach", Level.ERROR, 3),
        ("reach", Level.NOTE, 0),
    ],
)
def test_the_doctor_fails_for_errors_alone(check: str, level: Level, code: int) -> None:
    issue = Issue(check, level, "x")
    assert of_doctor(DoctorReport(HOST, (), (Diagnosis("node", (issue,)),))) == code
    assert of_doctor(DoctorReport(HOST, (issue,), ())) == code


def test_of_several_codes_the_worst_counts() -> None:
    assert worst(()) == Exit.GOOD
    assert [worst((one, Exit.UNPROVEN)) for one in SEVERITY] == [1, 1, 6, 5, 3, 4]


AFTERMATH = {
    "clean": (AftermathReport(0, (Looked("CS-X", "x", State.CLEAN), Looked("CS-Y", "y", State.ABSENT))), Exit.GOOD),
    "broken": (
        AftermathReport(0, (Looked("CS-X", "x", State.NOT_LOOKED), Looked("CS-Y", "y", State.BROKEN))),
        Exit.UNPROVEN,
    ),
    "not looked": (AftermathReport(0, (Looked("CS-X", "x", State.NOT_LOOKED),)), Exit.UNREACHABLE),
    "away": (
        AftermathReport(0, (Looked("CS-X", "x", State.NOT_LOOKED),), trouble=Trouble("no answer")),
        Exit.UNREACHABLE,
    ),
    "bug": (AftermathReport(0, (), trouble=troubled(BUG)), Exit.BUG),
}


@pytest.mark.parametrize(("aftermath", "code"), AFTERMATH.values(), ids=AFTERMATH)
def test_a_run_that_ends_with_the_aftermath_ends_with_its_own_failure_or_else_with_that(
    aftermath: AftermathReport, code: Exit
) -> None:
    bad = replace(GOOD, verdict=Verdict.UNREACHABLE)
    assert of_report(Report(HOST, (GOOD,), aftermath=aftermath)) is code
    assert of_report(Report(HOST, (bad,), aftermath=aftermath)) is Exit.UNREACHABLE
    assert of_set(SetReport(HOST, None, True, (), (GOOD,), aftermath=aftermath)) is code
    assert of_set(SetReport(HOST, None, False, (), (GOOD,), aftermath=aftermath)) is Exit.REFUSED
    late = ClusterState(ClusterOutcome.LATE)
    assert of_report(Report(HOST, (GOOD,), cluster=late, aftermath=aftermath)) is Exit.UNPROVEN
