"""Nodes and daemons that misbehave, on real guests: one clear line, the right exit code, the other nodes finished."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
from clockstep.model import Guest
from conftest import Guests, pass_time, until
from flows.commands import SECOND_NS, all_proven, clockstep, command, only_a_guard_can_step, put_behind

LIAR = Path(__file__).with_name("lying_agent.py")


def verdicts(report: Any) -> dict[str, str]:
    return {episode["node"]: episode["verdict"] for episode in report["episodes"]}


@contextmanager
def during_step(guests: Guests, *words: str, at: str) -> Iterator["subprocess.Popen[str]"]:
    """A step under way, at the moment when its story says this; the block's end waits for it."""
    line = command(guests, "-o", "json", "step", *words)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any(at in told for told in process.stderr), "the awaited line never came"
        yield process


@contextmanager
def lying(guests: Guests, name: str, mode: str) -> Iterator[None]:
    """A guest whose agent is replaced by one that lies."""
    config = str(guests.lab.folder / "ssh_config")
    guests.ssh(name, "cat > /root/liar.py <<'END'\n" + LIAR.read_text() + "\nEND")
    guests.ssh(name, "mv /usr/sbin/qemu-ga /usr/sbin/qemu-ga.away; pkill qemu-ga")  # init cannot start it again
    run = ["ssh", "-F", config, name, f"exec python3 /root/liar.py {mode}"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as liar:
        try:
            assert liar.stdout
            assert liar.stdout.readline() == "listening\n"
            until(lambda: "name='org.qemu.guest_agent.0' state='connected'" in guests.domain(name).XMLDesc(), 10)
            yield
        finally:
            guests.ssh(name, "pkill -f '[l]iar.py'; mv /usr/sbin/qemu-ga.away /usr/sbin/qemu-ga; sync")
            liar.wait(30)
    until(lambda: clockstep(guests, "status", name, code=None)["episodes"][0]["verdict"] == "good", 60)


@pytest.mark.parametrize(
    ("mode", "verdict", "said"),
    [
        ("garbage", "unreachable", ""),
        ("megabytes", "unreachable", ""),
        ("before-1970", "unreachable", "since 1970"),
        ("after-2262", "unreachable", ""),
        ("no-number", "unreachable", ""),
        ("different-each-time", "unsure", ""),
    ],
)
def test_an_agent_that_lies_is_not_believed_and_costs_the_others_nothing(
    guests: Guests, mode: str, verdict: str, said: str
) -> None:
    name = guests.names[1]
    with lying(guests, name, mode):
        for words in (["status"], ["step", "--all", "--deadline", "10s"]):
            report = clockstep(guests, *words, code=3 if verdict == "unreachable" else 1)
            assert verdicts(report) == {guests.names[0]: "good", name: verdict, guests.names[2]: "good"}
            (episode,) = [episode for episode in report["episodes"] if episode["node"] == name]
            assert episode["actions"] == []
            assert any(said in finding["text"] for finding in episode["findings"])


@pytest.mark.parametrize("state", ["paused", "shut off"])
def test_a_node_that_does_not_run_is_named_and_the_others_are_finished(guests: Guests, state: str) -> None:
    name, late = guests.names[:2]
    if state == "paused":
        guests.domain(name).suspend()
    else:
        guests.domain(name).destroy()
    put_behind(guests, late, 3)
    report = clockstep(guests, "step", name, late, code=3)
    assert verdicts(report) == {name: "unreachable", late: "good"}
    (finding,) = [f for f in report["episodes"][0]["findings"] if f["verdict"] == "unreachable"]
    assert "only a running guest" in finding["remedy"]
    assert report["episodes"][0]["took_ns"] < 2 * SECOND_NS


def test_a_chronyd_that_hangs_is_named_and_the_clock_is_right_all_the_same(guests: Guests) -> None:
    name = guests.names[0]
    put_behind(guests, name, 4)
    guests.ssh(name, "pkill -STOP chronyd")
    try:
        (episode,) = clockstep(guests, "step", name)["episodes"]
        all_proven(guests, [episode])
        assert episode["facts"]["claim"] is None or episode["facts"]["claim"]["synchronised"] is None
        assert any("chronyd runs, but does not report its state" in finding["text"] for finding in episode["findings"])
        (demanded,) = clockstep(guests, "step", name, "--require-sync", "--deadline", "6s", code=1)["episodes"]
        assert any("was not in sync by the deadline" in finding["text"] for finding in demanded["findings"])
    finally:
        guests.ssh(name, "pkill -CONT chronyd")


def test_a_node_without_a_time_daemon_is_brought_right(guests: Guests) -> None:
    name = guests.names[0]
    guests.ssh(name, "mv /usr/sbin/chronyd /usr/sbin/chronyd.away; pkill chronyd")
    try:
        put_behind(guests, name, 4)
        (episode,) = clockstep(guests, "step", name)["episodes"]
        all_proven(guests, [episode])
        assert episode["facts"]["claim"] is None
    finally:
        guests.ssh(name, "mv /usr/sbin/chronyd.away /usr/sbin/chronyd; sync")  # the next test may cut its power


def test_a_node_that_disappears_between_look_and_proof_is_unreachable(guests: Guests) -> None:
    name, other = guests.names[:2]
    for each in (name, other):
        put_behind(guests, each, 3)
    with during_step(guests, name, other, "--deadline", "8s", at=f"{name}: -") as step:
        guests.domain(name).destroy()
        assert step.stdout
        report = json.loads(step.stdout.read())
    assert step.returncode == 3
    assert verdicts(report) == {name: "unreachable", other: "good"}


def test_a_node_that_is_reverted_again_meanwhile_is_right_in_the_end(guests: Guests) -> None:
    name = guests.names[0]
    guests.snapshot(name, "before")
    pass_time(5)
    put_behind(guests, name, 3)
    with during_step(guests, name, at="measuring again") as step:
        guests.revert(name, "before")
        assert step.stdout
        report = json.loads(step.stdout.read())
    assert step.returncode == 0
    (episode,) = report["episodes"]
    assert [action["type"] for action in episode["actions"]].count("step") >= 2
    all_proven(guests, [episode])


def test_a_node_that_another_clockstep_works_on_is_left_to_it(guests: Guests) -> None:
    name, other = guests.names[:2]
    put_behind(guests, name, 3)
    held = Guest(name, str(UUID(guests.domain(name).UUIDString())), "running")
    with DomainLocks(SystemClock()).hold([held], SECOND_NS):
        report = clockstep(guests, "step", name, other, "--deadline", "10s", code=5)
        assert verdicts(report) == {name: "unreachable", other: "good"}
        assert "is locked by another clockstep" in report["episodes"][0]["facts"]["trouble"][0]["text"]
        refused = clockstep(guests, "snapshot", "create", "x", name, other, "--deadline", "1s", code=5)
        assert f"{name} is locked by another clockstep" in refused
    assert clockstep(guests, "snapshot", "list")["snapshots"] == []
    assert guests.offset_ns(name) < -2 * SECOND_NS


def test_an_agent_that_may_run_no_commands_has_the_clock_set_and_says_what_is_missing(guests: Guests) -> None:
    name = guests.names[2]
    guests.ssh(name, "mkdir -p /etc/qemu; printf '[general]\\nblock-rpcs=guest-exec\\n' > /etc/qemu/qemu-ga.conf")
    guests.ssh(name, "pkill qemu-ga")
    try:
        until(lambda: clockstep(guests, "status", name, code=None)["episodes"][0]["verdict"] == "good", 30)
        put_behind(guests, name, 5)
        (episode,) = clockstep(guests, "step", name)["episodes"]
        all_proven(guests, [episode])
        (finding,) = [f for f in episode["findings"] if "the time daemon was not" in f["text"]]
        assert "qemu-ga.conf" in finding["remedy"]
    finally:
        guests.ssh(name, "rm /etc/qemu/qemu-ga.conf; pkill qemu-ga")


def test_a_libvirt_that_is_not_there_is_one_line_with_a_hint() -> None:
    words = ["--connect", "qemu+unix:///session?socket=/nonexistent/sock", "status"]
    done = subprocess.run([sys.executable, "-m", "clockstep", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("clockstep: cannot connect to libvirt at ")
    assert "--connect" in done.stderr.splitlines()[1]


def test_the_guard_that_a_snapshot_has_steps_a_real_clock_without_anything_started(guests: Guests) -> None:
    name = guests.names[0]
    clockstep(guests, "snapshot", "create", "guarded", name)
    with only_a_guard_can_step(guests, name):
        put_behind(guests, name, 3)
        (episode,) = clockstep(guests, "step", name)["episodes"]
        all_proven(guests, [episode])
