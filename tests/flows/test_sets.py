"""Snapshots and reverts of a whole cluster when something goes wrong or somebody interferes, on real guests."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest

from clockstep.cli.session import journal
from clockstep.flows.snapshot import RUN_ON
from clockstep_lab import lab as labs
from clockstep_lab.processes import of_lab
from conftest import Guests, pass_time, quiet, until
from flows.commands import SECOND_NS, all_proven, clockstep, command, on_a_terminal, run

RUNNING = libvirt.VIR_DOMAIN_RUNNING
ODD = "before <&> ünïts 'n' $HOME; * % 日本"


@contextmanager
def under_way(guests: Guests, *words: str, at: str) -> Iterator["subprocess.Popen[str]"]:
    """A command under way, at the moment when its story says this."""
    line = command(guests, "-o", "json", *words)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any(at in told for told in process.stderr), "the awaited line never came"
        yield process
        process.communicate(timeout=120)


def states(guests: Guests) -> list[int]:
    return [guests.domain(name).state()[0] for name in guests.names]


def nothing_is_left(guests: Guests) -> None:
    """Everything runs on, nothing is written down any more, and a step brings right what is not."""
    assert states(guests) == [RUNNING] * 3
    assert not {guests.domain(name).UUIDString() for name in guests.names} & set(journal().pauses())
    all_proven(guests, clockstep(guests, "step", "--all")["episodes"])


def monitor(guests: Guests, name: str, line: str) -> None:
    """Say something to a guest's QEMU, behind libvirt's back."""
    human = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
    libvirt_qemu.qemuMonitorCommand(guests.domain(name), line, human)


def test_a_set_is_reverted_by_itself_in_whatever_state_its_nodes_are(guests: Guests) -> None:
    clockstep(guests, "snapshot", "create", "older", guests.names[0])
    created = clockstep(guests, "snapshot", "create", ODD, "--all")
    assert created["stalled_ns"] > 0
    pass_time(5)
    guests.domain(guests.names[0]).destroy()
    guests.domain(guests.names[1]).suspend()
    assert "no snapshot specified" in clockstep(guests, "revert", code=2)
    assert "refusing to revert" in clockstep(guests, "revert", "--latest", code=2)
    code, shown = on_a_terminal(guests, "revert", "--latest", answer=b"n\n")
    assert code == 6
    assert "their running state is lost" in shown
    assert "nothing was changed" in shown
    assert states(guests) == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_PAUSED, RUNNING]
    report = clockstep(guests, "revert", "--latest", "--yes")
    assert report["snapshot"]["name"] == ODD
    assert [member["outcome"] for member in report["members"]] == ["reverted"] * 3
    all_proven(guests, report["episodes"])
    deleted = clockstep(guests, "snapshot", "delete", ODD, "--yes")
    assert [member["outcome"] for member in deleted["members"]] == ["deleted"] * 3
    assert [one["name"] for one in clockstep(guests, "snapshot", "list")["snapshots"]] == ["older"]


def test_snapshots_that_virsh_has_taken_are_listed_and_reverted(guests: Guests) -> None:
    for name in guests.names:
        guests.snapshot(name, "theirs")
    (listed,) = clockstep(guests, "snapshot", "list")["snapshots"]
    assert (listed["set_id"], listed["present"]) == (None, guests.names)
    pass_time(5)
    assert "name them, or use --all" in clockstep(guests, "revert", "theirs", "--yes", code=2)
    report = clockstep(guests, "revert", "theirs", "--all", "--yes")
    all_proven(guests, report["episodes"])


def test_a_snapshot_without_memory_is_said_to_boot_anew_and_does(guests: Guests) -> None:
    name = guests.names[0]
    guests.domain(name).destroy()
    guests.snapshot(name, "off")
    guests.domain(name).create()
    until(lambda: guests.greets(name), 90)
    report = clockstep(guests, "revert", "off", name, "--yes", "--deadline", "90s")
    assert any("so it boots" in remark for remark in report["remarks"])
    all_proven(guests, report["episodes"])


def test_a_raw_disk_is_refused_before_anything_is_paused(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[1]
    disk = guests.lab.folder / "raw.img"
    disk.write_bytes(bytes(2**20))
    disk.chmod(0o666)
    xml = f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>"
    xml += "<target dev='vdc' bus='virtio'/></disk>"
    guests.domain(name).attachDevice(xml)
    try:
        said = clockstep(guests, "snapshot", "create", "x", "--all", code=2)
        assert f"{name}: its disk vdc is raw, and only qcow2 can hold a snapshot" in said
    finally:
        guests.domain(name).detachDevice(xml)
        until(lambda: "vdc" not in guests.domain(name).XMLDesc(), 30)
        disk.unlink()
    assert clockstep(guests, "snapshot", "list")["snapshots"] == []


def test_when_one_of_three_cannot_be_reverted_none_runs_on_before_somebody_says_so(guests: Guests) -> None:
    clockstep(guests, "snapshot", "create", "base", "--all")
    first, broken, third = guests.names
    monitor(guests, broken, "delvm base")
    report = clockstep(guests, "revert", "base", "--yes", code=6)
    outcomes = {member["node"]: member["outcome"] for member in report["members"]}
    held = "held"
    assert outcomes == {first: held, broken: "not-reverted", third: held}
    assert report["episodes"] == []
    table = run(guests, "status").stdout
    assert table.count("paused by clockstep at") == 2
    assert "resume --mixed" in table
    assert "different pasts" in clockstep(guests, "resume", "--all", code=2)
    assert states(guests).count(RUNNING) == 0
    resumed = clockstep(guests, "resume", "--all", "--mixed")
    assert [member["node"] for member in resumed["members"]] == [first, third]
    all_proven(guests, resumed["episodes"])


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("pausing", signal.SIGKILL),
        ("taking the snapshot", signal.SIGKILL),
        (RUN_ON, signal.SIGKILL),
        ("taking the snapshot", signal.SIGTERM),
        (RUN_ON, signal.SIGINT),
    ],
)
def test_a_snapshot_that_is_cut_short_is_undone_or_ended_by_the_same_command(
    guests: Guests, at: str, number: signal.Signals
) -> None:
    with under_way(guests, "snapshot", "create", "base", "--all", at=at) as create:
        create.send_signal(number)
    if number != signal.SIGKILL:
        assert create.returncode == 128 + number
        assert states(guests) == [RUNNING] * 3
    listed = clockstep(guests, "snapshot", "list")["snapshots"]
    if not any(one["complete"] for one in listed):
        report = clockstep(guests, "snapshot", "create", "base", "--all")
        assert report["complete"]
    elif states(guests) != [RUNNING] * 3:
        clockstep(guests, "resume", "--all")
    (one,) = clockstep(guests, "snapshot", "list")["snapshots"]
    assert one["complete"]
    nothing_is_left(guests)


@pytest.mark.parametrize(
    ("at", "number"), [("reverting to", signal.SIGKILL), (RUN_ON, signal.SIGKILL), ("reverting to", signal.SIGINT)]
)
def test_a_revert_that_is_cut_short_is_made_again_by_the_same_command(
    guests: Guests, at: str, number: signal.Signals
) -> None:
    clockstep(guests, "snapshot", "create", "base", "--all")
    with under_way(guests, "revert", "base", "--yes", at=at) as revert:
        revert.send_signal(number)
    if number == signal.SIGINT:
        assert revert.returncode == 130
        assert states(guests) == [RUNNING] * 3
    report = clockstep(guests, "revert", "base", "--yes")
    assert report["complete"]
    nothing_is_left(guests)


def test_a_node_that_somebody_destroys_meanwhile_costs_the_others_nothing(guests: Guests) -> None:
    clockstep(guests, "snapshot", "create", "base", "--all")
    gone = guests.names[1]
    with under_way(guests, "revert", "base", "--yes", "--deadline", "10s", at=RUN_ON) as revert:
        guests.domain(gone).destroy()
    assert revert.returncode == 3
    assert [state for state in states(guests) if state == RUNNING] == [RUNNING] * 2
    others = [name for name in guests.names if name != gone]
    all_proven(guests, clockstep(guests, "status", *others)["episodes"])


@pytest.mark.parametrize("at", ["taking the snapshot", RUN_ON])
def test_a_libvirtd_that_is_restarted_meanwhile_leaves_nothing_paused(guests: Guests, at: str) -> None:
    with under_way(guests, "snapshot", "create", "base", "--all", at=at):
        for pid in of_lab(guests.lab.folder):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"libvirtd"):
                os.kill(pid, signal.SIGKILL)
        labs.up(guests.lab.name, len(guests.names), None, quiet)
    guests.libvirt = libvirt.open(guests.lab.uri)
    nothing_is_left(guests)


def test_two_at_the_same_time_come_one_after_the_other(guests: Guests) -> None:
    lines = [command(guests, "-o", "json", "snapshot", "create", name, "--all", "--deadline", "60s") for name in "ab"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for line in lines]
    said = [process.communicate(timeout=180)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [one["complete"] for one in clockstep(guests, "snapshot", "list")["snapshots"]] == [True, True]


def test_what_clockstep_pauses_it_resumes_and_what_others_pause_it_leaves(guests: Guests) -> None:
    mine, theirs, _ = guests.names
    guests.domain(theirs).suspend()
    assert f"{theirs} is paused, and not by clockstep" in clockstep(guests, "pause", mine, theirs, code=2)
    assert clockstep(guests, "pause", mine)["members"] == [{"node": mine, "outcome": "paused", "trouble": None}]
    pass_time(3)
    assert f"{theirs} is paused, and not by clockstep" in clockstep(guests, "resume", theirs, code=2)
    report = clockstep(guests, "resume", "--all")
    assert [member["node"] for member in report["members"]] == [mine]
    assert report["episodes"][0]["before"]["value_ns"] < -2 * SECOND_NS
    all_proven(guests, report["episodes"])
    assert guests.domain(theirs).state()[0] == libvirt.VIR_DOMAIN_PAUSED


@pytest.mark.guests
def test_where_there_is_no_space_left_nothing_is_paused() -> None:
    """A lab on a small file system of its own, which only its own processes see."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a short path, for sockets
    name = f"s{os.getpid()}"
    lab = f"{sys.executable} -m clockstep_lab"
    product = f"{sys.executable} -m clockstep --connect lab:{name}"
    script = f"""
mount -t tmpfs -o size=80m,mode=755 tmpfs {folder}
export CLOCKSTEP_LAB_DIR={folder}
trap '{lab} down --name {name}' EXIT
{lab} up --name {name} --nodes 1
{product} snapshot create x --all || echo "create: $?"
{product} -o json status || true
{product} -o json snapshot list
"""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    words = ["unshare", "--mount", *user, "sh", "-euc", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    folder.rmdir()
    assert done.returncode == 0, done.stderr
    assert "create: 2" in done.stdout
    assert "a snapshot may need" in done.stderr
    assert '"verdict": "good"' in done.stdout
    assert '"snapshots": []' in done.stdout
