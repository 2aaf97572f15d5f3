"""Systems that setting up leaves alone: nothing is changed there, and the text to be run by hand is complete."""

import re
import subprocess
from pathlib import Path

import pytest

from adapters.machine import FEDORA, Machine
from clockstep.core.provision import advice
from clockstep.core.setup import SetupOutcome, SetupPlan, planned

SYSTEMS = {
    "zypper": ("/etc/chrony.conf", "ID=opensuse-leap\nVERSION_ID=15.6\n", "chronyd"),
    "pacman": ("/etc/chrony.conf", "ID=arch\n", "chronyd"),
    "apk": ("/etc/chrony/chrony.conf", "ID=alpine\nVERSION_ID=3.22\n", "chronyd"),
    "ostree": ("/etc/chrony.conf", "ID=fedora\nVARIANT_ID=coreos\n", "chronyd"),
    "flatcar": ("/etc/chrony.conf", "ID=flatcar\n", "chronyd"),
}
BY_SYSTEMD = ["zypper", "pacman", "ostree"]
STAND_INS = ("modprobe", "udevadm", "rc-update", "rc-service")


def of(root: Path, manager: str, **more: str) -> Machine:
    conf, release, unit = SYSTEMS[manager]
    return Machine(root, FEDORA, conf, release, manager if manager != "ostree" else "dnf", unit=unit, **more)


def by_hand(machine: Machine, lines: tuple[str, ...]) -> None:
    """Run what is to be run by hand, on the made-up machine."""
    for name in STAND_INS:
        machine.program(name, f'#!/bin/sh\necho "{name} $*" >>{machine.root}/calls\n')
    script = re.sub(r"(mkdir -p |>|rm -f )( ?)/etc/", rf"\1\2{machine.root}/etc/", "\n".join(lines))
    subprocess.run(["/bin/sh", "-ec", script], env={"PATH": str(machine.bin)}, check=True, timeout=60)


@pytest.mark.parametrize("manager", SYSTEMS)
def test_other_systems_are_left_alone(tmp_path: Path, manager: str) -> None:
    machine = of(tmp_path, manager)
    before = machine.etc()
    plan = machine.plan()
    assert plan.manager == manager
    assert planned("node", plan).outcome is SetupOutcome.LEFT_ALONE
    assert any("chronyd" in line or "timesyncd" in line for line in advice(plan))
    assert machine.run("apply").returncode == 1
    assert machine.etc() == before


@pytest.mark.parametrize("manager", BY_SYSTEMD)
@pytest.mark.parametrize(("version", "link"), [("4.5", "/dev/ptp_kvm"), ("4.9", "/dev/ptp_kvm"), ("4.5", "")])
def test_the_text_to_be_run_by_hand_leaves_nothing_to_be_done(
    tmp_path: Path, manager: str, version: str, link: str
) -> None:
    machine = of(tmp_path, manager, version=version)
    machine.clock(0, "KVM virtual PTP", link)
    machine.has_module("ptp_kvm")
    lines = advice(machine.plan())
    by_hand(machine, lines)
    assert machine.calls().splitlines()[-1] == "restart chronyd"
    assert machine.plan().files == ()
    assert ("refclock PHC /dev/ptp_clockstep" if not link else f"refclock PHC {link}") in " ".join(lines)
    assert "modprobe ptp_kvm" in machine.calls()
    assert ("udevadm trigger" in machine.calls()) == (not link)


@pytest.mark.parametrize("manager", ["zypper", "pacman"])
def test_where_chrony_is_missing_the_text_installs_it_and_has_the_folder_read(tmp_path: Path, manager: str) -> None:
    machine = of(tmp_path, manager)
    chronyd = machine.bin / "chronyd"
    chronyd.rename(tmp_path / "chronyd")
    (tmp_path / "etc/chrony.conf").rename(tmp_path / "chrony.conf")
    install = f"#!/bin/sh\ncp {tmp_path}/chronyd {machine.bin}/; cp {tmp_path}/chrony.conf {tmp_path}/etc/\n"
    machine.program(manager, install)
    by_hand(machine, advice(machine.plan()))
    assert machine.effective("makestep") == "makestep 1 -1"


def test_on_alpine_what_hides_a_missing_clock_is_where_openrc_runs_it(tmp_path: Path) -> None:
    machine = of(tmp_path, "apk")
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    machine.write("/etc/conf.d/chronyd", 'FAST_STARTUP="no"')
    by_hand(machine, advice(machine.plan()))
    theirs, guard = machine.read("/etc/conf.d/chronyd").splitlines()
    assert theirs == 'FAST_STARTUP="no"'
    guard = guard.replace("/etc/", f"{tmp_path}/etc/").replace("/dev/ptp", f"{tmp_path}/dev/ptp")
    assert "refclock PHC /dev/ptp_kvm" in machine.configuration()
    (tmp_path / "dev/ptp_kvm").unlink()
    subprocess.run(["/bin/sh", "-ec", guard], env={"PATH": str(machine.bin)}, check=True)
    assert "refclock" not in machine.configuration()


@pytest.mark.parametrize("manager", ["apk", "zypper", "talos", "apt-get"])
def test_of_a_node_that_says_little_nothing_is_made_up(manager: str) -> None:
    assert all(isinstance(line, str) for line in advice(SetupPlan(manager=manager)))
