"""Which nodes a command is about, as people say it: on libvirt's test driver, in folders of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

UUIDS = {"node-1": "11111111-1111-4111-8111-111111111111", "node-2": "22222222-2222-4222-8222-222222222222"}
DOMAIN = (
    "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"
)


def host(folder: Path, machines: dict[str, str]) -> str:
    """Return the address of a test driver with these machines."""
    domains = "".join(DOMAIN.format(name=name, uuid=uuid) for name, uuid in machines.items())
    folder.mkdir(exist_ok=True)
    (folder / "host.xml").write_text(f"<node>{domains}</node>")
    return f"test://{folder}/host.xml"


def clockstep(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder."""
    variables = {name: value for name, value in os.environ.items() if name != "LIBVIRT_DEFAULT_URI"}
    command = [sys.executable, "-m", "clockstep", *words]
    return subprocess.run(
        command, cwd=folder, env={**variables, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def report(folder: Path, *words: str, code: int = 0, **environment: str) -> Any:
    done = clockstep(folder, "--json", *words, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def names(selection: Any) -> list[str]:
    return [one["guest"]["name"] for one in selection["nodes"]]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return host(tmp_path / "host", UUIDS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Vagrant project whose only machine is node-2's domain."""
    folder = tmp_path / "project" / ".vagrant" / "machines" / "second" / "libvirt"
    folder.mkdir(parents=True)
    (folder / "id").write_text(UUIDS["node-2"])
    return tmp_path / "project"


def test_without_anything_it_is_what_runs_at_the_default_connection(tmp_path: Path, uri: str) -> None:
    done = clockstep(tmp_path, "nodes", LIBVIRT_DEFAULT_URI=uri)
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["chosen", "by", "default:", "everything", "that", "runs"],
        ["NODE", "STATE", "CONNECTION", "BECAUSE"],
        ["node-1", "running", "default", "running"],
        ["node-2", "running", "default", "running"],
    ]


def test_a_configuration_here_names_the_nodes_and_where_they_run(tmp_path: Path, uri: str) -> None:
    (tmp_path / "clockstep.toml").write_text(f"[cluster.mine]\nnodes = ['*-2']\nconnect = '{uri}'\n")
    selection = report(tmp_path, "nodes")
    assert (selection["choice"], selection["text"]) == ("configuration", "[cluster.mine] of clockstep.toml")
    assert selection["nodes"] == [
        {
            "guest": {"name": "node-2", "uuid": UUIDS["node-2"], "state": "running", "connection": uri, "stuck": ""},
            "why": "matches *-2",
        }
    ]
    assert names(report(tmp_path, "nodes", "node-1")) == ["node-1"]
    assert names(report(tmp_path, "nodes", "--all")) == ["node-1", "node-2"]
    assert [one["node"] for one in report(tmp_path, "step", "--deadline", "100ms", code=1)["episodes"]] == ["node-2"]


@pytest.mark.parametrize("before", [True, False])
def test_a_cluster_is_named_before_the_command_or_after_it(tmp_path: Path, uri: str, before: bool) -> None:
    (tmp_path / "c.toml").write_text("[cluster.a]\nnodes = ['node-1']\n[cluster.b]\nnodes = ['node-2']\n")
    shared = ["--config", "c.toml", "--cluster", "b", "--connect", uri]
    selection = report(tmp_path, *([*shared, "nodes"] if before else ["nodes", *shared]))
    assert (selection["choice"], names(selection)) == ("cluster", ["node-2"])


def test_the_options_go_before_what_the_cluster_says_of_the_policy(tmp_path: Path, uri: str) -> None:
    (tmp_path / "clockstep.toml").write_text(
        f"[cluster.a]\nnodes = ['node-1']\nconnect = '{uri}'\ntolerance = '9000000d'\nmax_forward = '9000000d'\n"
    )
    (lenient,) = report(tmp_path, "status")["episodes"]
    assert lenient["verdict"] == "good"
    (strict,) = report(tmp_path, "status", "--tolerance", "1ns", code=1)["episodes"]
    assert strict["verdict"] != "good"


def test_the_vagrant_project_names_its_machines_from_below_too(project: Path, uri: str) -> None:
    (project / "src").mkdir()
    selection = report(project / "src", "nodes", "--connect", uri)
    assert (selection["choice"], names(selection)) == ("vagrant", ["node-2"])
    assert selection["nodes"][0]["why"] == "Vagrant's machine second"
    assert names(report(project, "nodes", LIBVIRT_DEFAULT_URI=uri)) == ["node-2"]


def test_a_vagrant_machine_whose_domain_is_gone_stops_the_command(project: Path, uri: str) -> None:
    (project / ".vagrant" / "machines" / "second" / "libvirt" / "id").write_text("gone")
    done = clockstep(project, "step", "--connect", uri)
    assert done.returncode == 2
    assert "the domain of Vagrant's machine second is not here" in done.stderr


def test_several_connections_are_one_run_and_equal_names_are_kept_apart(tmp_path: Path, uri: str) -> None:
    other = host(tmp_path / "another", {"node-1": "33333333-3333-4333-8333-333333333333", "solo": UUIDS["node-2"]})
    both = ["--connect", uri, "--connect", other]
    assert names(report(tmp_path, "nodes", *both)) == [f"node-1@{other}", f"node-1@{uri}", "node-2", "solo"]
    episodes = report(tmp_path, "status", f"node-1@{other}", "node-2", *both, code=1)["episodes"]
    assert [episode["node"] for episode in episodes] == [f"node-1@{other}", "node-2"]
    ambiguous = clockstep(tmp_path, "nodes", "node-1", *both)
    assert ambiguous.returncode == 2
    assert ambiguous.stderr.splitlines()[1] == f"  say which: node-1@{other} or node-1@{uri}"
    same = clockstep(tmp_path, "step", "--all", *both)
    assert same.returncode == 2
    assert "node-2 and solo are the same machine" in same.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes", "nod-1"], "there is no node 'nod-1'\n  did you mean node-1 or node-2?"),
        (["nodes", "--config", "none.toml"], "there is no file none.toml"),
        (["nodes", "--cluster", "a"], "there is no file clockstep.toml"),
        (["nodes", "--config", "two.toml"], "two.toml has several clusters: a, b"),
        (["nodes", "--config", "two.toml", "--cluster", "c"], "two.toml has no cluster 'c'\n  it has: a, b"),
        (["step", "--config", "two.toml", "--cluster", "a", "--all"], "--all is more than the cluster 'a'"),
        (["step", "node-1", "--all"], "name the nodes, or say --all, and not both"),
        (["nodes", "--config", "wrong.toml"], "wrong.toml: cluster.a.nodes[0]: Expected `str`, got `int`"),
        (["step"], "name the nodes, or say --all"),
    ],
)
def test_bad_input_is_one_line_and_a_hint_and_exits_with_2(
    tmp_path: Path, uri: str, words: list[str], said: str
) -> None:
    (tmp_path / "two.toml").write_text("[cluster.a]\nnodes = ['*']\n[cluster.b]\nnodes = ['*']\n")
    (tmp_path / "wrong.toml").write_text("[cluster.a]\nnodes = [1]\n")
    done = clockstep(tmp_path, *words, "--connect", uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"clockstep: {said}")
    assert len(done.stderr.splitlines()) <= 2
