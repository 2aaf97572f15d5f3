"""The options for a Kubernetes cluster on what ends with one that works, on libvirt's own test driver."""

from pathlib import Path

import pytest

from clockstep.cli import run
from clockstep.model import Cordon
from clockstep.state.cordons import FileCordons

TEST = ["--connect", "test:///default"]


@pytest.mark.parametrize("words", [["snapshot", "create", "base", "test"], ["revert", "base", "test", "--yes"]])
def test_a_cordon_without_a_cluster_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run([*words, "--cordon", *TEST]) == 2
    said = capsys.readouterr().err
    assert "--cordon needs a Kubernetes cluster" in said
    assert "--kubeconfig" in said


@pytest.mark.parametrize("words", [["snapshot", "create", "base", "test"], ["revert", "base"], ["step", "test"]])
@pytest.mark.parametrize("time", ["0", "0s", "", "soon"])
def test_a_deadline_of_nothing_is_none(capsys: pytest.CaptureFixture[str], words: list[str], time: str) -> None:
    assert run([*words, "--cluster-deadline", time, *TEST]) == 2
    assert "--cluster-deadline" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["step", "test"], ["revert", "base", "test", "--yes"]])
def test_what_a_killed_run_left_cordoned_is_said_by_the_next_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.setenv("CLOCKSTEP_STATE", str(tmp_path))
    cordons = FileCordons(tmp_path)
    own = cordons.mark("snapshot base", 0)
    host, _, rest = own.split(" ", 2)
    cordons.note(Cordon("k-running", "u", own))
    cordons.note(Cordon("k-ended\x1b[31m", "u", f"{host} 1/0 {rest}"))
    run([*words, *TEST])
    said = capsys.readouterr().err
    assert "the Node k-ended\\x1b[31m is still cordoned" in said
    assert "run clockstep kubernetes uncordon" in said
    assert "k-running" not in said
