"""The guard's own scripts, run here: they start, listen, give way to a new one, and end with their lease."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.test_injection import TOOLS, harmless, token
from clockstep.reach.guard import PERL, PYTHON, SEND, START
from clockstep.reach.injection import step_words
from conftest import until

SECOND = 10**9
OTHERS = ("sh", "mkdir", "rm", "mkfifo", "sleep")


def programs(folder: Path, *tools: str) -> str:
    """A PATH with these tools, and what the script needs besides."""
    for name in (*tools, *OTHERS):
        (folder / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or "")
    return str(folder)


@pytest.fixture(params=TOOLS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with only one of the tools."""
    return programs(tmp_path, request.param)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    fifo = tmp_path / "run" / "guard"
    yield fifo
    for process in listening(fifo):
        os.kill(process, 9)


def start(fifo: Path, path: str, lease_s: int = 60, least_s: int = 60) -> int:
    command = [
        "/bin/sh",
        "-c",
        START,
        "clockstep",
        harmless(PERL),
        harmless(PYTHON),
        str(lease_s),
        str(least_s),
        str(fifo),
    ]
    return subprocess.run(command, env={"PATH": path}, check=False, timeout=20).returncode


def send(fifo: Path, line: str) -> int:
    return subprocess.run(["/bin/sh", "-c", SEND, "clockstep", str(fifo), line], check=False, timeout=20).returncode


def listening(fifo: Path) -> list[int]:
    """The ids of this fifo's guards."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(fifo).encode() in words and b"/bin/sh" not in words:
            found.append(int(entry.name))
    return found


def line(fifo: Path, expected_ns: int, window_ns: int) -> str:
    return " ".join([str(memory(fifo)), *step_words(token(), SECOND, expected_ns, window_ns)[1:]])


def memory(fifo: Path) -> Path:
    return fifo.with_name("steps")


def test_it_listens_to_line_after_line_until_its_lease_is_over(fifo: Path, path: str) -> None:
    assert start(fifo, path, lease_s=5) == 0
    assert fifo.stat().st_mode & 0o777 == 0o600
    assert fifo.parent.stat().st_mode & 0o777 == 0o700
    (guard,) = listening(fifo)
    for _ in range(3):
        assert send(fifo, line(fifo, time.time_ns(), SECOND)) == 0
    assert send(fifo, line(fifo, 0, 1)) == 0  # elsewhere: not stepped, and no reason to end
    assert listening(fifo) == [guard]
    until(lambda: memory(fifo).read_text().count(" done 1 0\n") == 3, 10)
    until(lambda: listening(fifo) == [], 10)
    assert list(fifo.parent.iterdir()) == [memory(fifo)]
    assert send(fifo, "nobody") != 0


def test_one_that_has_long_enough_to_live_stays(fifo: Path, path: str) -> None:
    assert start(fifo, path, lease_s=60) == 0
    there = listening(fifo)
    assert start(fifo, path, lease_s=3600, least_s=50) == 0
    assert listening(fifo) == there


def test_a_new_one_takes_the_place_of_one_whose_lease_ends_soon(fifo: Path, path: str) -> None:
    assert start(fifo, path, lease_s=60) == 0
    before = listening(fifo)
    assert start(fifo, path, least_s=61) == 0
    until(lambda: set(listening(fifo)).isdisjoint(before), 10)
    assert len(listening(fifo)) == 1
    assert send(fifo, line(fifo, time.time_ns(), SECOND)) == 0


def test_one_that_was_killed_is_replaced(fifo: Path, path: str) -> None:
    assert start(fifo, path) == 0
    (killed,) = listening(fifo)
    os.kill(killed, 9)
    until(lambda: listening(fifo) == [], 10)
    assert fifo.exists()
    assert start(fifo, path) == 0
    assert len(listening(fifo)) == 1


def test_another_process_with_its_number_is_not_taken_for_it(fifo: Path, path: str) -> None:
    assert start(fifo, path, lease_s=5) == 0
    (lost,) = listening(fifo)
    till = fifo.with_name("guard.ready").read_text().split()[1]
    fifo.with_name("guard.ready").write_text(f"{os.getpid()} {till}\n")
    assert start(fifo, path) == 0
    until(lambda: lost not in listening(fifo), 10)  # ends with its lease, and leaves what is another's
    assert len(listening(fifo)) == 1
    assert send(fifo, line(fifo, time.time_ns(), SECOND)) == 0


def test_without_perl_and_python_there_is_none(fifo: Path, tmp_path: Path) -> None:
    assert start(fifo, programs(tmp_path)) == 69
    assert not fifo.exists()


def test_where_it_cannot_run_there_is_no_fifo_that_nobody_reads(fifo: Path, tmp_path: Path) -> None:
    (tmp_path / "perl").symlink_to(shutil.which("false") or "")
    assert start(fifo, programs(tmp_path)) == 69
    assert not fifo.exists()
