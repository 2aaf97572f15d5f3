"""`nodes` and `status` with a Kubernetes cluster: a real API server, and machines of libvirt's test driver."""

import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.test_which_nodes import UUIDS, clockstep, host
from clockstep_lab.kubernetes.kubelite import Kubelite

from .faulty import kubeconfig
from .objects import NODES, add_node, empty, renew_lease

SWAPPED = "22222222-2222-2242-8222-222222222222"
"""node-2's UUID as some firmware shows it."""
FAR = "99999999-2222-4333-8444-555555555555"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return host(tmp_path / "host", UUIDS)


@pytest.fixture
def cluster(kubelite: Kubelite) -> Kubelite:
    """Node-1 is a Node of another name, node-2 one whose firmware swaps bytes, and a third is elsewhere."""
    empty(kubelite)
    add_node(kubelite, "worker-1", UUIDS["node-1"], {"tier": "db", "node-role.kubernetes.io/worker": ""})
    add_node(kubelite, "node-2", SWAPPED, {"tier": "web"}, ready="False")
    add_node(kubelite, "elsewhere", FAR, {"tier": "db"})
    renew_lease(kubelite, "worker-1", datetime.now(UTC) - timedelta(hours=2))
    return kubelite


def record(folder: Path, *words: str, code: int = 0, environment: Mapping[str, str] | None = None) -> Any:
    done = clockstep(folder, *words, "-o", "json", **(environment or {}))
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_nodes_says_which_node_each_machine_is_and_what_is_left_over(
    tmp_path: Path, uri: str, cluster: Kubelite
) -> None:
    asked = ("nodes", "-c", uri, "--kubeconfig", str(cluster.kubeconfig))
    found = record(tmp_path, *asked)
    first, second = (one["kubernetes"] for one in found["nodes"])
    assert (first["name"], first["roles"], first["ready"]["status"]) == ("worker-1", ["worker"], "True")
    assert abs(first["lease_age_ns"] - 7200 * 10**9) < 600 * 10**9
    assert (second["name"], second["ready"]["status"], second["lease_age_ns"]) == ("node-2", "False", None)
    assert found["kubernetes"] == {
        "machineless": ["elsewhere"],
        "nodeless": [],
        "doubtful": [],
        "trouble": None,
        "lease_trouble": "",
    }
    page = clockstep(tmp_path, *asked).stdout
    assert "KUBERNETES NODE" in page
    assert "Ready in Kubernetes, but with an expired lease: node-1 (2 h" in page
    assert "Kubernetes Nodes without a machine here: elsewhere" in page


def test_status_shows_the_same_beside_the_clocks(tmp_path: Path, uri: str, cluster: Kubelite) -> None:
    reach = ("--reach", "agent", "--deadline", "10s")
    found = record(tmp_path, "status", "-c", uri, "--kubeconfig", str(cluster.kubeconfig), *reach, code=1)
    assert [(one["node"], one["kubernetes"]["name"]) for one in found["episodes"]] == [
        ("node-1", "worker-1"),
        ("node-2", "node-2"),
    ]
    assert found["kubernetes"]["machineless"] == ["elsewhere"]


def test_a_cluster_is_asked_only_where_somebody_says_so(tmp_path: Path, uri: str, cluster: Kubelite) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "CLOCKSTEP_CONFIG": str(tmp_path / "c.toml")}
    (tmp_path / "c.toml").write_text(f"[cluster.c]\nnodes = ['node-1']\nconnect = '{uri}'\nkubernetes = {{}}\n")
    asked = record(tmp_path, "nodes", environment=environment)
    assert asked["nodes"][0]["kubernetes"]["name"] == "worker-1"
    assert record(tmp_path, "nodes", "--no-kubernetes", environment=environment)["kubernetes"] is None
    del environment["CLOCKSTEP_CONFIG"]
    words = ("nodes", "-c", uri)
    assert record(tmp_path, *words, environment=environment)["kubernetes"] is None
    assert record(tmp_path, *words, "--kubernetes", environment=environment)["kubernetes"]["machineless"] == [
        "elsewhere"
    ]
    assert record(tmp_path, *words, "--context", "lab", environment=environment)["kubernetes"]["machineless"] == [
        "elsewhere"
    ]


def test_nodes_are_named_by_node_names_and_labels(tmp_path: Path, uri: str, cluster: Kubelite) -> None:
    asked = ("-c", uri, "--kubeconfig", str(cluster.kubeconfig))

    def names(*words: str) -> list[tuple[str, str]]:
        found = record(tmp_path, "nodes", *asked, *words)
        return [(one["guest"]["name"], one["why"]) for one in found["nodes"]]

    assert names("worker-1") == [("node-1", "its Node is worker-1")]
    assert names("worker-*", "node-2") == [("node-1", "its Node is worker-1"), ("node-2", "named")]
    assert names("--exclude", "worker-1") == [("node-2", "running")]
    assert names("-l", "tier in (db, cache)") == [("node-1", "its Node is worker-1")]
    done = clockstep(tmp_path, "nodes", *asked, "-l", "tier=db", "--no-headers")
    assert "left out, because no machine here is known to be the Node: elsewhere" in done.stderr
    done = clockstep(tmp_path, "pause", *asked, "elsewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no machine here is known to be the Node elsewhere" in done.stderr
    assert "did you mean worker-1" in clockstep(tmp_path, "step", *asked, "workr-1").stderr


def test_two_nodes_of_one_uuid_as_of_a_node_that_was_renamed_are_matched_to_none(
    tmp_path: Path, uri: str, cluster: Kubelite
) -> None:
    add_node(cluster, "renamed", UUIDS["node-1"])
    asked = ("nodes", "-c", uri, "--kubeconfig", str(cluster.kubeconfig))
    found = record(tmp_path, *asked)
    assert [one["kubernetes"] and one["kubernetes"]["name"] for one in found["nodes"]] == [None, "node-2"]
    assert (found["kubernetes"]["doubtful"], found["kubernetes"]["nodeless"]) == (["renamed", "worker-1"], ["node-1"])
    done = clockstep(tmp_path, *asked, "renamed")
    assert (done.returncode, done.stdout) == (2, "")
    cluster.admin.delete(f"{NODES}/worker-1")
    assert record(tmp_path, *asked)["nodes"][0]["kubernetes"]["name"] == "renamed"


def broken(folder: Path, **cluster: str) -> str:
    return str(kubeconfig(folder / "broken", {"server": "https://127.0.0.1:1", **cluster}, {}))


def test_a_cluster_that_cannot_be_asked_costs_neither_names_nor_clocks(tmp_path: Path, uri: str) -> None:
    (tmp_path / "garbage").write_text("[")
    for file, said in (
        (broken(tmp_path), "refused the connection"),
        (str(tmp_path / "garbage"), "cannot be read: while parsing"),
    ):
        for command in ("nodes", "status"):
            words = (command, "-c", uri, "--kubeconfig", file, "node-1")
            found = record(tmp_path, *words, code=3)
            assert len(found.get("nodes") or found["episodes"]) == 1
            assert said in found["kubernetes"]["trouble"]["text"]
            assert f"Kubernetes: {found['kubernetes']['trouble']['text']}" in clockstep(tmp_path, *words).stdout
    absent = ("nodes", "-c", uri, "--kubeconfig", broken(tmp_path), "--context", "prod")
    assert "has no context 'prod'" in record(tmp_path, *absent, code=3)["kubernetes"]["trouble"]["text"]


def test_a_server_that_never_answers_holds_up_no_clock_beyond_the_deadline(tmp_path: Path, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        words = ("status", "-c", uri, "--kubeconfig", broken(tmp_path, server=server), "--deadline", "1s")
        found = record(tmp_path, *words, code=3)
    assert all(one["after"] for one in found["episodes"])
    assert found["kubernetes"]["trouble"]["text"].endswith("did not answer within 1 s")


def test_a_name_that_may_be_a_node_cannot_be_known_without_the_cluster(tmp_path: Path, uri: str) -> None:
    for words in (("worker-1",), ("--selector", "tier=db")):
        done = clockstep(tmp_path, "pause", "-c", uri, "--kubeconfig", broken(tmp_path), *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert "refused the connection" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--selector", "tier=db"), "--selector needs a Kubernetes cluster"),
        (("--selector", "tier=db,", "--kubernetes"), "no selector of labels"),
        (("--selector", "a", "--kubernetes", "node-1"), "node names and --selector exclude each other"),
        (("--selector", "a", "--kubernetes", "--all"), "--all and --selector exclude each other"),
        (("--no-kubernetes", "--context", "x"), "--no-kubernetes excludes --kubeconfig and --context"),
        (("--kubeconfig", "absent"), "does not exist"),
        (("--context", ""), "it is empty"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, uri: str, words: tuple[str, ...], said: str
) -> None:
    done = clockstep(tmp_path, "nodes", "-c", uri, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
