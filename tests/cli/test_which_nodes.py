"""Which nodes a command is about, as people say it: on libvirt's test driver, in folders of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

UUIDS = {"node-1": "11111111-1111-4111-8111-111111111111", "node-2": "22222222-2222-4222-8222-222222222222"}
AGENT = ("--reach", "agent")
"""The test driver answers with its own time, whatever the way."""
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
    done = clockstep(folder, "-o", "json", *words, **environment)
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
            "guest": {
                "name": "node-2",
                "uuid": UUIDS["node-2"],
                "state": "running",
                "connection": uri,
                "stuck": "",
                "domain": "",
            },
            "why": "matches *-2",
            "kubernetes": None,
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
    assert (selection["choice"], names(selection)) == ("vagrant", ["second"])
    assert selection["nodes"][0]["guest"]["domain"] == "node-2"
    assert selection["nodes"][0]["why"] == "Vagrant's machine second"
    assert names(report(project, "nodes", LIBVIRT_DEFAULT_URI=uri)) == ["second"]


def test_a_project_is_found_from_another_folder_too(tmp_path: Path, project: Path, uri: str) -> None:
    assert names(report(tmp_path, "nodes", "-C", "project", "--connect", uri)) == ["second"]
    assert names(report(tmp_path, "-C", str(project), "nodes", "--connect", uri, VAGRANT_CWD="/")) == ["second"]
    assert names(report(tmp_path, "nodes", "--connect", uri, VAGRANT_CWD=str(project))) == ["second"]
    done = clockstep(tmp_path, "-C", "nowhere", "nodes")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "clockstep: -C nowhere: No such file or directory")


@pytest.mark.parametrize("asked", ["second", "node-2", "sec*", "*-2"])
def test_vagrants_machines_go_by_either_name(project: Path, uri: str, asked: str) -> None:
    assert names(report(project, "nodes", asked, "--connect", uri)) == ["second"]
    (project / "clockstep.toml").write_text(f"[cluster.mine]\nnodes = ['{asked}']\nconnect = '{uri}'\n")
    assert names(report(project, "nodes")) == ["second"]
    assert [one["node"] for one in report(project, "status", *AGENT, code=1)["episodes"]] == ["second"]


def test_a_name_of_two_machines_is_asked_about(project: Path, tmp_path: Path) -> None:
    uri = host(tmp_path / "host", {"node-2": UUIDS["node-2"], "second": UUIDS["node-1"]})
    done = clockstep(project, "step", "second", "--connect", uri)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "clockstep: 'second' is Vagrant's machine node-2, and another machine too",
        f"  use node-2 or second@{uri}",
    ]
    assert names(report(project, "nodes", f"second@{uri}", "--connect", uri)) == ["second"]
    assert names(report(project, "nodes", "node-2", "--connect", uri)) == ["node-2"]


def test_a_configuration_adds_to_the_project_and_takes_nothing_away(project: Path, uri: str) -> None:
    (project / "clockstep.toml").write_text("[cluster.mine]\ntolerance = '9000000d'\nmax_forward = '9000000d'\n")
    (project / "src").mkdir()
    for folder in (project, project / "src"):
        selection = report(folder, "nodes", "--connect", uri)
        assert (selection["choice"], names(selection)) == ("configuration", ["second"])
        assert report(folder, "status", *AGENT, "--connect", uri)["episodes"][0]["verdict"] == "good"


def test_a_cluster_without_nodes_is_of_no_use_outside_of_a_project(tmp_path: Path, uri: str) -> None:
    (tmp_path / "clockstep.toml").write_text("[cluster.mine]\nfreeze = true\n")
    done = clockstep(tmp_path, "nodes", "--connect", uri)
    assert done.returncode == 2
    assert done.stderr.startswith("clockstep: [cluster.mine] of clockstep.toml names no nodes\n  add nodes = [...]")


@pytest.mark.parametrize("pattern", ["node-1?", "node-??", "*system", "*@*"])
def test_a_glob_is_not_about_the_connection(tmp_path: Path, uri: str, pattern: str) -> None:
    for words in (["--connect", uri], []):
        done = clockstep(tmp_path, *words, "nodes", pattern, LIBVIRT_DEFAULT_URI=uri)
        assert (done.returncode, f"there is no node {pattern!r}" in done.stderr) == (2, True)


@pytest.mark.parametrize("below", [".", "clockstep.toml"])
def test_a_configuration_that_others_may_write_is_used_only_if_it_is_named(
    tmp_path: Path, uri: str, below: str
) -> None:
    (tmp_path / "clockstep.toml").write_text(f"[cluster.mine]\nnodes = ['*']\nconnect = '{uri}'\n")
    (tmp_path / below).chmod(0o777)
    done = clockstep(tmp_path, "nodes")
    assert done.returncode == 2
    assert "clockstep.toml is not trusted: " in done.stderr
    assert "may be written by everybody" in done.stderr
    assert names(report(tmp_path, "nodes", "--config", "clockstep.toml")) == ["node-1", "node-2"]


@pytest.mark.parametrize("words", [["lab", "list"], ["--connect", "lab:nosuch", "nodes"]])
def test_no_code_is_loaded_from_the_current_folder(tmp_path: Path, words: list[str]) -> None:
    for package in ("clockstep_lab", "clockstep", "click"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')\n")
    subprocess.run(
        [sys.executable, "-P", "-m", "clockstep", *words], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("address", ["qemu+ext:///system?command=/evil", "qemu+ssh://h/system?netcat=/evil"])
def test_an_address_that_starts_a_program_is_used_only_from_a_file_that_is_named(tmp_path: Path, address: str) -> None:
    (tmp_path / "clockstep.toml").write_text(f"[cluster.mine]\nnodes = ['*']\nconnect = '{address}'\n")
    done = clockstep(tmp_path, "nodes")
    assert (done.returncode, "makes libvirt start a program" in done.stderr) == (2, True)
    assert "libvirt start" not in clockstep(tmp_path, "nodes", "--config", "clockstep.toml").stderr


def test_a_project_that_others_may_write_chooses_no_machines(project: Path, uri: str) -> None:
    (project / ".vagrant").chmod(0o777)
    (project / "src").mkdir()
    done = clockstep(project / "src", "status", "--connect", uri)
    assert done.returncode == 2
    assert done.stderr.startswith(f"clockstep: the Vagrant project {project} is not trusted: {project}/.vagrant may be")


def test_a_project_that_cannot_be_read_is_no_matter_where_a_configuration_names_the_nodes(
    project: Path, uri: str
) -> None:
    (project / ".vagrant/machines/second/libvirt/id").write_text("nonsense")
    assert clockstep(project, "nodes", "--connect", uri).returncode == 2
    (project / "clockstep.toml").write_text(f"[cluster.mine]\nnodes = ['node-1']\nconnect = '{uri}'\n")
    assert names(report(project, "nodes")) == ["node-1"]


def test_a_service_of_the_system_is_refused_where_only_vagrants_keys_lead_to_the_machines(
    project: Path, uri: str
) -> None:
    done = clockstep(project, "--connect", uri, "service", "install", "--system")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "clockstep: second: reached by Vagrant's keys, which the service's user clockstep may not read",
        "  add guest agents first (clockstep setup apply --guest-agent), or install your own service with --user",
    ]


def test_names_are_completed_as_they_are_printed_and_as_libvirt_has_them(project: Path, uri: str) -> None:
    def completed(typed: str) -> list[str]:
        variables = {"_CLOCKSTEP_COMPLETE": "bash_complete", "COMP_WORDS": f"clockstep status {typed}"}
        done = clockstep(project, **variables, COMP_CWORD="2", LIBVIRT_DEFAULT_URI=uri)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("sec") == ["second"]
    assert completed("node") == ["node-1", "node-2"]
    assert completed("") == ["node-1", "second"]


def test_a_vagrant_machine_whose_domain_is_gone_stops_the_command(project: Path, uri: str) -> None:
    (project / ".vagrant" / "machines" / "second" / "libvirt" / "id").write_text("44444444-4444-4444-8444-444444444444")
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
    assert ambiguous.stderr.splitlines()[1] == f"  use node-1@{other} or node-1@{uri}"
    same = clockstep(tmp_path, "step", "--all", *both)
    assert same.returncode == 2
    assert "node-2 and solo are the same machine" in same.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes", "nod-1"], "there is no node 'nod-1'\n  did you mean node-1 or node-2?"),
        (["nodes", "--config", "none.toml"], "there is no file none.toml"),
        (["nodes", "--cluster", "a"], "no configuration was found, so there is no cluster 'a'"),
        (["nodes", "--config", "two.toml"], "two.toml has several clusters: a, b"),
        (["nodes", "--config", "two.toml", "--cluster", "c"], "two.toml has no cluster 'c'\n  it has: a, b"),
        (["step", "--config", "two.toml", "--cluster", "a", "--all"], "--all would select more than the cluster 'a'"),
        (["step", "node-1", "--all"], "node names and --all exclude each other"),
        (["nodes", "--config", "wrong.toml"], "wrong.toml: cluster.a.nodes[0]: Expected `str`, got `int`"),
        (["step"], "no nodes specified"),
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
