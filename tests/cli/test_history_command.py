"""`history` and `wait` as processes, against libvirt's test driver, and the hook of a configuration."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clockstep.cli.history import Moment
from clockstep.cli.session import histories
from clockstep.model import Entry, Report
from clockstep.state.history import FileHistory
from clockstep.state.journal import state_folder
from conftest import until

DRIVER = "test:///default"
SECOND = 1_000_000_000


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCKSTEP_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def clockstep(*words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "clockstep", "--connect", DRIVER, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def shown(*words: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(clockstep("history", "-o", "json", *words).stdout)["entries"]
    return entries


def test_what_a_step_or_a_thaw_did_is_in_the_history_and_what_a_plan_or_a_look_saw_is_not(state: Path) -> None:
    clockstep("status", code=1)
    clockstep("step", "test", "--dry-run", code=1)
    assert clockstep("history").stdout == "no entries\n"
    clockstep("step", "test", "--deadline", "1s", code=1)  # its clock is of 2007, which no step is allowed to mend
    (entry,) = shown()
    assert (entry["by"], entry["episode"]["node"], entry["episode"]["verdict"]) == ("step", "test", "bad")
    header, row = clockstep("history", "te*", "--since", "1h").stdout.splitlines()
    assert header.split() == ["WHEN", "NODE", "CAUSE", "BEFORE", "DONE", "AFTER", "VERDICT"]
    assert "test  requested" in row
    assert row.endswith("bad")
    assert shown("nobody") == shown("--since", "2999-01-01") == []
    clockstep("thaw", "test", "--deadline", "1s", code=6)
    assert [entry["by"] for entry in shown()] == ["step", "thaw"]


def test_damaged_lines_are_named_and_hide_no_other(state: Path) -> None:
    clockstep("step", "test", "--deadline", "1s", code=1)
    with (state / "history.jsonl").open("ab") as file:
        file.write(b"\x00\n[1]\n")
    assert clockstep("history").stdout.splitlines()[-1] == "damaged lines skipped: 2"
    assert len(shown()) == 1


def test_a_history_that_cannot_be_kept_is_a_line_on_stderr_and_changes_no_exit_code(state: Path) -> None:
    state.mkdir()
    (state / "history.jsonl").mkdir()
    assert "the history was not kept" in clockstep("step", "test", "--deadline", "1s", code=1).stderr


@pytest.mark.parametrize(
    ("written", "at_s"),
    [("1970-01-02", 86_400), ("1970-01-01T00:00:07", 7), ("1970-01-01T02:00+02:00", 0), ("1970-01-01 00:01Z", 60)],
)
def test_a_moment_is_a_date_in_utc_unless_it_says_otherwise(written: str, at_s: int) -> None:
    assert Moment().convert(written, None, None) == at_s * SECOND


def test_a_moment_is_so_long_ago() -> None:
    moment_ns = Moment().convert("2h", None, None)
    ago_ns = time.time_ns() - moment_ns
    assert 2 * 3600 * SECOND <= ago_ns < 2 * 3600 * SECOND + 60 * SECOND


@pytest.mark.parametrize("written", ["soon", "", "2026-13-01", "12", "-3h"])
def test_what_is_no_moment_is_refused(state: Path, written: str) -> None:
    assert "is not a time" in clockstep("history", f"--since={written}", code=2).stderr


def test_root_sees_what_the_systems_service_did_and_a_named_state_folder_is_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(histories()) == 1
    monkeypatch.delenv("CLOCKSTEP_STATE")
    assert len(histories()) == (2 if os.geteuid() == 0 else 1)
    assert state_folder({"CLOCKSTEP_STATE": "/s", "HOME": "/h"}, root=True) == Path("/s")


def test_a_wait_that_ends_too_soon_is_a_failure_and_says_how_far_off_clocks_are(state: Path) -> None:
    done = clockstep("wait", "--timeout", "1s", code=1)
    assert "0 of 1 within tolerance" in done.stderr
    assert "unsure" in done.stdout or "bad" in done.stdout
    assert not (state / "history.jsonl").exists()


def test_a_wait_for_what_is_within_reach_ends_at_once(state: Path) -> None:
    report = json.loads(
        clockstep("wait", "test", "--within", "36500d", "--timeout", "1min", "-o", "json", code=0).stdout
    )
    assert report["episodes"][0]["node"] == "test"
    assert set(report) == set(Report.__slots__)


def test_a_wait_for_a_name_that_means_nothing_is_a_mistake(state: Path) -> None:
    clockstep("wait", "nobody", code=2)


def test_what_the_watcher_saw_is_in_the_history_and_its_hook_was_not_run_for_a_look(
    state: Path, tmp_path: Path
) -> None:
    config, log = tmp_path / "clockstep.toml", tmp_path / "log"
    hook = json.dumps(["/bin/sh", "-c", f"cat >> {log}"])
    config.write_text(f'[cluster.home]\nnodes = ["test"]\nconnect = "{DRIVER}"\non_corrected = {hook}\n')
    command = [sys.executable, "-m", "clockstep", "watch", "--config", str(config), "--every", "1s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: bool(FileHistory(state).read()[0]), 20)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    (entry,) = FileHistory(state).read()[0]
    assert isinstance(entry, Entry)
    assert (entry.by, entry.episode.node, entry.episode.cause.kind) == ("watch", "test", "found")
    assert not log.exists()
