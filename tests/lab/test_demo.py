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


def test_the_demo_on_kubernetes_shows_nodes_that_are_ready_with_leases_that_are_old() -> None:
    command = [sys.executable, "-m", "clockstep_lab.kubernetes.demo", "--json", "--away", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown) == {"nodes", "cluster", "fresh_within_ns", "pods_restarted", "tls", "admission"}
    assert all(node["ready"] and node["lease_age_ns"] > 20 * SECOND_NS for node in shown["cluster"]["before"])
    assert all(node["ready"] and node["lease_age_ns"] < 20 * SECOND_NS for node in shown["cluster"]["after"])
    assert shown["pods_restarted"] is False
    assert "certificate has expired" in shown["admission"]["before"]
    assert shown["admission"]["after"] == "deployment.apps/shop created"
    assert "certificate is not yet valid" in shown["tls"]["before"]
    assert shown["tls"]["after"] == "hello over TLS"
    assert all(node["bound_true"] for node in shown["nodes"])
