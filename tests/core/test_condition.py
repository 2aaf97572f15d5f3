"""The condition of a Node: what it says of a clock, who wrote it, and that it says the same while the same holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.condition import ClockState, clock_state, coarse, condition, shown, writer_name, writer_of
from clockstep.model import Cause, Decision, Episode, Facts, Finding, KubeCondition, Offset, Reading, Verdict
from clockstep.units import DAY_NS, HOUR_NS, MILLISECOND_NS, SECOND_NS, parse_duration

TEN_MS = 10 * MILLISECOND_NS
NOW = 1_800_000_000 * SECOND_NS
NS = st.integers(-100 * 365 * DAY_NS, 100 * 365 * DAY_NS)
BOUNDS = st.integers(0, 365 * DAY_NS)


def look(
    verdict: Verdict,
    offset: Offset | None = None,
    decision: Decision = Decision.NOTHING,
    consent: str = "",
    moved_ns: int = 0,
) -> Episode:
    readings = (Reading("agent", offset, NOW, 1000),) if offset else ()
    facts = Facts(readings, reference_moved_ns=moved_ns)
    return Episode(
        "web", Cause("found"), verdict, offset, (), offset, facts, (), NOW, 1, decision=decision, consent=consent
    )


BEHIND = Offset(-36_002 * MILLISECOND_NS, 4 * MILLISECOND_NS)
TABLE = [
    (look(Verdict.GOOD, Offset(3000, 2000)), "False", "ClockInBounds", "offset within ± 10 ms"),
    (
        look(Verdict.BAD, BEHIND, Decision.CONSENT, "--max-forward"),
        "True",
        "ClockOutOfBounds",
        "offset -36 s ± 1 s, beyond ± 10 ms; a step needs --max-forward",
    ),
    (
        look(Verdict.BAD, Offset(120_400_000, 1_000_000), Decision.LEAVE),
        "True",
        "ClockOutOfBounds",
        "offset +120 ms ± 10 ms, beyond ± 10 ms; left to its time daemon",
    ),
    (
        look(Verdict.BAD, BEHIND, Decision.REFUSED),
        "True",
        "ClockOutOfBounds",
        "offset -36 s ± 1 s, beyond ± 10 ms; stepped again and again, something else sets it",
    ),
    (
        replace(look(Verdict.BAD, BEHIND, Decision.REFUSED), findings=(Finding("held", Verdict.UNSURE, "apart"),)),
        "True",
        "ClockOutOfBounds",
        "offset -36 s ± 1 s, beyond ± 10 ms; "
        "not stepped, because the hypervisor's clock and the time sources contradict each other",
    ),
    (
        look(Verdict.BAD, BEHIND, Decision.STEP),
        "True",
        "ClockOutOfBounds",
        "offset -36 s ± 1 s, beyond ± 10 ms",
    ),
    (look(Verdict.BAD, Offset(3000, 2000)), "False", "ClockInBounds", "offset within ± 10 ms"),
    (
        look(Verdict.UNSURE, Offset(0, 5 * SECOND_NS)),
        "Unknown",
        "ClockUnsure",
        "offset 0 s ± 7.5 s, not surely within ± 10 ms",
    ),
    (look(Verdict.UNREACHABLE), "Unknown", "ClockUnsure", "the clock could not be read"),
    (
        look(Verdict.UNSURE, moved_ns=SECOND_NS),
        "Unknown",
        "ClockUnsure",
        "the clock that it is compared with was set meanwhile",
    ),
]


@pytest.mark.parametrize(("episode", "status", "reason", "text"), TABLE)
def test_a_condition_says_what_a_look_came_to_and_who_says_so(
    episode: Episode, status: str, reason: str, text: str
) -> None:
    said = condition(clock_state(episode, TEN_MS), "watch@kvm1", NOW, None)
    assert (said.status, said.reason, said.message) == (status, reason, f"{text} (clockstep watch@kvm1)")
    assert (said.heartbeat_ns, said.changed_ns) == (NOW, NOW)
    assert writer_of(said) == "watch@kvm1"


def test_a_daemon_that_is_not_in_sync_as_was_wanted_makes_no_clock_out_of_bounds() -> None:
    assert clock_state(look(Verdict.BAD, Offset(0, 1000)), TEN_MS).reason == "ClockInBounds"


def test_the_status_has_changed_when_it_was_first_written_whoever_wrote_it() -> None:
    good = clock_state(look(Verdict.GOOD, Offset(0, 1)), TEN_MS)
    first = condition(good, "watch@kvm1", NOW, None)
    restarted = condition(good, "watch@kvm2", NOW + HOUR_NS, first)
    assert (restarted.changed_ns, restarted.heartbeat_ns) == (NOW, NOW + HOUR_NS)
    bad = condition(clock_state(look(Verdict.BAD, BEHIND), TEN_MS), "watch@kvm1", NOW + 2 * HOUR_NS, restarted)
    assert bad.changed_ns == NOW + 2 * HOUR_NS
    unread = KubeCondition("True", changed_ns=None)
    assert condition(clock_state(look(Verdict.BAD, BEHIND), TEN_MS), "w@h", NOW, unread).changed_ns == NOW


@pytest.mark.parametrize(
    ("message", "writer"),
    [
        ("", ""),
        ("the ntp service is down", ""),
        ("offset within ± 10 ms (clockstep watch@kvm1)", "watch@kvm1"),
        ("offset within ± 10 ms (clockstep watch@kvm1) ", ""),
        ("(clockstep watch@kvm1) something else", ""),
        ("x (clockstep watch@a) (clockstep agent@node-1.example)", "agent@node-1.example"),
        ("x (clockstep watch@" + "a" * 300 + ")", ""),
        ("x (clockstep watch@a\nb)", ""),
    ],
)
def test_a_writer_is_read_from_the_end_of_a_message_and_from_nowhere_else(message: str, writer: str) -> None:
    assert writer_of(KubeCondition("False", message=message)) == writer


@given(st.text())
def test_whatever_a_host_is_called_its_writer_can_be_read_again(host: str) -> None:
    writer = writer_name("watch", host)
    assert writer_of(condition(ClockState("ClockInBounds", 1), writer, NOW, None)) == writer


@given(NS, BOUNDS)
def test_a_coarse_offset_has_the_measured_one_in_it_and_is_printed_as_it_is(value_ns: int, error_ns: int) -> None:
    offset = Offset(value_ns, error_ns)
    said = coarse(offset)
    assert said.earliest_ns <= offset.earliest_ns
    assert offset.latest_ns <= said.latest_ns
    value, bound = shown(said).split(" ± ")
    assert parse_duration(bound) == said.error_ns
    assert parse_duration(value.lstrip("+-")) * (-1 if value.startswith("-") else 1) == said.value_ns


@given(NS, BOUNDS)
def test_a_coarse_offset_is_not_much_vaguer_than_what_was_measured(value_ns: int, error_ns: int) -> None:
    said, largest = coarse(Offset(value_ns, error_ns)), max(abs(value_ns), error_ns)
    assert said.error_ns <= 1.8 * error_ns + largest * 0.15 + 2


@given(st.integers(20 * MILLISECOND_NS, DAY_NS), st.lists(st.tuples(st.floats(-1, 1), st.floats(0.5, 1)), max_size=30))
def test_noise_within_the_measured_bound_changes_no_word(far_ns: int, noise: list[tuple[float, float]]) -> None:
    error_ns = far_ns // 40
    first = clock_state(look(Verdict.BAD, Offset(far_ns, error_ns)), TEN_MS)
    state = first
    for moved, narrowed in noise:
        near = Offset(far_ns + int(moved * error_ns // 2), int(error_ns * narrowed))
        state = clock_state(look(Verdict.BAD, near), TEN_MS, state)
        assert state == first


def test_what_is_said_is_said_anew_once_it_is_no_longer_true_or_far_too_vague() -> None:
    vague = clock_state(look(Verdict.UNSURE, Offset(0, 5 * SECOND_NS)), TEN_MS)
    assert clock_state(look(Verdict.UNSURE, Offset(0, 4 * SECOND_NS)), TEN_MS, vague) is vague
    narrow = clock_state(look(Verdict.UNSURE, Offset(0, SECOND_NS // 10)), TEN_MS, vague)
    assert narrow.text == "offset 0 s ± 150 ms, not surely within ± 10 ms"
    beyond = clock_state(look(Verdict.UNSURE, Offset(SECOND_NS, SECOND_NS)), TEN_MS, narrow)
    assert beyond.text == "offset +1 s ± 1.5 s, not surely within ± 10 ms"


def test_another_tolerance_or_another_obstacle_is_said_at_once() -> None:
    before = clock_state(look(Verdict.BAD, BEHIND, Decision.STEP), TEN_MS)
    assert clock_state(look(Verdict.BAD, BEHIND, Decision.STEP), SECOND_NS, before).text.endswith("± 1 s")
    assert clock_state(look(Verdict.BAD, BEHIND, Decision.LEAVE), TEN_MS, before).note == "left to its time daemon"
