"""The scripts that step a clock, run here as they run in a guest, but with a request that changes nothing.

With `modes` of 0 adjtimex only reads, for anybody; what the scripts would have stepped by is what they answer.
"""

import fcntl
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from clockstep.errors import NotSteppedError, ReachError
from clockstep.host.clock import SystemClock
from clockstep.ports import Output
from clockstep.reach.injection import (
    CHOICE,
    DONE,
    ELSEWHERE,
    KNOWN,
    PERL,
    PYTHON,
    REFUSED,
    UNAVAILABLE,
    added,
    by_perl,
    by_shell,
    fate_words,
    new_token,
    step_words,
)

SECOND = 10**9
MODES = ("0x2100", "0x4000")
STEPS = [0, 1, -1, 5 * SECOND + 123, -3600 * SECOND - 1, SECOND - 1, 864_000 * SECOND]


def harmless(program: str) -> str:
    """The same program, with a request that changes nothing."""
    for mode in MODES:
        assert program.count(mode) == 1
        program = program.replace(mode, "0")
    return program


TOOLS = {"perl": ["perl", "-e", harmless(PERL)], "python3": ["python3", "-I", "-S", "-c", harmless(PYTHON)]}


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "clockstep/steps"


def token() -> str:
    return new_token(SystemClock())


def run(tool: str, memory: Path, words: list[str]) -> Output:
    done = subprocess.run([*TOOLS[tool], str(memory), *words[1:]], capture_output=True, text=True, check=False)
    return Output(done.returncode, done.stdout, done.stderr)


def step(tool: str, memory: Path, token: str, by_ns: int = SECOND, away_ns: int = 0) -> Output:
    return run(tool, memory, step_words(token, by_ns, time.time_ns() + away_ns))


@pytest.mark.parametrize("by_ns", STEPS)
def test_each_tool_steps_by_what_it_was_told(tool: str, memory: Path, by_ns: int) -> None:
    done = step(tool, memory, token(), by_ns)
    assert (done.code, done.err) == (DONE, "")
    assert added(done, "") == by_ns
    assert 0 <= int(done.out.split()[2]) < SECOND


@pytest.mark.parametrize("other", TOOLS)
def test_a_step_that_is_repeated_adds_nothing_and_says_what_was_added_before(
    tool: str, other: str, memory: Path
) -> None:
    once = token()
    assert step(tool, memory, once, 4 * SECOND).code == DONE
    again = step(other, memory, once, 3 * SECOND)
    assert (again.code, added(again, "")) == (KNOWN, 4 * SECOND)
    assert added(run(other, memory, fate_words(once)), "") == 4 * SECOND


@pytest.mark.parametrize("other", TOOLS)
def test_a_step_that_comes_after_it_was_asked_for_does_nothing(tool: str, other: str, memory: Path) -> None:
    late = token()
    assert added(run(tool, memory, fate_words(late)), "") == 0
    assert added(step(other, memory, late), "") == 0


def test_a_step_that_comes_after_one_that_was_asked_for_later_does_nothing(tool: str, memory: Path) -> None:
    late, later = token(), token()
    assert step(tool, memory, later).code == DONE
    assert step(tool, memory, late).code == ELSEWHERE
    of_another_host = f"{int(late[:12], 16) ^ 1:012x}{late[12:]}"
    assert step(tool, memory, of_another_host).code == DONE


def test_a_step_that_was_begun_and_cut_off_is_neither_done_nor_repeated(tool: str, memory: Path) -> None:
    cut_off = token()
    memory.parent.mkdir()
    memory.write_text(f"\n{cut_off} begun\n")
    assert added(run(tool, memory, fate_words(cut_off)), "") is None
    assert added(step(tool, memory, cut_off), "") is None


def test_what_is_remembered_is_for_root_only_and_does_not_grow_for_ever(tool: str, memory: Path) -> None:
    first = token()
    assert step(tool, memory, first).code == DONE
    assert (memory.stat().st_mode & 0o777, memory.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    many = [token() for _ in range(900)]
    memory.write_text("".join(f"\n{one} begun\n\n{one} done 1 0\n" for one in many))
    assert step(tool, memory, token()).code == DONE
    assert memory.stat().st_size < 1 << 13
    assert added(step(tool, memory, many[-1]), "") == SECOND


def test_while_another_step_is_being_made_none_is(tool: str, memory: Path) -> None:
    memory.parent.mkdir()
    with memory.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert step(tool, memory, token()).code == ELSEWHERE


def test_a_node_that_cannot_remember_a_step_makes_none(tool: str, memory: Path) -> None:
    memory.parent.write_text("no folder")
    refused = step(tool, memory, token())
    assert refused.code == REFUSED
    with pytest.raises(NotSteppedError, match=r"Not a directory|File exists") as caught:
        added(refused, "hint")
    assert caught.value.lasting


def test_a_node_that_has_no_room_to_remember_a_step_makes_none(tool: str, memory: Path) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    command = [*TOOLS[tool], str(memory), *step_words(token(), SECOND, time.time_ns())[1:]]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=no_room)
    assert refused.returncode == REFUSED
    assert "done" not in refused.stdout
    assert "cannot be remembered" in refused.stderr


@pytest.mark.parametrize("away_ns", [-3600 * SECOND, 3600 * SECOND])
def test_a_clock_that_is_not_where_it_was_seen_is_not_stepped(tool: str, memory: Path, away_ns: int) -> None:
    late = token()
    assert step(tool, memory, late, away_ns=away_ns).code == ELSEWHERE
    assert step(tool, memory, late).code == DONE


def test_perl_without_a_shell_is_asked_the_same() -> None:
    assert by_perl(["a", "b"])[3:] == by_shell(["a", "b"])[6:]


def test_a_guest_with_neither_tool_says_so() -> None:
    done = subprocess.run(["/bin/sh", "-c", CHOICE, *by_shell(["x"])[3:]], env={"PATH": "/nowhere"}, check=False)
    assert done.returncode == UNAVAILABLE


@pytest.mark.parametrize(
    "nonsense", ["", "done", "done 1", "done 1 2 3", f"done {'9' * 5000} 0", "done 99999999999 0", "done ¹ 1", "inf"]
)
def test_an_answer_that_is_none_leaves_open_what_was_done(nonsense: str) -> None:
    with pytest.raises(ReachError) as caught:
        added(Output(DONE, nonsense, ""), "")
    assert not isinstance(caught.value, NotSteppedError)


def test_tokens_are_told_apart_and_in_order() -> None:
    tokens = [token() for _ in range(3)]
    assert sorted(set(tokens)) == tokens
    assert {len(one) for one in tokens} == {28}
