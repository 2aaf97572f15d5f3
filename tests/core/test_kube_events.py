"""Events: a correction in one sentence, what happens again counted, and never many of one kind."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.condition import ClockState, clock_state
from clockstep.core.kube_events import MOST, QUIET_NS, Recent, events_of, joined
from clockstep.model import Action, Cause, Episode, KubeEvent, Offset, Resync, Step, Verdict
from clockstep.units import MILLISECOND_NS, SECOND_NS
from core.test_condition import BEHIND, NOW, TEN_MS, look

STEP = Step(36_002 * MILLISECOND_NS)
GOOD = look(Verdict.GOOD, Offset(0, 1000))


def corrected(*actions: Action, since_ns: int | None = 5, wrong_for_ns: int | None = 310 * MILLISECOND_NS) -> Episode:
    cause = Cause("reverted", since_ns=since_ns, detail="base")
    return replace(GOOD, cause=cause, before=BEHIND, actions=actions, wrong_for_ns=wrong_for_ns)


@pytest.mark.parametrize(
    ("episode", "expected"),
    [
        (GOOD, []),
        (
            corrected(STEP, Resync("chrony")),
            [("Normal", "ClockStepped", "clock stepped by +36.002 s: reverted; it was off for 310 ms")],
        ),
        (
            corrected(STEP, Step(-2 * MILLISECOND_NS), since_ns=None),
            [("Normal", "ClockStepped", "clock stepped by +36.000 s: reverted; it was off for at least 310 ms")],
        ),
        (corrected(STEP, wrong_for_ns=None), [("Normal", "ClockStepped", "clock stepped by +36.002 s: reverted")]),
        (corrected(replace(STEP, unconfirmed=True)), []),
        (look(Verdict.UNREACHABLE), [("Warning", "ClockUnsure", "the clock could not be read")]),
        (
            replace(corrected(STEP, wrong_for_ns=None), verdict=Verdict.BAD, facts=look(Verdict.BAD, BEHIND).facts),
            [
                ("Normal", "ClockStepped", "clock stepped by +36.002 s: reverted"),
                ("Warning", "ClockOutOfBounds", "offset -36 s ± 1 s, beyond ± 10 ms"),
            ],
        ),
    ],
)
def test_an_episode_is_worth_an_event_for_its_steps_and_one_for_what_could_not_be_corrected(
    episode: Episode, expected: list[tuple[str, str, str]]
) -> None:
    events = events_of("node-1", episode, clock_state(episode, TEN_MS), "reverted", NOW)
    assert [(one.type, one.reason, one.message) for one in events] == expected
    assert {(one.node, one.at_ns, one.count) for one in events} <= {("node-1", NOW, 1)}


def event(message: str, at_ns: int) -> KubeEvent:
    return KubeEvent("node-1", "Warning", "ClockUnsure", message, at_ns)


def test_an_event_of_the_same_words_counts_up_until_it_has_been_quiet() -> None:
    recent: tuple[Recent, ...] = ()
    for number in range(3):
        recent = joined(recent, event("unread", NOW + number), number * (QUIET_NS - 1))
    (one,) = recent
    assert (one.event.count, one.event.first_ns, one.event.at_ns) == (3, NOW, NOW + 2)
    (again,) = joined(recent, event("unread", NOW + 9), 4 * QUIET_NS)
    assert (again.event.count, again.event.first_ns) == (1, NOW + 9)


def test_many_events_that_differ_in_their_words_become_one() -> None:
    recent: tuple[Recent, ...] = ()
    for number in range(MOST + 3):
        recent = joined(recent, event(f"off by {number} s", NOW + number), number * SECOND_NS)
    assert len(recent) == MOST
    last = recent[-1].event
    assert last.message == f"(combined from similar events) off by {MOST + 2} s"
    assert (last.count, last.first_ns) == (4, NOW + MOST - 1)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=200))
def test_none_is_lost_and_there_are_never_many(happened: list[tuple[int, int]]) -> None:
    recent: tuple[Recent, ...] = ()
    recorded, now_ns = dict[int, int](), 0
    for number, (words, seconds) in enumerate(happened):
        now_ns += seconds * SECOND_NS
        recent = joined(recent, event(f"{words}", NOW + number), now_ns)
        last = recent[-1].event
        recorded[last.first_ns] = last.count
        assert len(recent) <= MOST
        assert len({one.event.first_ns for one in recent}) == len(recent)
    assert sum(recorded.values()) == len(happened)


def test_a_state_that_holds_has_the_same_words() -> None:
    state: ClockState | None = None
    words = set()
    for moved_ns in range(0, 10 * MILLISECOND_NS, MILLISECOND_NS):
        episode = look(Verdict.BAD, Offset(BEHIND.value_ns + moved_ns, BEHIND.error_ns))
        state = clock_state(episode, TEN_MS, state)
        words |= {one.message for one in events_of("node-1", episode, state, "found", NOW)}
    assert words == {"offset -36 s ± 1 s, beyond ± 10 ms"}
