"""The watcher on real guests: what others do to them is found and mended, and nothing else is touched."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import libvirt

from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
from clockstep.model import Guest
from clockstep.reach.guard import FIFO
from clockstep_lab import lab as labs
from clockstep_lab.processes import of_lab
from conftest import Guests, pass_time, quiet, until
from flows.commands import SECOND_NS, TOLERANCE_NS, agrees, clockstep, command, only_a_guard_can_step, put_behind

AWAY_S = 5
AGENT = "org.qemu.guest_agent.0"


class Watch:
    """A watcher that runs, and the Episodes that it has told."""

    def __init__(self, process: "subprocess.Popen[str]", told: Path) -> None:
        self.process = process
        self._told = told

    @property
    def episodes(self) -> list[Any]:
        return [json.loads(line) for line in self._told.read_text().splitlines() if line.endswith("}")]

    def of(self, name: str) -> list[Any]:
        return [episode for episode in self.episodes if episode["node"] == name]

    def until_good(self, name: str, seconds: float = 60) -> Any:
        """The first good Episode of a node that was off by more than a second, as nobody's short pauses make it."""
        until(lambda: bool(self._mended(name)), seconds)
        return self._mended(name)[0]

    def _mended(self, name: str) -> list[Any]:
        good = [episode for episode in self.of(name) if episode["verdict"] == "good"]
        return [episode for episode in good if abs(episode["before"]["value_ns"]) > SECOND_NS]


@contextmanager
def watching(guests: Guests, tmp_path: Path, *words: str) -> Iterator[Watch]:
    """A watcher of these nodes."""
    told = tmp_path / f"told{time.monotonic_ns()}"
    line = command(guests, "-o", "json", "watch", *words)
    with told.open("w") as out, subprocess.Popen(line, stdout=out, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            assert any("watching" in line for line in process.stderr)
            yield Watch(process, told)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
        finally:
            process.kill()


def restart_libvirtd(guests: Guests) -> None:
    """Kill it, and start it again."""
    for pid in of_lab(guests.lab.folder):
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"libvirtd"):
            os.kill(pid, signal.SIGKILL)
    labs.up(guests.lab.name, len(guests.names), None, quiet)
    guests.libvirt = libvirt.open(guests.lab.uri)


def at_rest(guests: Guests, name: str) -> None:
    """Wait until no clockstep works on the node: to take a snapshot is a pause, which the watcher mends as well."""
    node = Guest(name, str(UUID(guests.domain(name).UUIDString())), "running")
    with DomainLocks(SystemClock()).hold([node], 60 * SECOND_NS):
        pass


def large_steps(episodes: list[Any]) -> int:
    actions = [action for episode in episodes for action in episode["actions"] if action["type"] == "step"]
    return sum(abs(step["by_ns"]) > SECOND_NS for step in actions)


def proven(guests: Guests, episode: Any, cause: str) -> None:
    assert episode["cause"]["kind"] == cause
    assert agrees(guests, episode)


def test_whatever_others_do_to_a_node_its_clock_is_right_at_once(guests: Guests, tmp_path: Path) -> None:
    name, resumed, saved = guests.names
    guests.snapshot(name, "theirs")
    assert clockstep(guests, "step", name)["episodes"][0]["verdict"] == "good"  # a snapshot is a pause, too
    pass_time(AWAY_S)
    with watching(guests, tmp_path, "--all", "--every", "60s") as watch:
        pass_time(1)  # for the first looks to be over
        guests.revert(name, "theirs")
        reverted = watch.until_good(name)
        proven(guests, reverted, "reverted")
        assert reverted["before"]["value_ns"] < -AWAY_S * SECOND_NS
        assert large_steps([reverted]) == 1
        put_behind(guests, resumed, 3)
        proven(guests, watch.until_good(resumed), "resumed")
        guests.domain(saved).managedSave()
        pass_time(3)
        guests.domain(saved).create()
        proven(guests, watch.until_good(saved), "restored")
        for each in guests.names:
            assert large_steps(watch.of(each)) == 1


def test_a_guard_that_is_kept_is_in_the_snapshots_that_others_take(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, name, "--every", "1s", "--guard") as watch:
        until(lambda: guests.ssh(name, f"[ ! -p {FIFO} ] || cat {FIFO}.ready") != "", 60)
        with only_a_guard_can_step(guests, name):
            guests.snapshot(name, "theirs")
            pass_time(AWAY_S)
            at_rest(guests, name)
            guests.revert(name, "theirs")
            proven(guests, watch.until_good(name), "reverted")
            assert large_steps(watch.of(name)) == 1


def test_a_clock_that_is_wrong_without_an_event_is_found_and_one_that_is_not_chosen_is_only_shown(
    guests: Guests, tmp_path: Path
) -> None:
    chosen, other, _ = guests.names
    with watching(guests, tmp_path, chosen, "--observe-all", "--every", "2s") as watch:
        for name in (chosen, other):
            guests.ssh(name, "date -s @$(($(date +%s) - 30))")
        proven(guests, watch.until_good(chosen), "set-by-other")
        until(lambda: bool(watch.of(other)), 30)
        (shown,) = watch.of(other)
        assert (shown["verdict"], shown["actions"]) == ("bad", [])
        assert guests.offset_ns(other) < -20 * SECOND_NS


def test_a_clock_that_is_ahead_is_told_and_left_alone(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, name, "--every", "1s") as watch:
        guests.ssh(name, "date -s @$(($(date +%s) + 100))")
        until(lambda: bool(watch.of(name)), 30)
        assert watch.of(name)[0]["verdict"] == "bad"
        assert guests.offset_ns(name) > 90 * SECOND_NS


def test_a_flood_of_events_ends_with_a_right_clock(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, "--all", "--every", "3s") as watch:
        for _ in range(50):
            guests.domain(name).suspend()
            guests.domain(name).resume()
        put_behind(guests, name, 2)
        until(lambda: guests.is_within(name, TOLERANCE_NS), 60)
        assert watch.process.poll() is None


def test_a_revert_by_clockstep_is_stepped_once_by_one_of_them(guests: Guests, tmp_path: Path) -> None:
    clockstep(guests, "snapshot", "create", "base", "--all")
    pass_time(AWAY_S)
    with watching(guests, tmp_path, "--all", "--every", "3s") as watch:
        report = clockstep(guests, "revert", "base", "--yes")
        pass_time(4)
        for name in guests.names:
            (own,) = [episode for episode in report["episodes"] if episode["node"] == name]
            assert large_steps([own, *watch.of(name)]) == 1


def test_a_second_watcher_of_the_same_machines_refuses(guests: Guests, tmp_path: Path) -> None:
    with watching(guests, tmp_path, "--all") as watch:
        said = clockstep(guests, "watch", "--all", code=5)
        assert f"pid {watch.process.pid} of" in said


def test_a_libvirtd_that_is_restarted_is_listened_to_again(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, "--all", "--every", "2s") as watch:
        restart_libvirtd(guests)
        pass_time(5)
        put_behind(guests, name, 3)
        assert watch.until_good(name)["before"]["value_ns"] < -2 * SECOND_NS


def test_an_agent_that_hangs_delays_nobody_and_is_back_when_it_answers(guests: Guests, tmp_path: Path) -> None:
    hung, other, gone = guests.names
    with watching(guests, tmp_path, "--all", "--every", "5s", "--deadline", "8s") as watch:
        guests.ssh(hung, "pkill -STOP qemu-ga")
        put_behind(guests, hung, 3)
        put_behind(guests, other, 3)
        assert watch.until_good(other, seconds=20)["cause"]["kind"] == "resumed"
        until(lambda: any(episode["verdict"] == "unreachable" for episode in watch.of(hung)), 30)
        guests.domain(gone).destroy()
        guests.ssh(hung, "pkill -CONT qemu-ga")
        watch.until_good(hung)
        assert agrees(guests, watch.of(hung)[-1])
        assert watch.process.poll() is None


def test_a_libvirtd_that_dies_while_a_node_is_worked_on_costs_no_clock_and_no_second_step(
    guests: Guests, tmp_path: Path
) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, "--all", "--every", "1s") as watch:
        put_behind(guests, name, 3)
        restart_libvirtd(guests)
        until(lambda: guests.is_within(name, TOLERANCE_NS), 60)
        until(lambda: bool(watch.of(name)) and watch.of(name)[-1]["verdict"] == "good", 60)
        assert large_steps(watch.of(name)) <= 1
        assert watch.process.poll() is None


def test_a_watcher_that_is_killed_between_step_and_look_is_followed_by_one_that_steps_no_more(
    guests: Guests, tmp_path: Path
) -> None:
    name = guests.names[0]
    with watching(guests, tmp_path, "--all") as killed:
        put_behind(guests, name, 3)
        until(lambda: abs(guests.offset_ns(name)) < SECOND_NS, 30)
        killed.process.kill()
        killed.process.wait()
        with watching(guests, tmp_path, "--all", "--every", "1s") as watch:
            pass_time(3)
            assert large_steps(watch.of(name)) == 0
            assert abs(guests.offset_ns(name)) < SECOND_NS
            put_behind(guests, name, 2)
            watch.until_good(name)


def test_a_node_without_a_channel_for_its_agent_is_told_with_what_to_do(guests: Guests, tmp_path: Path) -> None:
    bare, other = guests.names[:2]
    channels = ElementTree.fromstring(guests.domain(bare).XMLDesc()).findall("devices/channel")
    (channel,) = [
        each for each in channels if (target := each.find("target")) is not None and AGENT in target.attrib.values()
    ]
    guests.domain(bare).detachDevice(ElementTree.tostring(channel, encoding="unicode"))
    until(lambda: AGENT not in guests.domain(bare).XMLDesc(), 30)
    try:
        with watching(guests, tmp_path, "--all", "--every", "1s", "--reach", "agent") as watch:
            until(lambda: bool(watch.of(bare)), 30)
            assert watch.of(bare)[0]["verdict"] == "unreachable"
            assert any("give the domain a channel" in finding["remedy"] for finding in watch.of(bare)[0]["findings"])
            put_behind(guests, other, 2)
            watch.until_good(other)
    finally:
        guests.domain(bare).destroy()  # its definition has the channel yet
