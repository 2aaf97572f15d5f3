"""The watcher as a process, with a real API server: its condition, its metric, its end, and what removes it again."""

import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

import pytest

from clockstep.core.condition import writer_name
from clockstep.host.systemd_unit import MARK, UNIT, Service, files, unit_file
from clockstep.model import KubeAccess
from clockstep_lab.kubernetes import builds
from clockstep_lab.kubernetes.api import STRATEGIC, Object
from clockstep_lab.kubernetes.kubelite import Kubelite
from conftest import quiet, until

from .objects import EVENTS, NODES, add_node, empty

DRIVER = "test:///default"
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
"""That of libvirt's test driver's machine, whose clock stands still in 1989."""
OURS = writer_name("watch", gethostname())
THEIRS = {"type": "ClockProblem", "status": "False", "reason": "ClockInBounds"}


@pytest.fixture
def server(kubelite: Kubelite) -> Kubelite:
    """A cluster whose only machine here is node-1."""
    empty(kubelite)
    add_node(kubelite, "node-1", UUID)
    return kubelite


def condition(server: Kubelite, node: str = "node-1") -> Object | None:
    found = server.admin.get(f"{NODES}/{node}")["status"]["conditions"]
    return next((one for one in found if one["type"] == "ClockProblem"), None)


def clockstep(*words: str | Path, environ: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "clockstep", *words]
    return subprocess.run(
        command, env=os.environ | (environ or {}), capture_output=True, text=True, check=False, timeout=120
    )


@contextmanager
def watching(server: Kubelite) -> Iterator["subprocess.Popen[str]"]:
    words = ["--all", "--connect", DRIVER, "--kubeconfig", str(server.kubeconfig), "--metrics", "0", "--every", "1s"]
    command = [sys.executable, "-m", "clockstep", "watch", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_watcher_keeps_the_condition_and_leaves_it_when_it_ends_and_a_command_removes_it(server: Kubelite) -> None:
    with watching(server) as watch:
        assert watch.stderr
        said = next(found for line in watch.stderr if (found := re.search(r"served at (\S+)", line)))
        until(lambda: condition(server) is not None, 60)
        until(lambda: metric(said[1]) == "1.0", 20)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(30) == 0
    left = condition(server)
    assert left
    assert (left["status"], left["reason"]) == ("True", "ClockOutOfBounds")
    assert left["message"] == f"offset -14000 d ± 1000 d, beyond ± 10 ms; a step needs --max-forward (clockstep {OURS})"
    (event,) = server.admin.get(EVENTS)["items"]
    assert (event["type"], event["reason"]) == ("Warning", "ClockOutOfBounds")
    done = clockstep("kubernetes", "remove", "--yes", "--kubeconfig", server.kubeconfig)
    assert (done.returncode, done.stderr) == (0, "removed the condition of node-1\n")
    assert condition(server) is None
    assert clockstep("kubernetes", "remove", "--kubeconfig", server.kubeconfig).returncode == 0


def test_a_service_whose_cluster_is_away_at_its_start_learns_later_which_machines_its_nodes_are(
    server: Kubelite, tmp_path: Path
) -> None:
    environ = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    words = ["node-1", "--connect", DRIVER, "--kubeconfig", str(server.kubeconfig), "--every", "1s"]
    command = [sys.executable, "-m", "clockstep", "watch", *words]
    with server.away():
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr
            assert next(line for line in process.stderr if "whether it is a Node is unknown" in line)
        except BaseException:
            process.kill()
            raise
    with process:
        try:
            until(lambda: condition(server) is not None, 90)
        finally:
            process.kill()


def metric(url: str) -> str:
    """The value of the metric that says whether the cluster takes what is reported; empty while there is none."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return "".join(re.findall(r"^clockstep_kubernetes_up (\S+)$", answer.read().decode(), re.MULTILINE))


def written(server: Kubelite, node: str, writer: str) -> None:
    """Have a writer write the condition."""
    said = {**THEIRS, "message": f"offset within ± 10 ms (clockstep {writer})" if writer else "the ntp service runs"}
    server.admin.patch(f"{NODES}/{node}/status", {"status": {"conditions": [said]}}, STRATEGIC)


def test_only_what_this_hosts_watcher_wrote_is_removed_unless_all_is_to_be(server: Kubelite) -> None:
    for node, writer in (("node-1", OURS), ("node-2", "watch@elsewhere"), ("node-3", ""), ("node-4", OURS)):
        if node != "node-1":
            add_node(server, node, "")
        written(server, node, writer)
    remove = ("kubernetes", "remove", "--kubeconfig", server.kubeconfig)
    asked = clockstep(*remove, "node-1")
    assert asked.returncode == 2
    assert "refusing to remove the condition ClockProblem of node-1 without confirmation" in asked.stderr
    done = clockstep(*remove, "--yes", "node-[1-3]")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "node-2: its condition was written by watch@elsewhere, so it is left; --any-writer removes it",
        "node-3: its condition was written by another program, so it is left; --any-writer removes it",
        "removed the condition of node-1",
    ]
    assert condition(server, "node-4")
    assert clockstep(*remove, "--yes", "--any-writer").returncode == 0
    assert [condition(server, f"node-{number}") for number in (1, 2, 3, 4)] == [None] * 4


def test_a_node_that_is_none_is_refused_and_a_cluster_that_is_away_is_unreachable(server: Kubelite) -> None:
    remove = ("kubernetes", "remove", "--yes", "--kubeconfig", server.kubeconfig)
    done = clockstep(*remove, "node-9")
    assert (done.returncode, "there is no Node 'node-9' in the cluster" in done.stderr) == (2, True)
    with server.away():
        done = clockstep(*remove)
        assert (done.returncode, "refused the connection" in done.stderr) == (3, True)
    assert clockstep("kubernetes", "remove", "--no-kubernetes").returncode == 2


@pytest.fixture
def installed(server: Kubelite, tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose service reports to the cluster; systemd is a program that agrees to all."""
    service = Service(["/bin/true"], tmp_path, of_user=True, kubernetes=KubeAccess(str(server.kubeconfig), "lab"))
    file = unit_file(tmp_path, tmp_path, of_user=True)
    file.parent.mkdir(parents=True)
    file.write_text(files(service, tmp_path, tmp_path)[file])
    assert MARK in file.read_text()
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text('#!/bin/sh\necho "$@" >> "$HOME/asked"\n')
    systemctl.chmod(systemctl.stat().st_mode | stat.S_IXUSR)
    return {"HOME": str(tmp_path), "PATH": f"{systemctl.parent}:{os.environ['PATH']}"}


def test_uninstalling_the_service_removes_what_it_wrote(
    server: Kubelite, installed: dict[str, str], tmp_path: Path
) -> None:
    add_node(server, "node-2", "")
    written(server, "node-1", OURS)
    written(server, "node-2", "watch@elsewhere")
    done = clockstep("service", "uninstall", "--user", "--yes", environ=installed)
    assert done.returncode == 0
    assert "removed the condition of node-1" in done.stderr.splitlines()
    assert condition(server) is None
    assert condition(server, "node-2")
    assert f"disable --now {UNIT}" in (tmp_path / "asked").read_text()


def test_uninstalling_while_the_cluster_is_away_says_what_is_left_and_how_to_remove_it(
    server: Kubelite, installed: dict[str, str], tmp_path: Path
) -> None:
    written(server, "node-1", OURS)
    with server.away():
        done = clockstep("service", "uninstall", "--user", "--yes", environ=installed)
    assert done.returncode == 3
    assert not unit_file(tmp_path, tmp_path, of_user=True).exists()
    how = re.search(r"remove them later: clockstep (.*)", done.stderr)
    assert how
    assert clockstep(*how[1].split(), "--yes").returncode == 0
    assert condition(server) is None


def test_kubectl_finds_the_plugin(server: Kubelite) -> None:
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    kubectl = [str(builds.kubernetes(quiet) / "kubectl"), "clockstep"]
    for words, said in ((["--version"], "clockstep "), (["status", "--help"], "Usage: kubectl clockstep status ")):
        done = subprocess.run([*kubectl, *words], env=environ, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith(said)
