"""The setup's script on made-up machines: what it plans, what it refuses, and that what it did is undone."""

import fcntl
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.far_shell import real
from adapters.machine import DEBIAN_12, DEBIAN_13, FEDORA, NTP, PHC, Machine
from clockstep.core.provision import EXPLAINED
from clockstep.core.setup import SetupOutcome, SetupPlan, diff, planned, remarks
from clockstep.core.unnoticed import HOST_CLOCKS
from clockstep.daemons.setup import parse, read_status, script
from clockstep.guest import program

DROPIN = "/etc/chrony/clockstep.d/zz-clockstep.conf"
GUARDED = "/etc/chrony/clockstep.d/zz-clockstep-phc.conf"
UNIT = "/etc/systemd/system/chrony.service.d/clockstep.conf"
RULES = "/etc/udev/rules.d/90-clockstep.rules"
MODULES = "/etc/modules-load.d/clockstep.conf"


def after(plan: SetupPlan, path: str) -> str:
    return next((file.after or "" for file in plan.files if file.path == path), "")


def test_on_debian_12_the_drop_in_is_read_after_the_makestep_that_stands_behind_confdir(tmp_path: Path) -> None:
    machine = Machine(tmp_path, DEBIAN_12)
    plan = machine.plan()
    assert [file.path for file in plan.files] == [DROPIN, machine.conf]
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"


def test_on_debian_13_confdir_stands_last_and_chrony_conf_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, DEBIAN_13)
    assert [file.path for file in machine.plan().files] == ["/etc/chrony/conf.d/zz-clockstep.conf"]
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.read(machine.conf) == DEBIAN_13


def test_on_fedora_a_line_is_added_to_chrony_conf(tmp_path: Path) -> None:
    release = "ID=fedora\nVERSION_ID=42\n"
    machine = Machine(tmp_path, FEDORA, "/etc/chrony.conf", release, "dnf", "4.8", "chronyd")
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    plan = machine.plan()
    assert (plan.system, plan.supported) == ("fedora 42", True)
    paths = [file.path for file in plan.files]
    assert "/etc/chrony-clockstep.d/zz-clockstep.conf" in paths
    assert "/etc/systemd/system/chronyd.service.d/clockstep.conf" in paths
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.plan().files == ()


def test_the_hypervisors_clock_is_found_by_its_name_and_followed_by_its_link(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.clock(0, "52:54:00:12:34:56", card="eth0")
    machine.clock(1, "KVM virtual PTP", "/dev/ptp_kvm")
    plan = machine.plan()
    assert plan.clock == "/dev/ptp_kvm KVM virtual PTP"
    assert after(plan, GUARDED).splitlines()[-1] == "refclock PHC /dev/ptp_kvm poll 1 dpoll -1 filter 4"
    assert "trust" not in after(plan, GUARDED)
    assert after(machine.plan(trust=True), GUARDED).splitlines()[-1].endswith(" trust")
    assert any("the network card eth0's, called 52:54:00:12:34:56" in said for said in remarks(plan))


def test_an_agent_is_recommended_where_there_is_a_phc_that_is_not_trusted_and_none_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert not any("--agent" in said for said in remarks(machine.plan()))
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert any("clockstep setup apply --agent" in said for said in remarks(machine.plan()))
    assert not any("setup apply --agent" in said for said in remarks(machine.plan(trust=True)))
    machine.write("/units/clockstep-agent", "active\n")
    assert not any("setup apply --agent" in said for said in remarks(machine.plan()))


@pytest.mark.parametrize("name", ["hyperv", "ptp_vmw", "ena-ptp-05", "Virtio PTP type 0/variant 0", "vmclock"])
def test_a_clock_without_a_link_gets_one_by_a_rule_for_its_name(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path)
    machine.clock(0, name)
    plan = machine.plan()
    assert plan.clock == f"/dev/ptp_clockstep {name}"
    assert f'ATTR{{clock_name}}=="{name}", SYMLINK+="ptp_clockstep"' in after(plan, RULES)
    assert name.startswith(HOST_CLOCKS)


def test_a_network_cards_clock_is_never_taken_unless_it_is_forced(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.clock(0, "52:54:00:12:34:56", card="eth1")
    assert machine.plan().clock == ""
    assert "refclock" not in "".join(file.after or "" for file in machine.plan().files)
    forced = machine.plan("/dev/ptp0")
    assert (forced.clock, forced.forced) == ("/dev/ptp_clockstep 52:54:00:12:34:56", True)
    assert "because of --phc" in " ".join(remarks(forced))
    assert machine.plan("/dev/ptp7").objection == "/dev/ptp7 is not a hardware clock of the node"


def test_chrony_4_9_ignores_a_missing_clock_by_itself(tmp_path: Path) -> None:
    machine = Machine(tmp_path, version="4.9")
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    plan = machine.plan()
    assert after(plan, DROPIN).splitlines()[-1] == "refclock PHC /dev/ptp_kvm poll 1 dpoll -1 filter 4 optional"
    assert after(plan, GUARDED) == ""
    assert "mv" not in after(plan, UNIT)


@pytest.mark.parametrize("version", ["4.3", "4.6.1", "4.8"])
def test_before_that_the_units_guard_hides_the_clock_from_chronyd_while_it_is_missing(
    tmp_path: Path, version: str
) -> None:
    machine = Machine(tmp_path, version=version)
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    (line,) = [line for line in machine.read(UNIT).splitlines() if line.startswith("ExecStartPre=-+/bin/sh -c '")]
    guard = (
        line.partition("'")[2]
        .rstrip("'")
        .replace("/etc/", f"{tmp_path}/etc/")
        .replace("/dev/ptp", f"{tmp_path}/dev/ptp")
    )
    refclock = "refclock PHC /dev/ptp_kvm poll 1 dpoll -1 filter 4"

    def start() -> str:
        subprocess.run(["/bin/sh", "-c", guard], env={"PATH": str(machine.bin)}, check=True)
        return machine.configuration()

    assert refclock in start()
    (tmp_path / "dev/ptp_kvm").unlink()
    assert "refclock" not in start()
    assert "refclock" not in start()
    (tmp_path / "dev/ptp_kvm").symlink_to(tmp_path / "dev/ptp0")
    assert refclock in start()


def test_ptp_kvm_is_loaded_now_and_at_every_boot_where_the_kernel_has_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.has_module("ptp_kvm")
    machine.write("/sys/devices/system/clocksource/clocksource0/available_clocksource", "kvm-clock tsc\n")
    plan = machine.plan()
    assert any(act.startswith("modprobe ptp_kvm") for act in plan.acts)
    assert after(plan, "/etc/modules-load.d/clockstep.conf").splitlines()[-1] == "ptp_kvm"
    machine.program("modprobe", "#!/bin/sh\nexit 1\n")
    assert machine.run("apply").returncode == 0
    assert not (tmp_path / "etc/modules-load.d/clockstep.conf").exists()
    assert not machine.plan().changes


def test_arm64_has_no_clocksource_of_kvms_and_the_module_is_tried_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.has_module("ptp_kvm")
    machine.program("systemd-detect-virt", "#!/bin/sh\necho kvm\n")
    assert machine.plan().acts == ()
    kernel = "#!/bin/sh\n[ $1 = -m ] && echo aarch64 || /bin/uname $1\n"
    machine.program("uname", kernel)
    assert any(act.startswith("modprobe ptp_kvm") for act in machine.plan().acts)
    machine.program("systemd-detect-virt", "#!/bin/sh\necho vmware\n")
    assert machine.plan().acts == ()


@pytest.mark.parametrize("content", [DEBIAN_12, DEBIAN_13, DEBIAN_12.rstrip("\n")])
def test_a_second_run_changes_nothing_and_undo_restores_every_byte(tmp_path: Path, content: str) -> None:
    machine = Machine(tmp_path, content)
    machine.clock(0, "ptp_vmw")
    (tmp_path / "dev/ptp_clockstep").symlink_to(tmp_path / "dev/ptp0")
    machine.write("/sources", PHC)
    before = machine.etc()
    assert machine.run("apply").returncode == 0
    assert machine.etc() != before
    assert not (tmp_path / "var/lib/clockstep-setup").stat().st_mode & 0o077  # what is kept there may be keys
    done = machine.plan()
    assert (done.changes, done.applied) == (False, True)
    assert machine.run("undo").returncode == 0
    restored = machine.etc()
    assert restored.pop("chrony/chrony.conf").rstrip("\n") == before.pop("chrony/chrony.conf").rstrip("\n")
    assert restored == before
    assert not machine.plan().applied


def test_what_does_not_come_to_follow_is_put_back_and_chronyd_restarted(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/sources", "^,?,192.0.2.1,0,6,0,4294967295,0.0,0.0,0.0\n")
    before = machine.etc()
    done = machine.run("apply")
    assert done.returncode == 1
    assert "chronyd followed nothing within 2 s" in done.stderr
    assert machine.etc() == before
    assert machine.calls().count("restart chrony\n") == 2
    assert not machine.plan().applied


def test_what_is_not_proven_from_outside_goes_back_to_how_it_was(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    before = machine.etc()
    machine.run("apply")
    machine.run("back")
    assert machine.etc() == before
    assert machine.run("apply").returncode == 0
    once = machine.etc()
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    machine.run("back")
    assert machine.etc() == once
    assert machine.read("/var/lib/clockstep-setup/result") == "done\n"


def test_a_failed_change_of_a_setup_goes_back_to_that_setup(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("apply").returncode == 0
    once = machine.etc()
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    for another in (NTP, PHC.replace("PHC0", "SHM0")):
        machine.write("/sources", another)
        assert machine.run("apply").returncode == 1
        assert machine.etc() == once
    (tmp_path / "dev/ptp_kvm").unlink()
    (tmp_path / "sys/class/ptp/ptp0/clock_name").unlink()
    assert not machine.plan().changes
    assert machine.run("undo").returncode == 0
    assert machine.read(machine.conf) == DEBIAN_12


def test_every_cut_of_the_power_finds_a_clock_that_is_brought_and_hidden_before_it_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.has_module("ptp_kvm")
    machine.clock(0, "KVM virtual PTP")
    order = [MODULES, RULES, UNIT, DROPIN, GUARDED, machine.conf]
    assert [file.path for file in machine.plan().files] == order
    (tmp_path / "dev/ptp_clockstep").symlink_to(tmp_path / "dev/ptp0")
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    for gone in ("dev/ptp_clockstep", "sys/class/ptp/ptp0/clock_name"):
        (tmp_path / gone).unlink()
    assert [file.path for file in machine.plan().files] == [GUARDED, UNIT, RULES, MODULES]


def test_where_the_drop_ins_have_to_move_none_is_left_behind(tmp_path: Path) -> None:
    machine = Machine(tmp_path, DEBIAN_13)
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    machine.write(machine.conf, f"{DEBIAN_13}makestep 1 3\n")
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.configuration().count("refclock") == 1
    assert machine.run("undo").returncode == 0
    assert set(machine.etc()) == {"chrony/chrony.conf", "os-release"}


def test_a_chrony_conf_that_is_a_link_stays_one_and_what_stands_beside_it_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/etc/chrony/chrony.conf.new", "mine\n")
    real = tmp_path / "etc/mine/chrony.conf"
    real.parent.mkdir()
    (tmp_path / "etc/chrony/chrony.conf").rename(real)
    (tmp_path / "etc/chrony/chrony.conf").symlink_to("../mine/chrony.conf")
    assert machine.run("apply").returncode == 0
    assert "include" in real.read_text()
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert machine.run("apply").returncode == 1  # its only source is still the server
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.run("undo").returncode == 0
    assert real.read_text() == DEBIAN_12
    assert (tmp_path / "etc/chrony/chrony.conf").is_symlink()
    assert machine.read("/etc/chrony/chrony.conf.new") == "mine\n"
    assert [path.name for path in real.parent.iterdir()] == ["chrony.conf"]


def test_run_where_nothing_is_to_change_it_neither_restarts_chronyd_nor_needs_a_source(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("apply").returncode == 0
    machine.write("/sources", "^,?,192.0.2.1,0,6,0,4294967295,0.0,0.0,0.0\n")
    again = machine.run("apply")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "done")
    assert machine.calls().count("restart chrony\n") == 1


def test_a_unit_that_does_not_start_again_is_not_said_to_be_put_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    systemctl = (machine.bin / "systemctl").read_text()
    machine.program("systemctl", systemctl.replace("start|restart) ", "start|restart) echo off >$state; exit 1;"))
    done = machine.run("apply")
    assert (done.returncode, "no time daemon runs" in done.stdout + done.stderr) == (1, True)
    result = machine.read("/var/lib/clockstep-setup/result")
    assert result.startswith("broken chronyd does not start: ")
    assert result.endswith("; and then: no time daemon runs there\n")


@contextmanager
def another_at_work(machine: Machine) -> Iterator[None]:
    with (machine.root / "run/clockstep-setup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_two_at_once_do_not_take_each_others_way_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/var/lib/clockstep-setup/result", "theirs\n")
    before = machine.etc()
    with another_at_work(machine):
        for verb in ("apply", "undo", "back", "clear", "start"):
            done = machine.run(verb)
            assert (done.returncode, done.stderr) == (1, "another setup is running\n")
        assert machine.plan().changes
    assert machine.read("/var/lib/clockstep-setup/result") == "theirs\n"
    assert machine.etc() == before
    assert machine.run("apply").returncode == 0
    assert machine.run("clear").returncode == 0
    assert machine.run("undo").returncode == 0
    assert machine.run("clear").returncode == 0
    assert not (tmp_path / "var/lib/clockstep-setup").exists()


def test_what_is_started_gets_the_lock_of_whoever_starts_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/var/lib/clockstep-setup/result", "")
    machine.program("systemd-run", f"#!/bin/sh\nflock -n {tmp_path}/run/clockstep-setup.lock echo\n")
    assert machine.run("start").returncode == 0


def test_without_flock_it_goes_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.bin / "flock").unlink()
    assert machine.run("apply").returncode == 0


def test_other_daemons_and_others_that_touch_the_clock_are_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for name in ("ntpsec", "vmtoolsd"):
        machine.write(f"/units/{name}", "active\n")
    plan = machine.plan()
    assert (plan.replaces, plan.others) == (("ntpsec",), ("vmtoolsd",))
    assert "systemctl disable --now ntpsec" in plan.acts
    assert "replace ntpsec" in diff(plan)
    assert "vmtoolsd may set the clock too: disable that in the node" in remarks(plan)
    assert machine.run("apply").returncode == 0
    assert machine.read("/units/ntpsec") == "inactive\n"
    assert machine.run("undo").returncode == 0
    assert machine.read("/units/ntpsec") == "active\n"


def test_without_a_hypervisors_clock_it_is_said_how_well_servers_do(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert any("to milliseconds on a near network" in said for said in remarks(machine.plan()))
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert remarks(machine.plan(trust=True)) == []
    (choice,) = remarks(machine.plan())
    assert "with --trust it takes seconds, but a host whose clock is off misleads the node" in choice


def refused(machine: Machine, before: dict[str, str]) -> str:
    """Why the plan and the script alike refuse; nothing is changed by either."""
    plan = machine.plan()
    assert planned("node", plan).outcome is SetupOutcome.REFUSED
    done = machine.run("apply")
    assert done.returncode == 1
    assert plan.objection in done.stderr
    assert machine.etc() == before
    assert "restart" not in machine.calls()
    assert "\n" not in plan.objection
    return plan.objection


def test_an_error_of_the_users_own_is_shown_and_nothing_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}makesteps 1 3\n")
    said = refused(machine, machine.etc())
    assert said.startswith("chronyd does not accept its current configuration: Invalid directive at line")


@pytest.mark.parametrize("line", ["refclock PHC /dev/ptp0 poll 2", "RefClock PHC /dev/ptp9:nocrossts trust"])
def test_a_network_cards_clock_of_the_users_own_is_named_and_nothing_changed(tmp_path: Path, line: str) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}{line}\n")
    machine.clock(0, "52:54:00:12:34:56", card="eth0")
    assert refused(machine, machine.etc()) == (
        f"chrony's configuration has another hardware clock; remove it first: {line}"
    )


@pytest.mark.parametrize(
    ("name", "link", "line"),
    [
        ("hyperv", "/dev/ptp_hyperv", "refclock PHC /dev/ptp_hyperv poll 3 dpoll -2 offset 0"),
        ("KVM virtual PTP", "", "RefClock PHC /dev/ptp0:nocrossts trust"),
    ],
)
def test_a_line_of_the_users_own_for_the_hypervisors_clock_is_kept_and_what_lacks_beside_it_added(
    tmp_path: Path, name: str, link: str, line: str
) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}{line}\n")
    machine.clock(0, name, link)
    plan = machine.plan()
    device = line.split()[2].partition(":")[0]
    assert (plan.objection, plan.kept, plan.clock) == ("", device, f"{device} {name}")
    assert [
        file.path for file in plan.files if "refclock PHC" in (file.after or "") and file.path != machine.conf
    ] == []
    assert f"[ -e {device} ]" in after(plan, UNIT)
    assert any("by a line that clockstep did not write and keeps" in said for said in remarks(plan))
    before = machine.etc()
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    assert machine.effective("makestep") == "makestep 1 -1"
    assert machine.configuration().lower().count("refclock phc") == 1
    assert machine.plan().files == ()
    assert machine.run("undo").returncode == 0
    assert machine.etc() == before


def test_the_configuration_that_counts_is_the_one_that_the_running_chronyd_reads(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("/etc/chrony/site.conf", "makestep 1 3\npool time.example.org iburst\n")
    machine.chronyd_runs_with("-F", "1", "-f", "/etc/chrony/site.conf")
    before = machine.etc()
    assert "/etc/chrony/site.conf" in {file.path for file in machine.plan().files}
    assert machine.run("apply").returncode == 0
    assert machine.read("/etc/chrony/site.conf").splitlines()[-1].startswith("include /etc/chrony/clockstep.d/")
    assert machine.read(machine.conf) == DEBIAN_12
    assert machine.run("undo").returncode == 0
    assert machine.etc() == before


@pytest.mark.parametrize(
    ("words", "meant"),
    [((), ""), (("-f", "/a b"), "/a b"), (("-f/x.conf", "-d"), "/x.conf"), (("-d", "-f", "etc/y"), "/etc/y")],
)
def test_where_a_running_chronyd_has_its_configuration_is_told_by_its_command_line(
    tmp_path: Path, words: tuple[str, ...], meant: str
) -> None:
    machine = Machine(tmp_path)
    machine.chronyd_runs_with(*words)
    environment = {"ROOT": str(tmp_path), "PATH": str(machine.bin)}
    done = subprocess.run(
        ["/bin/sh", "-c", f"{program('daemons/running.sh')}\nchronyd_file"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == meant


@pytest.mark.parametrize(
    "line", ["pool a.example iburst nts prefer", "server 192.0.2.1 prefer", "refclock SHM 0 prefer"]
)
def test_where_another_source_is_preferred_the_hypervisors_clock_is_too(tmp_path: Path, line: str) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}{line}\n")
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert after(machine.plan(), GUARDED).splitlines()[-1].endswith(" prefer")
    machine.write("/sources", PHC)
    assert machine.run("apply").returncode == 0
    assert machine.plan().files == ()
    machine.write(machine.conf, machine.read(machine.conf).replace(f"{line}\n", ""))
    assert not after(machine.plan(), GUARDED).splitlines()[-1].endswith(" prefer")


def test_a_preferred_source_of_a_file_beside_counts_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    machine.write("/etc/chrony/sources.d/site.sources", "pool 1.ntp.example iburst maxsources 1 nts prefer\n")
    assert after(machine.plan(), GUARDED).splitlines()[-1].endswith(" prefer")


@pytest.mark.parametrize(
    ("ahead", "version", "table", "line"),
    [
        ("0", "4.9", "", "refclock PHC /dev/ptp_clockstep poll 1 dpoll -1 filter 4 optional"),
        ("37", "4.9", "leap-seconds.list", "refclock PHC /dev/ptp_clockstep poll 1 dpoll -1 filter 4 tai optional"),
        ("37", "4.3", "right/UTC", "refclock PHC /dev/ptp_clockstep poll 1 dpoll -1 filter 4 tai"),
        ("37", "4.3", "leap-seconds.list", None),
        ("37", "4.9", "", None),
        ("-3600", "4.9", "leap-seconds.list", None),
    ],
)
def test_a_clock_that_counts_tai_is_known_by_how_far_ahead_it_is(
    tmp_path: Path, ahead: str, version: str, table: str, line: str | None
) -> None:
    machine = Machine(tmp_path, version=version)
    machine.clock(0, "vmclock")
    machine.program("perl", f"#!/bin/sh\necho {ahead}\n")
    if table:
        machine.write(f"/usr/share/zoneinfo/{table}", "")
    plan = machine.plan()
    written = "".join(file.after or "" for file in plan.files).splitlines()
    assert [one for one in written if one.startswith("refclock")] == ([line] if line else [])
    assert bool(plan.not_taken) is (line is None)
    assert bool(plan.clock) is (line is not None)
    leaps = {
        "leap-seconds.list": "leapseclist /usr/share/zoneinfo/leap-seconds.list",
        "right/UTC": "leapsectz right/UTC",
    }
    assert [one for one in written if one.startswith("leapsec")] == ([leaps[table]] if line and "tai" in line else [])


def test_a_table_of_leap_seconds_that_is_configured_already_is_enough(tmp_path: Path) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}leapsectz right/UTC\n")
    machine.clock(0, "vmclock")
    machine.program("perl", "#!/bin/sh\necho 37\n")
    written = "".join(file.after or "" for file in machine.plan().files if file.path != machine.conf)
    assert " tai" in written
    assert "leapsec" not in written


SOURCES = "/etc/chrony/sources.d/site.sources"


def test_short_polls_are_written_where_no_clock_can_be_followed_and_taken_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(SOURCES, "# ours\nserver 192.0.2.7 iburst maxpoll 10\nPool b.example minpoll 8\nserver c maxpoll 4\n")
    before = machine.etc()
    assert "maxpoll" not in "".join(file.after or "" for file in machine.plan().files)
    assert machine.run("apply", short_polls=True).returncode == 0
    assert machine.read(SOURCES) == (
        "# ours\n#clockstep setup: server 192.0.2.7 iburst maxpoll 10\nserver 192.0.2.7 iburst maxpoll 6\n"
        "#clockstep setup: Pool b.example minpoll 8\nPool b.example minpoll 6 maxpoll 6\nserver c maxpoll 4\n"
    )
    assert machine.effective("pool").endswith("iburst maxpoll 6")
    assert machine.plan(short_polls=True).files == ()
    assert {file.path for file in machine.plan().files} == {SOURCES, machine.conf}
    machine.write(SOURCES, f"{machine.read(SOURCES)}server later\n")
    assert machine.run("undo").returncode == 0
    assert machine.etc() == before | {
        SOURCES.removeprefix("/etc/"): f"{before[SOURCES.removeprefix('/etc/')]}server later\n"
    }


def test_where_a_clock_can_be_followed_polls_are_left_as_they_are(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert "maxpoll" not in "".join(file.after or "" for file in machine.plan(short_polls=True).files)


def test_a_hardware_clock_of_another_kind_is_the_users_own_matter(tmp_path: Path) -> None:
    machine = Machine(tmp_path, f"{DEBIAN_12}refclock SHM 0\n")
    assert machine.plan().objection == ""


@pytest.mark.parametrize("version", ["1.31", "3.5"])
def test_a_chrony_from_before_4_0_is_said_to_be_too_old(tmp_path: Path, version: str) -> None:
    machine = Machine(tmp_path, version=version)
    said = refused(machine, machine.etc())
    assert said == f"chrony {version} is installed, which is too old: 4.0 or newer is needed"


@pytest.mark.parametrize("path", [DROPIN, GUARDED, UNIT, RULES, MODULES])
def test_a_file_of_the_same_name_that_is_not_ours_is_never_overwritten(tmp_path: Path, path: str) -> None:
    machine = Machine(tmp_path)
    machine.write(path, "mine\n")
    assert refused(machine, machine.etc()) == f"{path} exists, and clockstep did not write it"
    assert machine.run("undo").returncode == 0
    assert machine.read(path) == "mine\n"


def test_without_root_nothing_is_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("id", "#!/bin/sh\necho 1000\n")
    assert refused(machine, machine.etc()) == "setup needs root on the node"


def test_without_systemd_nothing_is_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "run/systemd/system").rmdir()
    assert "systemd" in refused(machine, machine.etc())


def test_a_locked_package_manager_is_seen_by_the_kernels_list_of_locks(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("chronyd", "#!/bin/sh\nexit 127\n")
    machine.write("/var/lib/dpkg/lock-frontend", "")
    assert machine.plan().objection == ""
    (tmp_path / "proc/locks").unlink()
    (tmp_path / "proc/locks").symlink_to("/proc/locks")
    with (tmp_path / "var/lib/dpkg/lock-frontend").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert refused(machine, machine.etc()) == ("the package manager is busy: /var/lib/dpkg/lock-frontend is locked")


def test_a_plan_is_shown_as_a_diff(tmp_path: Path) -> None:
    lines = diff(Machine(tmp_path).plan())
    assert lines[:2] == ["--- /dev/null", f"+++ {DROPIN}"]
    assert "--- /etc/chrony/chrony.conf" in lines
    assert "+include /etc/chrony/clockstep.d/zz-*.conf" in lines
    assert "+makestep 1 -1" in lines


@given(st.text())
def test_any_other_answer_is_no_crash(output: str) -> None:
    parse(output)
    read_status(output)


def test_an_answer_that_is_not_whole_is_none(tmp_path: Path) -> None:
    whole = Machine(tmp_path).run("plan").stdout
    assert parse(whole) is not None
    assert parse(whole.replace("#clockstep end", "")) is None


def test_a_device_with_a_quote_in_its_name_stays_one_word() -> None:
    assert "PHC='/dev/a'\"'\"'b;reboot'" in script("/dev/a'b;reboot")


def test_every_line_that_may_be_written_is_explained_and_so_it_is_in_the_docs(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "explanation.md").read_text()
    assert [line for line, why in EXPLAINED if f"| `{line}` | {why} |" not in docs] == []
    machine = Machine(tmp_path, version="4.9")
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    written = after(machine.plan(trust=True), DROPIN).splitlines()
    options = [line for line, _ in EXPLAINED]
    (refclock,) = [line for line in written if line.startswith("refclock")]
    rest = refclock.replace("refclock PHC /dev/ptp_kvm", "")
    for option in options:
        rest = rest.replace(option, "")
    assert rest.strip() == ""
    assert {line for line in written if line[0] not in "#r"} <= set(options)


def test_work_that_ends_while_it_is_asked_about_has_its_result(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    result = "/var/lib/clockstep-setup/result"
    machine.write(result, "working\n")
    machine.program("systemctl", f"#!/bin/sh\necho done >{tmp_path}{result}; echo inactive\n")
    assert read_status(machine.run("status").stdout) == ("done", False, "")


@contextmanager
def ntp_server() -> Iterator[int]:
    """A time server on a port of loopback, which answers whatever it is asked with 48 bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            with suppress(OSError):
                while True:
                    _, client = server.recvfrom(512)
                    server.sendto(bytes(48), client)

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def replacing(tmp_path: Path, *servers: str, by: str = "perl") -> Machine:
    """A machine whose ntpsec is to give way to its chrony, which has these servers."""
    machine = Machine(tmp_path, "".join(f"server {server}\n" for server in servers))
    machine.write("/units/ntpsec", "active\n")
    real(machine.bin, by)
    return machine


@pytest.mark.parametrize("by", ["perl", "python3"])
def test_time_servers_are_asked_before_a_daemon_is_replaced(tmp_path: Path, by: str) -> None:
    with ntp_server() as port:
        machine = replacing(tmp_path, f"127.0.0.1 port {port} iburst", "127.0.0.2 iburst", "nowhere.invalid", by=by)
        plan = machine.plan()
        assert set(plan.silent) == {"127.0.0.2 does not answer", "nowhere.invalid is not resolved"}
        assert plan.objection == ""
        assert any("not all time servers answer" in said for said in remarks(plan))
        assert machine.run("apply").returncode == 0


def test_where_no_time_server_answers_and_there_is_no_other_clock_nothing_is_replaced(tmp_path: Path) -> None:
    machine = replacing(tmp_path, "127.0.0.2", "nowhere.invalid")
    plan = machine.plan()
    assert plan.objection.startswith("no time server answers there, and no hypervisor's clock can be followed: ")
    assert "nowhere.invalid is not resolved" in plan.objection
    before = machine.etc()
    assert machine.run("apply").returncode == 1
    assert machine.etc() == before
    assert machine.read("/units/ntpsec") == "active\n"
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert machine.plan().objection == ""


def test_servers_are_not_asked_where_nothing_is_replaced(tmp_path: Path) -> None:
    machine = replacing(tmp_path, "127.0.0.2")
    machine.write("/units/ntpsec", "inactive\n")
    assert (machine.plan().silent, machine.plan().objection) == ((), "")


@pytest.mark.parametrize(
    ("label", "enforce", "confined"),
    [
        ("system_u:system_r:virt_qemu_ga_t:s0", "1", True),
        ("system_u:system_r:virt_qemu_ga_t:s0", "0", False),
        ("unconfined_u:unconfined_r:unconfined_t:s0", "1", False),
    ],
)
def test_an_agent_that_selinux_confines_sets_nothing_up(
    tmp_path: Path, label: str, enforce: str, confined: bool
) -> None:
    machine = Machine(tmp_path)
    machine.write("/proc/self/attr/current", f"{label}\0")
    machine.write("/sys/fs/selinux/enforce", enforce)
    if confined:
        assert "SELinux confines the guest agent there" in (said := refused(machine, machine.etc()))
        assert "--reach ssh" in said
    else:
        assert machine.plan().objection == ""


def test_copies_of_keys_are_not_for_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "var/lib/clockstep-setup").mkdir(mode=0o755, parents=True)
    assert machine.run("apply").returncode == 0
    assert list((tmp_path / "var/lib/clockstep-setup").rglob("*.tar"))
    assert (tmp_path / "var/lib/clockstep-setup").stat().st_mode & 0o777 == 0o700
