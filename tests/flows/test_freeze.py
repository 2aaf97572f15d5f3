"""Frozen workloads on real guests: the witness stamps from inside the cgroup that is frozen."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest

from clockstep.errors import ReachError
from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference
from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.machines.libvirt.marks import describe_snapshot
from clockstep.model import Snapshot
from clockstep.ports import Reach
from clockstep.workloads.freezer import LEASE_S, TAKES_NS, freeze, prepare, renew, thaw
from conftest import Guests, pass_time, until
from flows.commands import all_proven, clockstep, command
from flows.test_watch import watching

pytestmark = pytest.mark.usefixtures("stamps")

TOP = "/sys/fs/cgroup/kubepods.slice"
WRONG_NS = 1_000_000_000
"""Less than any revert here leaves a clock behind by, and more than the stream's delay ever is."""
HELD = "frozen"
LAST_LOGGED = "sed -n 's/.*clockstep: workloads thawed: //p' | tail -n 1"
THAWED = "thawed"


def runs(guests: Guests, name: str) -> bool:
    """Whether the workload comes to run."""
    until(lambda: stamping(guests, name), 20)
    return True


def stamping(guests: Guests, name: str) -> bool:
    """Whether the workload runs: whether a stamp of it comes within a second."""
    before = len(guests.witness.heard[name].stamps)
    pass_time(0.5)
    before = max(before, len(guests.witness.heard[name].stamps) - 5)
    pass_time(0.5)
    return len(guests.witness.heard[name].stamps) > before + 5


def reach(guests: Guests, name: str) -> Reach:
    guests.touched.add(name)
    hypervisor = Libvirt(guests.lab.uri, SystemClock(), HostReference())
    return hypervisor.reach(next(guest for guest in hypervisor.guests() if guest.name == name))


def stand_still(way: Reach, *cgroups: str, lease_s: int = LEASE_S) -> None:
    prepare(way, cgroups, soon(), lease_s)
    freeze(way, soon())


def soon() -> int:
    return SystemClock().monotonic_ns() + TAKES_NS


def connections(guests: Guests) -> dict[str, int]:
    return {name: guests.witness.heard[name].connections for name in guests.names}


def thaws(report: Any) -> list[str]:
    """What became of all nodes' workloads, in the nodes' order, in whatever order they froze."""
    assert [one["node"] for one in report["freezes"]] == sorted(one["node"] for one in report["freezes"])
    return [freeze["thaw"] for freeze in report["freezes"]]


def none_was_wrong(guests: Guests, before: dict[str, int]) -> None:
    """No stamp of the frozen workloads was wrong since each guest came back, and each of them runs."""
    for name in guests.names:
        assert runs(guests, name)
        assert wrong(guests, name, before[name]) == []


def wrong(guests: Guests, name: str, before: int) -> list[int]:
    """How late the stamps were that the workload wrote with a wrong clock since its guest came back."""
    stamps = guests.witness.heard[name].returned(before).stamps
    assert stamps
    return [stamp.lag_ns for stamp in stamps if abs(stamp.lag_ns) > WRONG_NS]


def test_no_frozen_workload_ever_runs_with_the_wrong_time(nodes: Guests) -> None:
    created = clockstep(nodes, "snapshot", "create", "cold", "--all", "--freeze")
    all_proven(nodes, created["episodes"])
    assert thaws(created) == [THAWED] * 3
    assert all(one["cgroups"] == ["kubepods.slice"] and one["still_ns"] > 0 for one in created["freezes"])
    pass_time(5)
    before = connections(nodes)
    reverted = clockstep(nodes, "revert", "--latest", "--yes")
    all_proven(nodes, reverted["episodes"])
    assert thaws(reverted) == [THAWED] * 3
    assert all(episode["before"]["value_ns"] < -5_000_000_000 for episode in reverted["episodes"])
    none_was_wrong(nodes, before)


def test_the_watcher_proves_and_thaws_what_others_have_reverted(guests: Guests, tmp_path: Path) -> None:
    told: list[str] = []
    clockstep(guests, "snapshot", "create", "cold", "--all", "--freeze")
    pass_time(5)
    before = connections(guests)
    with watching(guests, tmp_path, "--all", "--every", "60s") as watch:
        threading.Thread(target=lambda: told.extend(watch.process.stderr or ())).start()
        for name in guests.names:
            guests.revert(name, "cold")
        for name in guests.names:
            watch.until_good(name)
        until(lambda: all(stamping(guests, name) for name in guests.names), 20)
    said = sorted(line.partition("  ")[2] for line in told)  # after the time
    assert said == [f"{name}: its workloads were thawed\n" for name in guests.names]
    none_was_wrong(guests, before)


def test_a_node_whose_clock_is_not_proven_stays_frozen_until_somebody_says_so(guests: Guests) -> None:
    clockstep(guests, "snapshot", "create", "cold", "--all", "--freeze")
    guests.ssh(guests.names[1], "true")
    report = clockstep(guests, "revert", "--latest", "--yes", "--hold", "--deadline", "1ms", code=None)
    assert thaws(report) == [HELD] * 3
    assert all("thaw NODE --unproven" in one["trouble"]["remedy"] for one in report["freezes"])
    first, second, _ = guests.names
    assert not stamping(guests, first)
    step = clockstep(guests, "step", second)
    all_proven(guests, step["episodes"])
    assert not stamping(guests, second)  # a step alone never thaws
    (member,) = clockstep(guests, "thaw", first, "--unproven")["members"]
    assert member["outcome"] == "thawed"
    assert runs(guests, first)
    rest = clockstep(guests, "thaw", "--all")
    all_proven(guests, rest["episodes"])
    assert [one["outcome"] for one in rest["members"]] == ["nothing-frozen", "thawed", "thawed"]
    assert all(runs(guests, name) for name in guests.names)


def test_a_snapshot_that_is_marked_frozen_and_is_not_is_said_and_healed(guests: Guests) -> None:
    name = guests.names[0]
    marked = Snapshot("hollow", HostReference().now().at_ns, "set", (name,), frozen=("kubepods.slice",))
    guests.domain(name).snapshotCreateXML(describe_snapshot(marked), 0)
    report = clockstep(guests, "revert", "hollow", "--yes", code=1)
    all_proven(guests, report["episodes"])
    (one,) = report["freezes"]
    assert one["thaw"] == "running"
    assert "nothing was frozen there" in one["trouble"]["text"]


def test_a_plain_snapshot_promises_nothing_and_is_refused_if_a_frozen_one_is_required(guests: Guests) -> None:
    name = guests.names[0]
    clockstep(guests, "snapshot", "create", "plain", name)
    refused = clockstep(guests, "revert", "plain", "--yes", "--require-frozen", code=6)
    assert "were not frozen for this snapshot" in refused
    assert clockstep(guests, "revert", "plain", "--yes")["complete"]


def test_the_guard_thaws_when_its_lease_is_over_and_that_can_be_put_off(guests: Guests) -> None:
    name = guests.names[0]
    way = reach(guests, name)
    stand_still(way, "kubepods.slice", lease_s=8)
    assert renew(way, 22, soon())
    assert renew(way, 1, soon())  # makes it no shorter
    pass_time(9)
    guests.snapshot(name, "held")
    assert not stamping(guests, name)
    assert runs(guests, name)
    assert guests.ssh(name, f"dmesg | {LAST_LOGGED}") == "its lease expired\n"
    assert thaw(way, soon(), "me") is None
    assert not renew(way, 6, soon())
    guests.revert(name, "held")  # the guard is in it too, and goes on
    guests.witness.await_looks()
    assert not stamping(guests, name)
    assert runs(guests, name)


def test_a_killed_guard_does_not_keep_the_workloads_from_being_thawed(guests: Guests) -> None:
    name = guests.names[0]
    way = reach(guests, name)
    stand_still(way, "kubepods.slice")
    guests.ssh(name, "kill -9 $(cat /run/clockstep/freezer/guard)")
    assert thaw(way, soon(), "me") is True
    assert runs(guests, name)
    stand_still(way, "kubepods.slice")
    guests.ssh(name, "kill -9 $(cat /run/clockstep/freezer/guard)")
    assert renew(way, 1, soon())  # by a new guard
    guests.ssh(name, "kill $(cat /run/clockstep/freezer/guard)")
    assert runs(guests, name)
    assert guests.ssh(name, f"dmesg | {LAST_LOGGED}") == "on request\n"


def test_an_answer_that_was_lost_can_be_had_again_and_what_ran_meanwhile_is_said(guests: Guests) -> None:
    way = reach(guests, guests.names[0])
    stand_still(way, "kubepods.slice")
    assert [thaw(way, soon(), "me"), thaw(way, soon(), "me"), thaw(way, soon(), "you")] == [True, True, None]
    stand_still(way, "kubepods.slice")
    guests.ssh(guests.names[0], f"echo 0 > {TOP}/cgroup.freeze")
    assert thaw(way, soon(), "me") is False
    assert thaw(way, soon(), "me") is False


def test_a_freeze_that_is_given_up_in_its_middle_freezes_nothing_later(guests: Guests) -> None:
    name = guests.names[0]
    way = reach(guests, name)
    with reading_for_ever(guests, name):
        freezing = threading.Thread(target=lambda: _refused(guests, name, "kubepods.slice"))
        freezing.start()
        until(lambda: guests.ssh(name, f"cat {TOP}/cgroup.freeze") == "1\n", 20)
        assert thaw(way, soon(), "me") is None
        freezing.join()
        assert guests.ssh(name, f"cat {TOP}/cgroup.freeze; ls /run/clockstep/freezer") == "0\nguard.sh\nuntil\n"
    assert runs(guests, name)


def test_without_cgroup_v2_nothing_is_frozen(guests: Guests) -> None:
    name = guests.names[0]
    guests.ssh(name, "mkdir -p /run/none; mount --bind /run/none /sys/fs/cgroup")
    try:
        complaint = clockstep(guests, "snapshot", "create", "bad", name, "--freeze", code=2)
        assert "it has no cgroup v2, so nothing can be frozen" in complaint
    finally:
        guests.ssh(name, "umount /sys/fs/cgroup")
    assert guests.domain(name).snapshotNum() == 0


def test_a_plain_snapshot_of_workloads_that_stand_still_is_refused(guests: Guests) -> None:
    name = guests.names[0]
    way = reach(guests, name)
    stand_still(way, "kubepods.slice")
    for words in ([], ["--freeze"]):
        complaint = clockstep(guests, "snapshot", "create", "bad", name, *words, code=2)
        assert "clockstep thaw resumes them" in complaint
    assert guests.domain(name).snapshotNum() == 0
    assert thaw(way, soon(), "me") is True


def test_one_that_cannot_be_proven_holds_up_none_of_the_others(guests: Guests) -> None:
    first, *others = guests.names
    guests.ssh(first, "date -s @$(($(date +%s) + 30))")  # a step backward needs consent
    report = clockstep(guests, "snapshot", "create", "cold", "--all", "--freeze", code=1)
    assert thaws(report) == [HELD, THAWED, THAWED]
    assert all(runs(guests, name) for name in others)
    assert not stamping(guests, first)
    rest = clockstep(guests, "thaw", first, "--allow-backward")
    all_proven(guests, rest["episodes"])
    assert runs(guests, first)


@pytest.mark.parametrize("victim", ["chronyd", "qemu-ga", "sshd", "init"])
def test_what_must_run_on_is_never_frozen(guests: Guests, victim: str) -> None:
    name = guests.names[0]
    guests.ssh(name, f"mkdir -p {TOP}/deep/er; echo $(pidof -s {victim}) > {TOP}/deep/er/cgroup.procs")
    try:
        complaint = clockstep(guests, "snapshot", "create", "bad", name, "--freeze", code=2)
        assert f"kubepods.slice has {victim} in it, which must keep running" in complaint
        assert "no snapshot was taken" in complaint
        assert guests.domain(name).snapshotNum() == 0
        assert runs(guests, name)
        assert "not a path of a cgroup" in str(_refused(guests, name, "kubepods.slice/../.."))
        complaint = clockstep(guests, "snapshot", "create", "bad", name, "--freeze-cgroup", "nowhere.slice", code=2)
        assert "it has no cgroup nowhere.slice" in complaint
    finally:
        away = f"for pid in $(cat {TOP}/deep/er/cgroup.procs); do echo $pid > /sys/fs/cgroup/cgroup.procs; done"
        guests.ssh(name, f"{away}; rmdir {TOP}/deep/er {TOP}/deep")


def _refused(guests: Guests, name: str, cgroup: str) -> ReachError:
    with pytest.raises(ReachError) as caught:
        stand_still(reach(guests, name), cgroup)
    return caught.value


def test_what_was_frozen_before_stays_frozen_and_new_cgroups_stand_still_too(guests: Guests) -> None:
    name = guests.names[0]
    freezes = f"{TOP}/mine/cgroup.freeze"
    guests.ssh(name, f"mkdir {TOP}/mine; echo 1 > {freezes}")
    way = reach(guests, name)
    try:
        stand_still(way, "kubepods.slice")
        born = f"sh -c 'echo $$ > {TOP}/new/cgroup.procs; echo ran > /run/ran' >/dev/null 2>&1 &"
        assert guests.ssh(name, f"mkdir {TOP}/new; {born} sleep 0.3; cat /run/ran 2>/dev/null; true") == ""
        assert thaw(way, soon(), "me") is True
        until(lambda: "ran" in guests.ssh(name, "cat /run/ran || true"), 20)
        assert guests.ssh(name, f"cat {freezes}").strip() == "1"
        stand_still(way, "kubepods.slice/mine")
        assert thaw(way, soon(), "me") is True
        assert guests.ssh(name, f"cat {freezes}").strip() == "1"
    finally:
        guests.ssh(name, f"rmdir {TOP}/mine {TOP}/new; rm -f /run/ran")


@contextmanager
def reading_for_ever(guests: Guests, name: str) -> Iterator[None]:
    """A workload that waits for its disk, uninterruptibly: the first piece comes at once, the next one in hours."""
    domain, cgroup = guests.domain(name), f"{TOP}/stuck"
    domain.setBlockIoTune("vdb", {"total_bytes_sec": 1}, libvirt.VIR_DOMAIN_AFFECT_LIVE)  # the guest's seed
    reads = "exec dd if=/dev/vdb of=/dev/null bs=4k count=2 iflag=direct"
    born = f"sh -c 'echo $$ > {cgroup}/cgroup.procs; {reads}' >/dev/null 2>&1 &"
    try:
        guests.ssh(name, f"mkdir {cgroup}; {born}")
        state = f"cut -d' ' -f3 /proc/$(cat {cgroup}/cgroup.procs)/stat"
        until(lambda: guests.ssh(name, f"{state}; true").strip() == "D", 20)
        yield
    finally:
        domain.setBlockIoTune("vdb", {"total_bytes_sec": 0}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        until(lambda: guests.ssh(name, f"cat {cgroup}/cgroup.procs") == "", 20)
        guests.ssh(name, f"rmdir {cgroup}")


def test_a_freeze_that_never_completes_is_given_up_and_all_run_on(guests: Guests) -> None:
    first, *others = guests.names
    with reading_for_ever(guests, first):
        complaint = clockstep(guests, "snapshot", "create", "bad", "--all", "--freeze", code=2)
        assert f"{first}: its workloads were not frozen: not all could be frozen in 10 s" in complaint
        assert "no snapshot was taken, and everything frozen for it is thawed" in complaint
        assert all(guests.domain(name).snapshotNum() == 0 for name in guests.names)
        assert all(runs(guests, name) for name in (first, *others))


def reverted_without_an_agent(guests: Guests, name: str) -> int:
    """Revert a node to a frozen snapshot, and stop its agent; how often its witness had connected before."""
    clockstep(guests, "snapshot", "create", "cold", name, "--freeze")
    pass_time(3)
    before = connections(guests)[name]
    guests.revert(name, "cold")
    guests.ssh(name, "pkill -STOP qemu-ga")
    return before


def test_an_agent_that_is_away_leaves_them_frozen_and_they_are_proven_when_it_is_back(guests: Guests) -> None:
    name = guests.names[0]
    before = reverted_without_an_agent(guests, name)
    report = clockstep(guests, "thaw", name, "--deadline", "3s", code=3)
    assert [one["outcome"] for one in report["members"]] == ["not-thawed"]
    assert not stamping(guests, name)
    line = command(guests, "-o", "json", "thaw", name, "--deadline", "30s")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as thawing:
        pass_time(3)
        guests.ssh(name, "pkill -CONT qemu-ga")
        assert thawing.wait(60) == 0
    assert runs(guests, name)
    assert wrong(guests, name, before) == []


def test_an_agent_that_comes_back_to_the_watcher_has_its_workloads_proven_and_thawed(
    guests: Guests, tmp_path: Path
) -> None:
    name = guests.names[0]
    before = reverted_without_an_agent(guests, name)
    with watching(guests, tmp_path, name, "--every", "1s") as watch:
        until(lambda: any(episode["verdict"] == "unreachable" for episode in watch.of(name)), 30)
        assert not stamping(guests, name)
        guests.ssh(name, "pkill -CONT qemu-ga")
        watch.until_good(name)
        assert runs(guests, name)
    assert wrong(guests, name, before) == []


def test_interrupted_it_lets_all_machines_run_and_says_who_stands_still(guests: Guests) -> None:
    line = command(guests, "-o", "json", "-v", "snapshot", "create", "cold", "--all", "--freeze")
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any("taking the snapshot" in told for told in process.stderr), "the awaited line never came"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130, said
    assert "run clockstep thaw next" in said
    assert all(guests.domain(name).state()[0] == libvirt.VIR_DOMAIN_RUNNING for name in guests.names)
    assert all(guests.domain(name).snapshotNum() == 0 for name in guests.names)
    rest = clockstep(guests, "thaw", "--all")
    all_proven(guests, rest["episodes"])
    assert all(runs(guests, name) for name in guests.names)


@pytest.mark.parametrize("moment", ["freezing the workloads", "pausing", "taking the snapshot", "resuming all nodes"])
def test_killed_at_any_moment_it_leaves_nobody_frozen(guests: Guests, moment: str) -> None:
    line = command(guests, "-o", "json", "snapshot", "create", "cold", "--all", "--freeze")
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any(moment in told for told in process.stderr), "the awaited line never came"
        process.kill()
    again = clockstep(guests, "snapshot", "create", "cold", "--all", "--freeze", code=None)
    if isinstance(again, str):  # it was frozen, and not paused: only the guards know of it
        assert "already frozen" in again or "has a snapshot" in again
        clockstep(guests, "thaw", "--all")
    else:
        all_proven(guests, again["episodes"])
    assert all(runs(guests, name) for name in guests.names)


@pytest.mark.parametrize("moment", ["reverting to", "resuming all nodes"])
def test_a_revert_that_is_killed_is_run_again_and_no_workload_ran_with_the_wrong_time(
    guests: Guests, moment: str
) -> None:
    clockstep(guests, "snapshot", "create", "cold", "--all", "--freeze")
    pass_time(3)
    before = connections(guests)
    line = command(guests, "-o", "json", "revert", "--latest", "--yes")
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any(moment in told for told in process.stderr), "the awaited line never came"
        process.kill()
    again = clockstep(guests, "revert", "--latest", "--yes")
    all_proven(guests, again["episodes"])
    assert thaws(again) == [THAWED] * 3
    none_was_wrong(guests, before)
