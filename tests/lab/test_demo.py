"""The demo's own claims, as its JSON tells them."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

SECOND_NS = 1_000_000_000


def test_the_demo_shows_the_problem_and_proves_the_cure() -> None:
    command = [sys.executable, "-m", "clockstep_lab.demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown) == {"nodes", "naive", "tls"}
    assert shown["naive"]["answer"] == "200 OK"
    assert abs(shown["naive"]["moved_ns"]) < SECOND_NS
    assert "certificate is not yet valid" in shown["tls"]["before"]
    assert shown["tls"]["after"] == "hello over TLS"
    for node in shown["nodes"]:
        assert node["behind_by_ns"] > 10 * SECOND_NS
        assert node["bound_true"] is True
        assert node["right_within_ns"] > 0
        assert node["wrong_for_ns"] > 0
        assert abs(node["residual_ns"]) <= node["bound_ns"] + node["witness_error_ns"]
