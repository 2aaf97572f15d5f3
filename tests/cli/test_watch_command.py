"""`clockstep watch` as a process: what it tells a service manager and Prometheus, and how it takes signals."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clockstep.cli.lines import Lines
from conftest import until

CONFIG = '[cluster.home]\nnodes = ["{nodes}"]\nconnect = "{connect}"\n'
DRIVER = "test:///default"
UNREACHABLE = """
current-context: lab
contexts: [{name: lab, context: {cluster: lab}}]
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:9"}}]
"""


class Watch:
    """A watcher of libvirt's test driver."""

    def __init__(self, process: "subprocess.Popen[str]", manager: socket.socket, config: Path) -> None:
        self.process = process
        self._manager = manager
        self._config = config

    def hears(self, wanted: str) -> str:
        """The next thing that the service manager is told and that has this in it."""
        while wanted not in (said := self._manager.recv(4096).decode()):
            pass
        return said

    def line(self, wanted: str) -> str:
        assert self.process.stderr
        return next(line for line in self.process.stderr if wanted in line)

    def configure(self, nodes: str = "test", connect: str = DRIVER) -> None:
        self._config.write_text(CONFIG.format(nodes=nodes, connect=connect))
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def watching(tmp_path: Path, *words: str, out: str = "/dev/null") -> Iterator[Watch]:
    config, address = tmp_path / "clockstep.toml", str(tmp_path / "notify")
    config.write_text(CONFIG.format(nodes="test", connect=DRIVER))
    command = [sys.executable, "-m", "clockstep", "watch", "--config", str(config), "--every", "1s", *words]
    environ = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
    environ.pop("PYTHONUNBUFFERED", None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Path(out).open("w") as stdout:
        manager.bind(address)
        manager.settimeout(20)
        with subprocess.Popen(command, env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield Watch(process, manager, config)
            finally:
                process.kill()


def test_a_service_manager_is_told_of_the_start_of_life_and_of_the_end(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        assert watch.hears("READY=1") == "READY=1\nSTATUS=watching"
        assert watch.hears("WATCHDOG=1") == "WATCHDOG=1"
        watch.process.send_signal(signal.SIGTERM)
        watch.hears("STOPPING=1")
        assert watch.process.wait(20) == 0


def test_it_reads_its_configuration_again_and_keeps_the_old_one_where_the_new_one_is_broken(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        watch.hears("READY=1")
        watch.configure(nodes='web", 5, "')
        watch.hears("RELOADING=1")
        assert "Expected `str`, got `int`" in watch.hears("READY=1")
        assert "Expected `str`, got `int`" in watch.line("configuration not reloaded")
        watch.configure(connect="qemu:///elsewhere")
        assert "restart the watcher to use them" in watch.hears("not reloaded")
        watch.configure(nodes='test"]\nkubernetes = { context = "other" }\n#["')
        assert "its Kubernetes cluster has changed; restart the watcher" in watch.hears("not reloaded")
        watch.configure(nodes="web")
        assert "not reloaded" in watch.hears("READY=1")
        watch.configure(nodes="t*")
        assert "configuration reloaded" in watch.hears("READY=1")
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(20) == 0


def test_a_service_whose_kubeconfig_is_gone_watches_all_the_same_and_says_so(tmp_path: Path) -> None:
    with watching(tmp_path, "--kubeconfig", str(tmp_path / "gone")) as watch:
        assert watch.hears("READY=1") == "READY=1\nSTATUS=watching"
        assert "gone cannot be read: No such file" in watch.line("reporting to Kubernetes")


def test_while_it_is_open_which_nodes_are_meant_none_of_those_is_corrected_that_are_excluded(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(UNREACHABLE)
    out = tmp_path / "out"
    words = ["--exclude", "worker-1", "--kubeconfig", str(config), "-o", "json"]
    with watching(tmp_path, *words, out=str(out)) as watch:
        watch.hears("READY=1")
        said = "there is no machine 'worker-1', and whether it is a Node is unknown: the API server https://127.0.0.1:9"
        assert said in watch.line("configuration not reloaded")
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(20) == 0
    assert out.read_text() == ""


def test_metrics_are_served_while_it_watches(tmp_path: Path) -> None:
    with watching(tmp_path, "--metrics", "0") as watch:
        address = watch.line("metrics are served at").split()[-1]
        watch.hears("READY=1")

        def page() -> str:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return str(answer.read().decode())

        until(lambda: 'clockstep_node_offset_seconds{node="test"}' in page(), 20)
        assert 'clockstep_connection_up{connection="test:///default"} 1.0' in page()


def test_a_full_disk_ends_no_watch(tmp_path: Path) -> None:
    with watching(tmp_path, out="/dev/full") as watch:
        watch.hears("READY=1")
        for _ in range(3):
            watch.hears("WATCHDOG=1")
        assert watch.process.poll() is None


def test_when_nobody_reads_it_any_more_it_ends(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with watching(tmp_path, out=f"/proc/self/fd/{writer}") as watch:
        os.close(writer)
        assert watch.process.wait(20) in {0, 1}


def test_a_service_waits_for_machines_that_are_not_there_yet(tmp_path: Path) -> None:
    with watching(tmp_path, "nobody") as watch:
        assert "nobody" in watch.line("nobody")
        watch.hears("READY=1")


@pytest.mark.parametrize("words", [["--metrics", "web"], ["--every", "soon"]])
def test_a_mistake_on_its_command_line_is_told_at_once(tmp_path: Path, words: list[str]) -> None:
    with watching(tmp_path, *words) as watch:
        assert watch.process.wait(20) == 2


def test_installing_without_systemd_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clockstep", "--connect", DRIVER, "service", "install", "test", "--user", "--yes"]
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": ""}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    runs = Path("/run/systemd/system").is_dir()  # and then it has no bus of this user's
    assert done.returncode == (6 if runs else 2)
    assert ("the service was not installed" if runs else "systemd does not run here") in done.stderr
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_a_pipe_that_nobody_reads_stops_no_watch(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    with watching(tmp_path, out=f"/proc/self/fd/{writer}") as watch:  # the machine's clock is wrong: there is a line
        watch.hears("READY=1")
        for _ in range(3):
            watch.hears("WATCHDOG=1")
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(20) == 0
    os.close(writer)
    os.close(reader)


class Stalled(io.StringIO):
    """A stream that takes nothing until it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.let_go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.waits.set()
        assert self.let_go.wait(20)
        return super().write(text)


def test_lines_that_nobody_reads_are_dropped_and_that_is_said() -> None:
    out, err = Stalled(), io.StringIO()
    lines = Lines(out, err, lambda: None, waiting=2)
    lines.out("one")
    assert out.waits.wait(20)
    for text in ("two", "three", "four", "five"):
        lines.out(text)
    out.let_go.set()
    until(lambda: "2 lines were dropped" in err.getvalue(), 20)
    lines.end()
    assert out.getvalue() == "one\ntwo\nthree\n"


def test_a_stream_that_is_gone_is_told_once_it_is_written_to() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    told = threading.Event()
    lines = Lines(Gone(), io.StringIO(), told.set)
    lines.err("to be read")
    assert not told.is_set()
    lines.out("to nobody")
    assert told.wait(20)
    lines.end()
