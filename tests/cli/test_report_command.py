"""`--report` as a process: what it writes, and that it is refused before anything is done."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stories import HEALED, REVERT
from clockstep.cli.session import entries
from clockstep.model import Entry, Freeze, Thaw
from clockstep.state.history import FileHistory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    history = FileHistory(tmp_path / "state")
    assert history.add(REVERT.entries) == ""
    assert history.add_repair(HEALED) == ""
    return tmp_path / "state"


def clockstep(state: Path, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "CLOCKSTEP_STATE": str(state)}
    command = [sys.executable, "-m", "clockstep", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert done.returncode == code, done.stderr
    return done


def test_a_report_of_the_history_is_written_beside_what_is_printed(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "what-happened.html"
    plain = clockstep(state, "history").stdout
    done = clockstep(state, "history", "--report", str(path))
    assert done.stdout == plain
    assert done.stderr == f"report written to {path}\n"
    page = path.read_text(encoding="utf-8")
    assert "3 clocks were corrected and verified. 1 thing that broke is healed." in page
    assert "kubepods.slice thawed, clock verified, after 812 ms" in page
    again = clockstep(state, "history", "node-1", "--report", str(path), "--quiet", "-o", "json")
    assert (again.stderr, len(json.loads(again.stdout)["entries"])) == ("", 1)
    page = path.read_text(encoding="utf-8")
    assert "1 clock was corrected and verified." in page
    assert "What broke" not in page


def test_only_what_was_asked_for_is_in_it(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    clockstep(state, "history", "--since", "2999-01-01", "--report", str(path))
    assert "No corrections of clocks are recorded." in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "said"), [("there.txt", "was not written by clockstep"), ("no/a.html", "no folder")])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(
    state: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "there.txt").write_text("mine")
    for command in (["history"], ["aftermath", "--kubeconfig", os.devnull, "--repair", "--yes"]):
        done = clockstep(state, *command, "--report", str(tmp_path / name), code=2)
        assert done.stdout == ""
        assert said in done.stderr
    assert (tmp_path / "there.txt").read_text() == "mine"
    assert "it is empty" in clockstep(state, "history", "--report=", code=2).stderr


def test_a_page_that_cannot_be_written_in_the_end_changes_the_exit_code_and_not_what_is_printed(
    state: Path, tmp_path: Path
) -> None:
    words = ["history", "-o", "json", "--report", str(tmp_path / "a.html")]
    limited = f"ulimit -f 1; exec {shlex.join([sys.executable, '-B', '-m', 'clockstep', *words])}"
    environ = {**os.environ, "CLOCKSTEP_STATE": str(state)}
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert (done.returncode, len(json.loads(done.stdout)["entries"])) == (6, 3)
    assert f"clockstep: {tmp_path / 'a.html'} cannot be written: File too large\n  free some space" in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_what_was_frozen_is_kept_with_the_episode_of_its_node(tmp_path: Path) -> None:
    episodes = [entry.episode for entry in REVERT.entries]
    freeze = Freeze("node-2", ("kubepods.slice",), thaw=Thaw.FROZEN)
    history = FileHistory(tmp_path)
    assert history.add(entries("revert", episodes, [freeze])) == ""
    read, skipped = history.read()
    assert skipped == 0
    assert [(one.episode.node, one.freeze) for one in read] == [("node-1", None), ("node-2", freeze), ("node-3", None)]


def test_a_history_that_was_kept_before_freezes_were_is_read(tmp_path: Path) -> None:
    history = FileHistory(tmp_path)
    assert history.add(REVERT.entries[1:2]) == ""
    (line,) = (tmp_path / "history.jsonl").read_text().splitlines()
    old = json.loads(line)
    assert old.pop("freeze") is None
    (tmp_path / "history.jsonl").write_text(f"{json.dumps(old)}\n")
    (entry,) = history.read()[0]
    assert isinstance(entry, Entry)
    assert entry.freeze is None
