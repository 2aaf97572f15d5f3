"""The guest agent's answers: nothing of them is believed before it was checked."""

import base64
import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.errors import DeadlineError, ReachError
from clockstep.reach.agent import RESOLUTION_NS, AgentReach
from clockstep.reach.sampling import COARSE_NS

SECOND, MILLISECOND = 10**9, 10**6


class Host:
    """This machine's clocks, a microsecond further at each look."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def realtime_ns(self) -> int:
        return self.monotonic_ns()

    def monotonic_ns(self) -> int:
        self.now += 1000
        return self.now

    def boottime_ns(self) -> int:
        return self.monotonic_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        self.now += duration_ns


class Agent:
    """A channel whose answers are given."""

    def __init__(
        self, time: tuple[int, int] = (0, 0), answer: Callable[[dict[str, object]], bytes] | None = None
    ) -> None:
        self._time = time
        self._answer = answer
        self.asked: list[dict[str, object]] = []

    def time(self) -> tuple[int, int]:
        return self._time

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        raise AssertionError("nothing is set here")

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        self.asked.append(json.loads(request))
        assert self._answer is not None
        return self._answer(self.asked[-1])


def reach(agent: Agent) -> AgentReach:
    return AgentReach(agent, Host())


@pytest.mark.parametrize("time", [(-1, 0), (2**63 // SECOND, 0), (10**15, 0), (5, -1), (5, SECOND)])
def test_a_time_before_1970_or_after_2262_or_no_time_at_all_is_refused(time: tuple[int, int]) -> None:
    with pytest.raises(ReachError):
        reach(Agent(time)).clock()


def test_a_clock_that_is_read_is_bounded_by_its_round_trip_and_resolution() -> None:
    host = Host()
    offset = AgentReach(Asked(host, 60 * SECOND, 1000), host).clock().offset
    assert offset.earliest_ns <= 60 * SECOND <= offset.latest_ns + 100_000
    assert offset.error_ns < 100_000


def test_readings_that_contradict_each_other_are_a_wide_bound() -> None:
    times = itertools.cycle([(1_800_000_000, 0), (1_700_000_000, 0), (1_600_000_000, 0), (1_500_000_000, 0), (1, 0)])

    class Wandering(Agent):
        def time(self) -> tuple[int, int]:
            return next(times)

    assert reach(Wandering()).clock().offset.error_ns > 10**8 * SECOND


def test_a_command_runs_to_its_end_with_its_input_and_both_outputs() -> None:
    statuses = iter([{"exited": False}, {"exited": True, "exitcode": 3, "out-data": "aGk=", "err-data": "aG8="}])

    def answer(asked: dict[str, object]) -> bytes:
        done = {"pid": 7} if asked["execute"] == "guest-exec" else next(statuses)
        return json.dumps({"return": done}).encode()

    agent = Agent(answer=answer)
    assert reach(agent).run(["/bin/cat", "-"], b"in", 1_800_000_100 * SECOND) == (3, "hi", "ho")
    arguments = agent.asked[0]["arguments"]
    assert arguments == {
        "path": "/bin/cat",
        "arg": ["-"],
        "capture-output": True,
        "input-data": base64.b64encode(b"in").decode(),
    }


def test_a_command_that_does_not_end_is_given_up_at_its_deadline() -> None:
    def answer(asked: dict[str, object]) -> bytes:
        return json.dumps({"return": {"pid": 7} if asked["execute"] == "guest-exec" else {"exited": False}}).encode()

    with pytest.raises(DeadlineError):
        reach(Agent(answer=answer)).run(["/bin/sleep", "9"], b"", 1_800_000_005 * SECOND)


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff\x00", b"[]", b"{}", b'{"return": {}}', b'{"return": {"pid": "x"}}', b"a" * 10**6]
)
def test_garbage_is_a_sick_node_and_not_a_bug(garbage: bytes) -> None:
    with pytest.raises(ReachError) as caught:
        reach(Agent(answer=lambda _asked: garbage)).run(["/bin/true"], b"", 1_800_000_100 * SECOND)
    assert len(caught.value.message) <= 1024


def test_output_that_is_not_base64_is_a_sick_node() -> None:
    def answer(asked: dict[str, object]) -> bytes:
        done = {"pid": 7} if asked["execute"] == "guest-exec" else {"exited": True, "exitcode": 0, "out-data": "*"}
        return json.dumps({"return": done}).encode()

    with pytest.raises(ReachError, match="base64"):
        reach(Agent(answer=answer)).run(["/bin/true"], b"", 1_800_000_100 * SECOND)


class Asked(Agent):
    """An agent whose clock is `off_ns` from the host's, and that answers after `takes_ns`."""

    def __init__(self, host: Host, off_ns: int, takes_ns: int) -> None:
        super().__init__()
        self.host, self.off_ns, self.takes_ns = host, off_ns, takes_ns
        self.questions = 0

    def time(self) -> tuple[int, int]:
        self.questions += 1
        self.host.now += self.takes_ns
        return divmod(self.host.now + self.off_ns, SECOND)


@pytest.mark.parametrize(
    ("off_ns", "takes_ns", "questions"), [(MILLISECOND, MILLISECOND, 2), (9 * MILLISECOND, 3 * MILLISECOND, 20)]
)
def test_a_clock_that_is_seen_to_be_right_is_asked_no_more(off_ns: int, takes_ns: int, questions: int) -> None:
    host = Host()
    agent = Asked(host, off_ns, takes_ns)
    AgentReach(agent, host).clock(within_ns=10 * MILLISECOND)
    assert agent.questions == questions
    AgentReach(agent, host).clock()
    assert agent.questions > questions + 2


@pytest.mark.parametrize(("takes_ns", "most"), [(3 * MILLISECOND, 8), (8 * MILLISECOND, 8), (15 * MILLISECOND, 20)])
def test_a_slow_way_is_not_asked_on_when_it_tells_no_more(takes_ns: int, most: int) -> None:
    host = Host()
    agent = Asked(host, 60 * MILLISECOND, takes_ns)
    offset = AgentReach(agent, host).clock().offset
    assert agent.questions <= most
    assert offset.earliest_ns <= 60 * MILLISECOND <= offset.latest_ns
    assert offset.error_ns <= takes_ns


@pytest.mark.parametrize("slewed_ppm", [-90_000, 90_000])
@given(takes_ns=st.lists(st.integers(MILLISECOND, 40 * MILLISECOND), min_size=20, max_size=20))
def test_a_reading_holds_at_its_time_however_fast_the_clock_is_slewed(slewed_ppm: int, takes_ns: list[int]) -> None:
    host, began = Host(), Host().now
    took = iter(takes_ns)

    def off_ns(at_ns: int) -> int:
        return (at_ns - began) * slewed_ppm // 1_000_000

    class Slewing(Agent):
        def time(self) -> tuple[int, int]:
            takes = next(took)
            host.now += takes // 3
            said = host.now + off_ns(host.now)
            host.now += takes - takes // 3
            return divmod(said, SECOND)

    reading = AgentReach(Slewing(), host).clock()
    assert reading.offset.earliest_ns <= off_ns(reading.at_ns) <= reading.offset.latest_ns


@pytest.mark.parametrize("guarded", [True, False])
def test_a_guard_is_only_looked_for_where_there_may_be_one(guarded: bool) -> None:
    def answer(request: dict[str, object]) -> bytes:
        if request["execute"] == "guest-file-open":
            raise ReachError("there is no fifo")
        done = base64.b64encode(b"done 5 0\n").decode()
        return json.dumps({"return": {"pid": 7, "exited": True, "exitcode": 0, "out-data": done}}).encode()

    agent = Agent(answer=answer)
    AgentReach(agent, Host(), lambda: guarded).step(5 * SECOND, "token")
    asked = [request["execute"] for request in agent.asked]
    assert asked == [*(["guest-file-open"] if guarded else []), "guest-exec", "guest-exec-status"]


class Stepping(Asked):
    """An agent whose clock moves in the steps of Windows."""

    def time(self) -> tuple[int, int]:
        self.questions += 1
        self.host.now += self.takes_ns
        now = self.host.now + self.off_ns
        return divmod(now - now % COARSE_NS, SECOND)


@pytest.mark.parametrize("known", [False, True])
@given(off_ns=st.integers(-60 * SECOND, 60 * SECOND), begins_ns=st.integers(0, COARSE_NS))
def test_a_clock_that_moves_in_steps_gets_a_bound_that_holds(known: bool, off_ns: int, begins_ns: int) -> None:
    host = Host()
    host.now += begins_ns
    resolution_ns = COARSE_NS if known else RESOLUTION_NS
    agent = AgentReach(Stepping(host, off_ns, MILLISECOND), host, resolution_ns=resolution_ns)
    for within_ns in (None, 10 * MILLISECOND):
        offset = agent.clock(within_ns).offset
        assert offset.earliest_ns <= off_ns <= offset.latest_ns
