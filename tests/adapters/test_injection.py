"""The scripts that step a clock, run here as they run in a guest, but with a request that changes nothing.

With `modes` of 0 adjtimex only reads, for anybody; what the scripts would have stepped by is what they print.
"""

import subprocess
import time

import pytest

from clockstep.kernel.timex import pack_step
from clockstep.reach.injection import CHOICE, ELSEWHERE, PERL, PYTHON, UNAVAILABLE, WINDOW_NS, by_perl, injection

SECOND = 10**9
TOOLS = {"perl": ["perl", "-e", PERL], "python3": ["python3", "-I", "-S", "-c", PYTHON]}
STEPS = [0, 1, -1, 5 * SECOND + 123, -3600 * SECOND - 1, SECOND - 1, 86_400 * SECOND]


def run(tool: str, by_ns: int, expected_ns: int) -> "subprocess.CompletedProcess[str]":
    harmless = bytes(4) + pack_step(by_ns)[4:]
    expected = [str(part) for part in divmod(expected_ns, SECOND)]
    command = [*TOOLS[tool], harmless.hex(), *expected, str(WINDOW_NS)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("by_ns", STEPS)
@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_steps_by_what_it_was_told(tool: str, by_ns: int) -> None:
    done = run(tool, by_ns, time.time_ns())
    assert (done.returncode, done.stderr) == (0, "")
    seconds, nanoseconds = map(int, done.stdout.split())
    assert seconds * SECOND + nanoseconds == by_ns
    assert 0 <= nanoseconds < SECOND


def test_perl_without_a_shell_is_asked_the_same() -> None:
    assert by_perl(5, 7)[:2] == TOOLS["perl"][:2]
    assert by_perl(5, 7)[3:] == injection(5, 7)[6:]


@pytest.mark.parametrize("away_ns", [-3600 * SECOND, 3600 * SECOND])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_clock_that_is_not_where_it_was_seen_is_not_stepped(tool: str, away_ns: int) -> None:
    assert run(tool, 1, time.time_ns() + away_ns).returncode == ELSEWHERE


def test_a_guest_with_neither_tool_says_so() -> None:
    done = subprocess.run(["/bin/sh", "-c", CHOICE, *injection(1, 1)[3:]], env={"PATH": "/nowhere"}, check=False)
    assert done.returncode == UNAVAILABLE
