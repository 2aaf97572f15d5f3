"""What a way to a node promises, asked of the guest agent and of ssh alike: both lead to this machine here.

The tools at the other end are chosen, and the one that would step a clock only says what became of it.
"""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.far_shell import SECOND, Host, fake, real, shell_with
from clockstep.errors import DeadlineError, NoProgramError, NotSteppedError, ReachError
from clockstep.ports import NO_PROGRAM, Login, Reach
from clockstep.reach.agent import AgentReach
from clockstep.reach.injection import DONE, ELSEWHERE, KNOWN, MEMORY, REFUSED, WINDOW_NS
from clockstep.reach.ssh import SshReach


class LocalAgent:
    """A channel whose guest is this machine, with chosen tools."""

    def __init__(self, tools: Path, host: Host) -> None:
        self._tools = tools
        self._host = host
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    def time(self) -> tuple[int, int]:
        return divmod(self._host.now().at_ns // 1000 * 1000, SECOND)

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        raise AssertionError("this machine's clock is not set")

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        asked = json.loads(request)
        given = asked["arguments"]
        if asked["execute"] == "guest-exec":
            pipe = subprocess.PIPE
            found = shutil.which(given["path"], path=str(self._tools))
            if found is None:
                raise NoProgramError(f"Failed to execute child process {given['path']}")
            process = subprocess.Popen(
                [found, *given["arg"]], stdin=pipe, stdout=pipe, stderr=pipe, env={"PATH": str(self._tools)}
            )
            assert process.stdin
            process.stdin.write(base64.b64decode(given.get("input-data", "")))
            process.stdin.close()
            process.stdin = None
            self._started[process.pid] = process
            return json.dumps({"return": {"pid": process.pid}}).encode()
        if asked["execute"] == "guest-exec-status":
            return json.dumps({"return": self._status(self._started[given["pid"]])}).encode()
        raise ReachError(f"{asked['execute']}: No such file or directory")

    def _status(self, process: "subprocess.Popen[bytes]") -> dict[str, object]:
        try:
            out, err = process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            return {"exited": False}
        encoded = {"out-data": base64.b64encode(out).decode(), "err-data": base64.b64encode(err).decode()}
        return {"exited": True, "exitcode": process.returncode, **encoded}

    def end(self) -> None:
        for process in self._started.values():
            process.kill()
            process.communicate()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    real(tmp_path, "cat", "perl", "tail")
    fake(tmp_path, "id", "echo 0")
    return tmp_path


@pytest.fixture(params=["agent", "ssh"])
def way(request: pytest.FixtureRequest, tools: Path) -> Iterator[Reach]:
    host = Host()
    agent = LocalAgent(tools, host)
    reach: Reach = (
        AgentReach(agent, host, host)
        if request.param == "agent"
        else SshReach(Login("node"), host, host, command=shell_with(tools))
    )
    yield reach
    reach.close()
    agent.end()


def test_a_command_answers_with_its_exit_code_and_both_outputs(way: Reach) -> None:
    command = ["/bin/sh", "-c", 'printf "%s" "$1"; echo ho >&2; exit 3', "x", 'it\'s "quoted" $HOME\n']
    assert way.run(command, b"", Host().within()) == (3, 'it\'s "quoted" $HOME\n', "ho\n")


@pytest.mark.parametrize("given", [b"", b"plain\n", b"100%s 'it' \\n", "ünï\0\n".encode()])
def test_a_command_gets_its_input_to_the_last_byte(way: Reach, given: bytes) -> None:
    assert way.run(["/bin/cat"], given, Host().within()) == (0, given.decode(), "")


def test_a_program_that_is_not_there_is_an_exit_code(way: Reach) -> None:
    assert way.run(["no-such-program", "x"], b"", Host().within()).code == NO_PROGRAM


def test_one_command_does_not_see_the_next(way: Reach) -> None:
    assert [way.run(["/bin/sh", "-c", f"cat; echo {n}"], b"", Host().within()).out for n in (1, 2)] == ["1\n", "2\n"]


def test_a_command_that_does_not_end_is_given_up_at_its_deadline(way: Reach) -> None:
    with pytest.raises(DeadlineError):
        way.run(["/bin/sh", "-c", "exec tail -f /dev/null"], b"", Host().within(0.3))


def test_a_node_that_was_given_up_is_reached_again(way: Reach) -> None:
    with pytest.raises(DeadlineError):
        way.run(["/bin/sh", "-c", "exec tail -f /dev/null"], b"", Host().within(0.3))
    assert way.run(["/bin/sh", "-c", "echo hi"], b"", Host().within()).out == "hi\n"


def test_the_offset_of_a_clock_that_is_this_machines_own_may_be_nothing(way: Reach) -> None:
    for _ in range(3):
        offset = way.clock().offset
        assert offset.earliest_ns <= 0 <= offset.latest_ns
        assert way.run(["/bin/sh", "-c", "echo between"], b"", Host().within()).code == 0


def test_a_step_is_made_with_what_the_clock_is_expected_to_say(way: Reach, tools: Path) -> None:
    (tools / "perl").unlink()
    fake(tools, "perl", f'shift 2; echo "$@" > {tools}/asked; echo done 7 1; exit {DONE}')
    before = Host().now().at_ns
    assert way.step(7 * SECOND, "token") == 7 * SECOND + 1
    memory, token, by_s, by_ns, at_s, at_ns, window = (tools / "asked").read_text().split()
    assert (memory, token, by_s, by_ns) == (MEMORY, "token", "7", "0")
    assert before <= int(at_s) * SECOND + int(at_ns) + 7 * SECOND <= Host().now().at_ns
    assert int(window) == WINDOW_NS


@pytest.mark.parametrize(("code", "lasting"), [(ELSEWHERE, False), (REFUSED, True)])
def test_a_step_that_was_not_made_is_an_error(way: Reach, tools: Path, code: int, lasting: bool) -> None:
    (tools / "perl").unlink()
    fake(tools, "perl", f"echo adjtimex: no >&2; exit {code}")
    with pytest.raises(NotSteppedError) as caught:
        way.step(SECOND, "token")
    assert caught.value.lasting is lasting


@pytest.mark.parametrize("code", [1, 120, 137])
def test_a_program_that_ends_otherwise_leaves_open_whether_it_has_stepped(way: Reach, tools: Path, code: int) -> None:
    (tools / "perl").unlink()
    fake(tools, "perl", f"exit {code}")
    with pytest.raises(ReachError) as caught:
        way.step(SECOND, "token")
    assert not isinstance(caught.value, NotSteppedError)


@pytest.mark.parametrize(("said", "expected"), [("done -1 5", -SECOND + 5), ("closed", 0), ("begun", None)])
def test_a_node_is_asked_what_became_of_a_step(way: Reach, tools: Path, said: str, expected: int | None) -> None:
    (tools / "perl").unlink()
    fake(tools, "perl", f'shift 2; echo "$@" > {tools}/asked; echo {said}; exit {KNOWN}')
    assert way.fate("token") == expected
    assert (tools / "asked").read_text() == f"{MEMORY} token\n"
