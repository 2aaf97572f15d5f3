"""`--aftermath` and `--repair` at the end of a run: what is refused before anything is done."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.stories import HEALED, NOW, SKIPPED
from clockstep.cli import run
from clockstep.cli.healing import cures
from clockstep.model import AftermathReport

TEST = ["--connect", "test:///default"]
STEP, REVERT = ["step", "test"], ["revert", "base", "test", "--yes"]
ENDING = ["--aftermath", "--kubeconfig"]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """A file that nobody reads, because what it is for is refused before."""
    file = tmp_path / "kubeconfig"
    file.write_text("")
    return str(file)


@pytest.mark.parametrize("words", [STEP, REVERT])
def test_an_aftermath_without_a_cluster_says_how_to_name_one(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([*words, "--aftermath", *TEST]) == 2
    said = capsys.readouterr().err
    assert "--aftermath needs a Kubernetes cluster" in said
    assert "add --kubernetes or --kubeconfig FILE" in said
    assert run([*words, "--aftermath", "--no-kubernetes", *TEST]) == 2


@pytest.mark.parametrize("words", [STEP, REVERT])
def test_a_repair_without_an_aftermath_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run([*words, "--repair", *TEST]) == 2
    assert "--repair needs --aftermath" in capsys.readouterr().err


def test_a_dry_run_ends_with_no_aftermath(capsys: pytest.CaptureFixture[str], kubeconfig: str) -> None:
    assert run([*STEP, "--dry-run", *ENDING, kubeconfig, *TEST]) == 2
    assert "--aftermath and --dry-run contradict each other" in capsys.readouterr().err


def test_a_repair_that_nobody_can_be_asked_about_is_refused_before_any_clock_is_stepped(
    capsys: pytest.CaptureFixture[str], kubeconfig: str
) -> None:
    assert run([*STEP, *ENDING, kubeconfig, "--repair", *TEST]) == 2
    printed = capsys.readouterr()
    assert "refusing to repair what is found without confirmation" in printed.err
    assert printed.out == ""


def test_the_question_names_how_many_cures_there_are() -> None:
    skipped = replace(SKIPPED, act=None)
    assert cures(AftermathReport(NOW, (), (HEALED, skipped))) == "carry out 1 cure"
    assert cures(AftermathReport(NOW, (), (HEALED, HEALED))) == "carry out 2 cures"


SILENT = """
current-context: lab
contexts: [{{name: lab, context: {{cluster: lab}}}}]
clusters: [{{name: lab, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
"""


@pytest.mark.parametrize("words", [[], ["-o", "json"]])
def test_an_interrupt_of_the_aftermath_costs_the_page_of_the_clocks_nothing(tmp_path: Path, words: list[str]) -> None:
    access = ["--no-wait-cluster", "--deadline", "1s", "--kubeconfig", str(tmp_path / "kubeconfig")]
    command = [sys.executable, "-m", "clockstep", *words, *STEP, "--aftermath", *access, *TEST]
    environ = {**os.environ, "CLOCKSTEP_STATE": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "kubeconfig").write_text(SILENT.format(port=server.getsockname()[1]))
        server.settimeout(60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as step:
            asked, _ = server.accept()
            step.send_signal(signal.SIGINT)
            printed, said = step.communicate(timeout=60)
            asked.close()
    assert step.returncode == 130, said
    assert "interrupted in the aftermath: clockstep history has what was done to clocks" in said
    if words:
        assert json.loads(printed)["error"]["message"] == "interrupted"
    else:
        assert [line.split()[0] for line in printed.splitlines()[:2]] == ["NODE", "test"]
