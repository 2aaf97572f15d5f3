"""Agents as programs, for tests: none of them may set this machine's clock.

Each runs without CAP_SYS_TIME, in its bounding set too, and says so.
"""

import fcntl
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

MODULE = [sys.executable, "-m", "clockstep.agent"]
PATIENCE_S = 30
TURN = Path("/tmp/clockstep-tests-agent.turn")
TURNS: list[object] = []
"""What holds this process's turn: a test may start a second agent beside its first."""


def harmless(command: Sequence[str | Path]) -> list[str | Path]:
    """Return a command that has no way to set a clock; setpriv(1) needs root to take that from root."""
    taken = ["--bounding-set=-sys_time", "--inh-caps=-sys_time", "--reuid=65534", "--clear-groups"]
    as_nobody = ["setpriv", *taken, "--regid=65534"] if os.geteuid() == 0 else []
    return [*as_nobody, *command]


@contextmanager
def running(*options: str, command: Sequence[str | Path] = MODULE) -> Iterator["subprocess.Popen[str]"]:
    """Yield an agent that watches already."""
    words = harmless([*command, *options])
    pipe = subprocess.PIPE
    with turn(), subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, cwd="/") as agent:
        try:
            yield agent
        finally:
            agent.kill()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for one's turn: only one agent runs on a machine, and there may be several test runs on this one."""
    if TURNS:
        yield
        return
    with suppress(FileExistsError):
        os.close(os.open(TURN, os.O_CREAT | os.O_EXCL, 0o666))
    with TURN.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        TURNS.append(file)
        try:
            yield
        finally:
            TURNS.clear()


def line_with(agent: "subprocess.Popen[str]", text: str) -> str:
    """Return the first line on stderr that has this in it."""
    assert agent.stderr
    for line in agent.stderr:
        if text in line:
            return line
    raise AssertionError(f"ended without {text!r}")


def get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
