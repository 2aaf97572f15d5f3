"""The setup's script on made-up machines: what it plans, what it refuses, and that what it did is undone."""

import fcntl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.machine import DEBIAN_12, DEBIAN_13, FEDORA, PHC, Machine
from clockstep.core.diagnosis import HOST_CLOCKS
from clockstep.core.provision import EXPLAINED, advice
from clockstep.core.setup import SetupOutcome, SetupPlan, diff, planned, remarks
from clockstep.daemons.setup import parse, read_status, script

DROPIN = "/etc/chrony/clockstep.d/zz-clockstep.conf"
GUARDED = "/etc/chrony/clockstep.d/zz-clockstep-phc.conf"
UNIT = "/etc/systemd/system/chrony.service.d/clockstep.conf"
RULES = "/etc/udev/rules.d/90-clockstep.rules"


def after(plan: SetupPlan, path: str) -> str:
    return next((file.after or "" for file in plan.files if file.path == path), "")


def effective(machine: Machine, word: str) -> str:
    """The last directive of this name that chronyd reads."""
    done = subprocess.run([machine.bin / "chronyd", "-p"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith(word)][-1]


def test_on_debian_12_the_drop_in_is_read_after_the_makestep_that_stands_behind_confdir(tmp_path: Path) -> None:
    machine = Machine(tmp_path, DEBIAN_12)
    plan = machine.plan()
    assert [file.path for file in plan.files] == [machine.conf, DROPIN]
    assert machine.run("apply").returncode == 0
    assert effective(machine, "makestep") == "makestep 1 -1"


def test_on_debian_13_confdir_stands_last_and_chrony_conf_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, DEBIAN_13)
    assert [file.path for file in machine.plan().files] == ["/etc/chrony/conf.d/zz-clockstep.conf"]
    assert machine.run("apply").returncode == 0
    assert effective(machine, "makestep") == "makestep 1 -1"
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
    assert effective(machine, "makestep") == "makestep 1 -1"
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
    assert "because you said so" in " ".join(remarks(forced))
    assert machine.plan("/dev/ptp7").objection == "/dev/ptp7 is no hardware clock there"


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
        environment = {"PATH": str(machine.bin)}
        subprocess.run(["/bin/sh", "-c", guard], env=environment, check=True)
        return subprocess.run([machine.bin / "chronyd", "-p"], capture_output=True, text=True, check=True).stdout

    assert refclock in start()
    (tmp_path / "dev/ptp_kvm").unlink()
    assert "refclock" not in start()
    assert "refclock" not in start()
    (tmp_path / "dev/ptp_kvm").symlink_to(tmp_path / "dev/ptp0")
    assert refclock in start()


def test_ptp_kvm_is_loaded_now_and_at_every_boot_where_the_kernel_has_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
    machine.write(f"/lib/modules/{kernel}/modules.dep", "kernel/drivers/ptp/ptp_kvm.ko:\n")
    machine.write("/sys/devices/system/clocksource/clocksource0/available_clocksource", "kvm-clock tsc\n")
    plan = machine.plan()
    assert any(act.startswith("modprobe ptp_kvm") for act in plan.acts)
    assert after(plan, "/etc/modules-load.d/clockstep.conf").splitlines()[-1] == "ptp_kvm"
    machine.program("modprobe", "#!/bin/sh\nexit 1\n")
    assert machine.run("apply").returncode == 0
    assert not (tmp_path / "etc/modules-load.d/clockstep.conf").exists()
    assert not machine.plan().changes


@pytest.mark.parametrize("content", [DEBIAN_12, DEBIAN_13, DEBIAN_12.rstrip("\n")])
def test_a_second_run_changes_nothing_and_undo_restores_every_byte(tmp_path: Path, content: str) -> None:
    machine = Machine(tmp_path, content)
    machine.clock(0, "ptp_vmw")
    (tmp_path / "dev/ptp_clockstep").symlink_to(tmp_path / "dev/ptp0")
    machine.write("/sources", PHC)
    before = machine.etc()
    assert machine.run("apply").returncode == 0
    assert machine.etc() != before
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


def test_a_failed_change_of_a_setup_goes_back_to_that_setup(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("apply").returncode == 0
    once = machine.etc()
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    assert machine.run("apply").returncode == 1  # its only source is still the server
    assert machine.etc() == once
    (tmp_path / "dev/ptp_kvm").unlink()
    (tmp_path / "sys/class/ptp/ptp0/clock_name").unlink()
    assert not machine.plan().changes
    assert machine.run("undo").returncode == 0
    assert machine.read(machine.conf) == DEBIAN_12


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
    assert said.startswith("chronyd does not accept its configuration as it is: Invalid directive at line")


@pytest.mark.parametrize("path", [DROPIN, GUARDED, UNIT, RULES, "/etc/modules-load.d/clockstep.conf"])
def test_a_file_of_the_same_name_that_is_not_ours_is_never_overwritten(tmp_path: Path, path: str) -> None:
    machine = Machine(tmp_path)
    machine.write(path, "mine\n")
    assert refused(machine, machine.etc()) == f"{path} is there, and not of clockstep's making"
    assert machine.run("undo").returncode == 0
    assert machine.read(path) == "mine\n"


def test_without_root_nothing_is_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("id", "#!/bin/sh\necho 1000\n")
    assert refused(machine, machine.etc()) == "not root there, so nothing can be set up"


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
        assert refused(machine, machine.etc()) == (
            "the package manager is at work there: /var/lib/dpkg/lock-frontend is locked"
        )


@pytest.mark.parametrize(
    ("release", "manager"),
    [
        ("ID=opensuse-leap\nVERSION_ID=15.6\n", "zypper"),
        ("ID=arch\n", "pacman"),
        ("ID=alpine\nVERSION_ID=3.22\n", "apk"),
        ("ID=flatcar\n", "flatcar"),
        ("ID=fedora\nVARIANT_ID=coreos\n", "ostree"),
    ],
)
def test_other_systems_are_left_alone(tmp_path: Path, release: str, manager: str) -> None:
    machine = Machine(tmp_path, release=release, manager=manager if manager != "ostree" else "dnf")
    before = machine.etc()
    plan = machine.plan()
    assert plan.manager == manager
    assert planned("node", plan).outcome is SetupOutcome.LEFT_ALONE
    assert any("chronyd" in line or "timesyncd" in line for line in advice(plan))
    assert machine.run("apply").returncode == 1
    assert machine.etc() == before


APT = """#!/bin/sh
root=@root@
echo "$*" >>$root/apt-calls
case "$*" in
*" -s install chrony") echo 'Remv @gone@ [1]'; echo 'Inst chrony (4.3)' ;;
*"--download-only install chrony")
    [ ! -e $root/no-network ] || { echo 'E: Failed to fetch http://mirror/chrony' >&2; exit 1; } ;;
*" download @gone@=1")
    [ ! -e $root/no-way-back ] || { echo "E: Version '1' for '@gone@' was not found" >&2; exit 1; } ;;
*"--no-download install chrony") cp $root/kept/chronyd $root/programs/; mkdir -p $root/etc/chrony
    cp $root/kept/chrony.conf $root/etc/chrony/ ;;
esac
"""


def without_chrony(root: Path, manager: str, text: str, gone: str = "systemd-timesyncd") -> Machine:
    """A machine on which chrony comes with its package, which a stand-in for the package manager installs."""
    machine = Machine(root, manager=manager)
    machine.program(manager, text, {"@root@": str(root), "@gone@": gone})
    machine.program("dpkg-query", "#!/bin/sh\necho 1")
    (root / "kept").mkdir()
    (machine.bin / "chronyd").rename(root / "kept/chronyd")
    (root / "etc/chrony/chrony.conf").rename(root / "kept/chrony.conf")
    return machine


def test_nothing_is_removed_before_its_package_is_kept(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path, "apt-get", APT)
    (tmp_path / "no-way-back").touch()
    before = machine.etc()
    done = machine.run("apply")
    assert "the way back cannot be had, the package systemd-timesyncd 1" in done.stderr
    assert "--no-download" not in machine.read("/apt-calls")
    assert machine.etc() == before
    (tmp_path / "no-way-back").unlink()
    assert machine.run("apply").returncode == 0
    calls = machine.read("/apt-calls").splitlines()
    assert [" download " in line for line in calls[-2:]] == [True, False]
    assert calls[-1].endswith("--no-download install chrony")
    assert effective(machine, "makestep") == "makestep 1 -1"


def test_without_a_repository_that_answers_nothing_is_done(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path, "apt-get", APT)
    (tmp_path / "no-network").touch()
    done = machine.run("apply")
    assert done.stderr.endswith("chrony cannot be had: Failed to fetch http://mirror/chrony\n")
    assert "--no-download" not in machine.read("/apt-calls")


def test_what_would_take_more_along_than_time_daemons_is_refused(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path, "apt-get", APT, gone="their-appliance")
    assert "to install chrony would remove their-appliance, too" in machine.run("apply").stderr
    assert "--no-download" not in machine.read("/apt-calls")


DNF = """#!/bin/sh
root=@root@
echo "$*" >>$root/dnf-calls
case "$*" in
*--assumeno*) cat $root/transaction ;;
"-q -y install chrony") cp $root/kept/chronyd $root/programs/; cp $root/kept/chrony.conf $root/etc/chrony.conf
    echo chrony-4.8-1.fc42.x86_64 >>$root/installed ;;
esac
"""
RPM = """#!/bin/sh
root=@root@
[ "$1" = -qa ] && cat $root/installed
[ "$1" = -e ] && rm -f $root/programs/chronyd $root/etc/chrony.conf && echo "$2" >$root/erased
exit 0
"""
TRANSACTION = """Package  Arch    Version   Repository  Size
Installing:
 chrony  x86_64  4.8-1     fedora     670 KiB
"""


def test_on_a_dnf_system_chrony_is_installed_and_erased_again(tmp_path: Path) -> None:
    machine = without_chrony(tmp_path, "dnf", DNF)
    machine.program("rpm", RPM, {"@root@": str(tmp_path)})
    machine.write("/etc/os-release", "ID=fedora\nVERSION_ID=42\n")
    machine.write("/kept/chrony.conf", FEDORA)
    machine.write("/installed", "bash-5.2.37-1.fc42.x86_64\n")
    machine.write("/transaction", f"{TRANSACTION}Removing:\n ntpsec  x86_64  1.2\n")
    assert "would remove other packages" in machine.run("apply").stderr
    machine.write("/transaction", TRANSACTION)
    before = machine.etc()
    assert machine.run("apply").returncode == 0
    assert machine.read("/etc/chrony.conf").endswith("include /etc/chrony-clockstep.d/zz-*.conf\n")
    assert (tmp_path / "var/lib/clockstep-setup/installed").read_text() == "chrony-4.8-1.fc42.x86_64\n"
    (tmp_path / "var/lib/clockstep-setup/units").write_text("systemd-timesyncd enabled active\n")
    machine.run("undo")
    assert machine.read("/erased") == "chrony-4.8-1.fc42.x86_64\n"
    assert machine.etc() == before


def test_a_plan_is_shown_as_a_diff(tmp_path: Path) -> None:
    lines = diff(Machine(tmp_path).plan())
    assert lines[:2] == ["--- /etc/chrony/chrony.conf", "+++ /etc/chrony/chrony.conf"]
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
