"""The agent as a program: its small entry, its listener, its lock. None of these may set this machine's clock.

Each runs without CAP_SYS_TIME, in its bounding set too, and says so.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.agents import MODULE, PATIENCE_S, get, harmless, line_with, running
from adapters.node import SimKernel
from clockstep.agent import listener as listening
from clockstep.agent.explain import may_step
from clockstep.agent.lines import json_line, text_line
from clockstep.agent.listener import Listener, parse_address
from clockstep.agent.main import LOCKED, REFUSED, USAGE
from clockstep.agent.metrics import AgentMetrics
from clockstep.agent.options import Options, parse
from clockstep.agent.others import others
from clockstep.agent.printer import Printer
from clockstep.agent.status import StatusLine, first_says
from clockstep.agent.work import Machine
from clockstep.cli.exits import Exit
from clockstep.core.agent_status import AgentSays, read_status_line
from clockstep.errors import UsageError
from clockstep.host.phc import Device
from clockstep.model import AgentReport, Cause, Episode, Facts, Finding, Offset, Reading, Resync, Step, Verdict
from clockstep.render.output import json_line as as_watch_prints
from clockstep.sinks.metrics import Metrics


def test_an_agent_serves_metrics_and_health_and_ends_at_sigterm() -> None:
    with running("--metrics", "0") as agent:
        assert "no, without CAP_SYS_TIME" in line_with(agent, "steps:")
        address = line_with(agent, "served at").split()[-1].removeprefix("http://").removesuffix("/metrics")
        status, text = get(address, "/metrics")
        assert status == 200
        up = {
            sample.labels["signal"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "clockstep_signal_up"
        }
        assert up["clock-set"] == 1
        assert get(address, "/healthz") == (200, "ok\n")
        assert get(address, "/step")[0] == 404
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_S) == 0


def test_a_second_agent_on_the_machine_ends_and_names_the_first() -> None:
    with running("--observe") as first:
        line_with(first, "signal tick: up")
        with running("--observe") as second:
            assert second.wait(PATIENCE_S) == LOCKED
            assert f"pid {first.pid}" in (second.stderr.read() if second.stderr else "")


def test_a_service_manager_hears_that_it_watches_lives_and_ends() -> None:
    name = f"clockstep-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(PATIENCE_S)
        said: list[str] = []
        environ = ["env", f"NOTIFY_SOCKET=@{name}", "WATCHDOG_USEC=300000"]
        with running(command=[*environ, *MODULE]) as agent:
            while not {"READY=1", "WATCHDOG=1"} <= set(said):
                said += manager.recv(4096).decode().splitlines()
            (status,) = [line.removeprefix("STATUS=") for line in said if line.startswith("STATUS=")][:1]
            says = read_status_line(status)
            assert says
            assert (says.by in {"phc", "chrony", "nothing"}, says.steps) == (True, "no")  # without CAP_SYS_TIME
            agent.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in said:
                said += manager.recv(4096).decode().splitlines()


def test_the_status_line_follows_the_last_episode() -> None:
    said: list[AgentSays] = []
    line = StatusLine(AgentSays("chrony", "yes"), said.append)
    line.seen(replace(EPISODE, facts=Facts()), new=False)
    line.seen(EPISODE, new=True)
    line.seen(replace(EPISODE, facts=Facts()), new=True)
    assert [(one.by, one.steps, one.verdict) for one in said] == [
        ("chrony", "yes", "unsure"),
        ("phc", "yes", "unsure"),
        ("phc", "yes", "unsure"),
    ]
    assert [one.offset for one in said] == [None, Offset(400, 900), None]


@pytest.mark.parametrize(
    ("ahead_ns", "daemon", "observes", "steps", "says"),
    [
        (0, "chrony", False, True, AgentSays("phc", "yes")),
        (None, "chrony", False, True, AgentSays("chrony", "yes")),
        (None, "systemd-timesyncd", True, False, AgentSays("nothing", "observes")),
        (None, "", False, False, AgentSays("nothing", "no")),
    ],
)
def test_before_it_has_measured_it_says_what_it_would_go_by(
    ahead_ns: int | None, daemon: str, observes: bool, steps: bool, says: AgentSays
) -> None:
    kernel = SimKernel()
    machine = Machine("node", kernel, kernel, lambda _node, _text: None, Device("hyperv", Path("/dev/none")), ahead_ns)
    report = AgentReport((), "", daemon, steps)
    assert first_says(machine, report, observes=observes) == says


def test_explain_is_a_page_and_as_json_a_record() -> None:
    page = subprocess.run(harmless([*MODULE, "--explain"]), capture_output=True, text=True, check=True, cwd="/")
    assert "signal fork: " in page.stdout
    assert "  blind to " in page.stdout
    said = subprocess.run(harmless([*MODULE, "--explain", "-o", "json"]), capture_output=True, text=True, check=True)
    report = json.loads(said.stdout)
    assert report["steps"] is False
    assert {one["signal"] for one in report["signals"]} >= {"phc", "fork", "tick", "clock-set"}


@pytest.mark.parametrize("words", [["--every", "1ms"], ["--tolerance", "5"], ["--metrics"], ["more"]])
def test_what_cannot_be_meant_is_refused(words: list[str]) -> None:
    done = subprocess.run(harmless([*MODULE, *words]), capture_output=True, text=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("address", ["0.0.0.0:9123", "10.0.0.7:9123", "[::]:9123", "localhost:9", "9123x", "70000", ""])
def test_nothing_but_loopback_is_listened_on(address: str) -> None:
    with pytest.raises(UsageError, match="loopback"):
        parse_address(address)
    done = subprocess.run(harmless([*MODULE, "--metrics", address]), capture_output=True, text=True, check=False)
    assert done.returncode == USAGE


def test_an_address_of_loopback_is_one_and_one_in_use_is_said() -> None:
    assert parse_address("9123") == ("127.0.0.1", 9123)
    assert parse_address("[::1]:9123") == ("::1", 9123)
    listener = Listener("0", lambda: "", lambda: False)
    address = listener.address.removeprefix("http://").removesuffix("/metrics")
    assert get(address, "/healthz")[0] == 503
    with pytest.raises(UsageError, match="cannot be served"):
        Listener(address, lambda: "", lambda: True)
    listener.close()


def test_whoever_connects_and_says_nothing_holds_up_nobody() -> None:
    listener = Listener("0", lambda: "metrics", lambda: True)
    address = listener.address.removeprefix("http://").removesuffix("/metrics")
    host, port = parse_address(address)
    with socket.create_connection((host, port)):
        assert get(address, "/metrics") == (200, "metrics")
    listener.close()


def test_more_connections_than_a_few_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "TAKES_S", 10 * PATIENCE_S)
    listener = Listener("0", lambda: "metrics", lambda: True)
    address = parse_address(listener.address.removeprefix("http://").removesuffix("/metrics"))
    with ExitStack() as connections:
        mute = [connections.enter_context(socket.create_connection(address)) for _ in range(100)]
        for one in mute[listening.AT_ONCE :]:
            one.settimeout(PATIENCE_S)
            with suppress(ConnectionResetError):
                assert one.recv(1) == b""
        for one in mute[: listening.AT_ONCE]:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
    listener.close()


def test_whoever_says_little_at_a_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "TAKES_S", 1)
    listener = Listener("0", lambda: "metrics", lambda: True)
    cut_off = threading.Event()
    with socket.create_connection(parse_address(listener.address.removeprefix("http://")[: -len("/metrics")])) as slow:
        slow.settimeout(PATIENCE_S)

        def drip() -> None:
            with suppress(OSError):
                while not cut_off.wait(0.1):
                    slow.sendall(b"x")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""
        cut_off.set()
        dripping.join()
    listener.close()


@pytest.mark.parametrize(
    "request_", [b"POST /metrics HTTP/1.1\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET " + b"x" * 9000, b""]
)
def test_what_is_no_request_is_answered_by_the_end_of_the_connection(request_: bytes) -> None:
    listener = Listener("0", lambda: "metrics", lambda: True)
    address = listener.address.removeprefix("http://").removesuffix("/metrics")
    with socket.create_connection(parse_address(address)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert get(address, "/metrics") == (200, "metrics")
    listener.close()


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_read_is_in_order() -> None:
    reader, writer = os.pipe()
    printer = Printer(writer)
    for number in range(20_000):
        printer(f"{number} {'x' * 100}")  # more than a pipe holds, and than waits
    with os.fdopen(reader) as read:
        numbers = [int(read.readline().split()[0]) for _ in range(1000)]
    assert numbers == sorted(numbers)
    printer("nobody reads this")
    printer.close()
    os.close(writer)


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert (USAGE, LOCKED, REFUSED) == (Exit.USAGE, Exit.LOCKED, Exit.REFUSED)


def test_what_is_not_typed_is_the_default() -> None:
    assert parse([]) == Options()
    typed = parse(["--max-forward", "2d", "--allow-backward", "--host-error", "3ms", "-o", "json"])
    assert (typed.max_forward_ns, typed.host_error_ns, typed.as_json) == (2 * 86400 * 10**9, 3 * 10**6, True)
    assert typed.max_backward_ns == 86400 * 10**9


def test_this_process_may_step_or_not_as_its_capabilities_say(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    status = tmp_path / "proc/self/status"
    for capabilities, allowed in (("0000000002000000", True), ("0000000001000000", False), ("x", False)):
        status.write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
        assert may_step(tmp_path) is allowed
    assert may_step(tmp_path / "none") is False


EPISODE = Episode(
    'node"1',
    Cause("reverted", since_ns=5),
    Verdict.UNSURE,
    Offset(-22_000_000_000, 1000),
    (Step(22_000_000_000), Resync("chrony")),
    Offset(400, 900),
    Facts((Reading("local", Offset(400, 900), 1, 2, "phc"),)),
    (Finding("sync", Verdict.BAD, "not in sync", "wait"),),
    1_800_000_000_000_000_000,
    90_000_000,
    wrong_for_ns=80_000_000,
)


def test_an_episode_is_a_line_as_the_watcher_prints_it() -> None:
    assert json.loads(json_line(EPISODE)) == json.loads(as_watch_prints(EPISODE))
    line = text_line(EPISODE)
    assert "reverted to a snapshot: -22.000000 s ± 1 µs; stepped +22.000000 s, resynced chrony" in line
    assert "corrected in 80 ms; unsure; not in sync (wait)" in line


def test_the_metrics_have_the_watchers_names_and_are_read_by_prometheus_own_parser() -> None:
    watcher, agent = Metrics(), AgentMetrics()
    agent.signals({"phc": True, "fork": False})
    for sink in (watcher, agent):
        sink.seen(EPISODE, new=True)
    families = {family.name: family for family in text_string_to_metric_families(agent.text())}
    assert {one.value for one in families["clockstep_signal_up"].samples} == {0, 1}
    theirs = {family.name: family for family in watcher.registry.collect()}
    shared = sorted(families.keys() & theirs.keys())
    assert len(shared) == 8
    for name in shared:
        ours, known = (
            [(s.name, s.labels, s.value) for s in both[name].samples if not s.name.endswith("_created")]
            for both in (families, theirs)
        )
        assert sorted(ours, key=str) == sorted(known, key=str), name


@pytest.mark.parametrize(
    ("programs", "release", "names"),
    [
        (["chronyd"], "6.12.0-amd64", []),
        (["clockbound"], "6.12.0-amd64", ["clockbound"]),
        (["clockbound", "chronyd"], "6.12.0-amd64", []),  # ClockBound 2 leaves the clock to chronyd
        (["vmtoolsd", "VBoxService"], "6.12.0-amd64", ["vmtoolsd", "VBoxService"]),
        (["machined"], "6.12.6-talos", ["timed"]),
    ],
)
def test_whoever_else_sets_the_clock_is_named(
    tmp_path: Path, programs: list[str], release: str, names: list[str]
) -> None:
    for pid, program in enumerate(programs, 100):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text(f"{program}\n")
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text(f"{release}\n")
    found = others(tmp_path)
    assert [one.name for one in found] == names
    assert all("--observe" in one.text or "timesync" in one.text or "VBoxManage" in one.text for one in found)
