"""`clockstep aftermath` as people run it, against a real API server: what it prints, changes and exits with."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clockstep_lab.kubernetes.kubelite import Kubelite

from . import damage
from .damage import PODS
from .objects import empty
from .test_aftermath import stuck

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(kubelite: Kubelite, tmp_path: Path) -> Run:
    """Run `clockstep aftermath` with these words, by a machine that has no agent, and a history of its own."""
    empty(kubelite)
    damage.begin(kubelite)
    environ = {**os.environ, "CLOCKSTEP_STATE": str(tmp_path / "state"), "HOME": str(tmp_path), "COLUMNS": "80"}

    def run(*words: str, of: str = "aftermath") -> "subprocess.CompletedProcess[str]":
        access = ["--kubeconfig", str(kubelite.kubeconfig), "-c", "test:///default"] if of == "aftermath" else []
        argv = [sys.executable, "-m", "clockstep", of, *access, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=environ, cwd=tmp_path)

    return run


def test_a_cluster_in_order_is_clean(command: Run) -> None:
    done = command("--only", "CS-CSR", "--only", "CS-STUCK")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nothing found: CS-CSR (Requests of kubelets for certificates), CS-STUCK (Stuck containers)\n"


def test_where_it_could_not_look_it_says_why(command: Run) -> None:
    done = command("--only", "CS-KUBELET", "--deadline", "5s")
    assert done.returncode == 3
    assert "CS-KUBELET could not look: test: " in done.stdout


def test_what_is_found_is_printed_with_its_evidence_and_cure(command: Run, kubelite: Kubelite) -> None:
    stuck(kubelite, "bare", owned=False)
    done = command("--only", "CS-STUCK", "-o", "json")
    assert done.returncode == 1
    (check,) = json.loads(done.stdout)["checks"]
    (broken,) = check["broken"]
    assert (check["state"], broken["on"]) == ("broken", {"kind": "Pod", "name": "bare", "namespace": "aftermath"})
    assert "is reserved for" in broken["evidence"]
    assert check["waited_ns"] >= 20 * 10**9


def test_nothing_is_repaired_without_consent(command: Run, kubelite: Kubelite) -> None:
    stuck(kubelite, "owned", owned=True)
    done = command("--only", "CS-STUCK", "--no-wait", "--repair")
    assert done.returncode == 2
    assert "evict aftermath/pod/owned" in done.stdout
    assert "refusing to carry out 1 cure without confirmation" in done.stderr
    assert "deletionTimestamp" not in kubelite.admin.get(f"{PODS}/owned")["metadata"]


def test_a_plan_is_shown_beside_the_record_before_anybody_is_asked(command: Run, kubelite: Kubelite) -> None:
    stuck(kubelite, "owned", owned=True)
    done = command("--only", "CS-STUCK", "--no-wait", "--repair", "-o", "json")
    assert done.returncode == 2
    assert "evict aftermath/pod/owned" in done.stderr
    assert "without confirmation" in json.loads(done.stdout)["error"]["message"]


def test_a_repair_is_proven_and_in_the_history(command: Run, kubelite: Kubelite) -> None:
    stuck(kubelite, "owned", owned=True)
    done = command("--only", "CS-STUCK", "--no-wait", "--repair", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["repairs"]
    assert (one["outcome"], one["act"]["deed"]) == ("healed", "evict")
    kept: list[dict[str, Any]] = json.loads(command("-o", "json", of="history").stdout)["repairs"]
    assert [entry["outcome"] for entry in kept] == ["not-healed", "healed"]
    assert "CS-STUCK  evict aftermath/pod/owned: healed" in command(of="history").stdout


def test_a_report_has_what_was_found_and_what_was_healed(command: Run, kubelite: Kubelite, tmp_path: Path) -> None:
    stuck(kubelite, "owned", owned=True)
    words = ["--only", "CS-STUCK", "--no-wait", "--report", "what-happened.html"]
    assert command(*words).returncode == 1
    page = (tmp_path / "what-happened.html").read_text(encoding="utf-8")
    assert "1 thing is still broken." in page
    done = command(*words, "--repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"report written to {tmp_path / 'what-happened.html'}" in done.stderr
    page = (tmp_path / "what-happened.html").read_text(encoding="utf-8")
    assert "1 thing that broke is healed." in page
    assert "healed, proven by a second look" in page
    assert "aftermath/pod/owned" in page


def test_a_code_that_does_not_exist_is_refused(command: Run) -> None:
    done = command("--only", "CS-NONE")
    assert done.returncode == 2
    assert "'CS-NONE' is not one of" in done.stderr
