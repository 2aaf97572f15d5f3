"""Setting chrony up on stock Debian guests, from systemd-timesyncd to the proof, and back; and what may go wrong."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clockstep.daemons.setup import FOLDER
from clockstep_lab import apt
from clockstep_lab.errors import LabError
from conftest import Guests, debian, pass_time, until
from flows.commands import all_proven, clockstep, command, run
from states import SET_UP

pytestmark = pytest.mark.full

EACH, DEBIAN_12 = debian(12, 13), debian(12)
RUNS = "systemctl is-active systemd-timesyncd chrony || true"
BOOT_S = 300
COUNTS = "chronyd -p | grep ^makestep | tail -n 1"
UNIT = "/etc/systemd/system/chrony.service.d"
RULES = "/etc/udev/rules.d/90-clockstep.rules"
"""Of those that may be written, one that none of these guests gets."""
THEIRS = "/etc/chrony/sources.d/mine.sources"
CUT = "nft 'add table ip cut; add chain ip cut out {{ type filter hook output priority 0; }}; {}'"
PLAIN_USER = """useradd -m plain; install -d -o plain -m 700 /home/plain/.ssh
install -o plain -m 600 /root/.ssh/authorized_keys /home/plain/.ssh/"""
HOLD_LOCK = """python3 -c '
import fcntl, time
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
open("/run/held", "w")
time.sleep(60)' >/dev/null 2>&1 & until [ -e /run/held ]; do sleep 0.1; done; echo $!"""


def outcome(guests: Guests, *words: str, do: str = "apply", code: int | None = 0) -> tuple[str, str]:
    """Run `setup` on the one guest, and return what it came to, and why."""
    asked = [] if do == "check" else ["--yes"]
    (node,) = clockstep(guests, "setup", do, *guests.names, *asked, *words, code=code)["nodes"]
    return node["outcome"], node["text"]


def boot_id(guests: Guests) -> str:
    """Which boot the guest is in; nothing while it cannot be asked."""
    with suppress(LabError):
        return guests.ssh(guests.names[0], "cat /proc/sys/kernel/random/boot_id")
    return ""


def by_ssh(guests: Guests) -> list[str]:
    return ["--reach", "ssh", "--ssh-config", str(guests.lab.folder / "ssh_config")]


@contextmanager
def no_packages(guests: Guests) -> Iterator[None]:
    """A guest that cannot reach the lab's repository; ssh and NTP it can."""
    (name,) = guests.names
    refuse = "add rule ip cut out tcp dport {} reject with tcp reset"
    guests.ssh(name, CUT.format(refuse.format(guests.lab.packages_port)))
    try:
        yield
    finally:
        guests.ssh(name, "nft delete table ip cut")


def begun(guests: Guests, *words: str) -> "subprocess.Popen[str]":
    """Start a setup, and come back when packages are being installed."""
    line = command(guests, "setup", "apply", "--yes", *guests.names, *words)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    assert any("installing chrony" in said for said in process.stderr)
    return process


@DEBIAN_12
def test_what_cannot_be_done_is_refused_in_one_line_and_nothing_is_changed(full: Guests, tmp_path: Path) -> None:
    (name,) = full.names
    full.ssh(name, PLAIN_USER)
    config = tmp_path / "ssh_config"
    config.write_text((full.lab.folder / "ssh_config").read_text().replace("User root", "User plain"))
    assert outcome(full, "--reach", "ssh", "--ssh-config", str(config), code=6) == (
        "refused",
        "setup needs root on the node",
    )
    shown = run(full, "setup", "plan", name)
    assert shown.returncode == 0, shown.stderr
    assert [line in shown.stdout for line in ("  install chrony\n", "  replace systemd-timesyncd\n")] == [True, True]
    assert ("to milliseconds on a near network" in shown.stdout) != full.lab.kvm
    full.ssh(name, CUT.format(f"add rule ip cut out udp dport {full.lab.ntp_port} drop"))
    said, why = outcome(full, code=6)
    full.ssh(name, "nft delete table ip cut")
    assert said == "refused"
    assert why.startswith("no time server answers there, and no hypervisor's clock can be followed: ") or full.lab.kvm
    assert "10.0.2.2 does not answer" in why or full.lab.kvm
    holder = full.ssh(name, HOLD_LOCK).strip()
    assert outcome(full, code=6) == (
        "refused",
        "the package manager is busy: /var/lib/dpkg/lock-frontend is locked",
    )
    full.ssh(name, f"kill {holder}; mount --bind /etc /etc; mount -o remount,bind,ro /etc")
    assert outcome(full, code=6) == ("refused", "/etc is read-only")


@EACH
def test_where_its_packages_cannot_be_had_nothing_is_changed(full: Guests) -> None:
    (name,) = full.names
    with no_packages(full):
        said, why = outcome(full, code=6)
    assert said == "refused"
    assert "chrony is not available: Failed to fetch" in why
    assert full.ssh(name, RUNS) == "active\ninactive\n"
    assert full.ssh(name, f"ls -d {FOLDER} 2>&-; ls -d /etc/chrony/*") == "/etc/chrony/sources.d\n"


@EACH
def test_after_a_power_cut_in_its_middle_it_is_run_again_and_gets_there(full: Guests) -> None:
    (name,) = full.names
    (node,) = clockstep(full, "setup", "check", name, code=1)["nodes"]
    assert (node["outcome"], node["plan"]["replaces"]) == ("would-change", ["systemd-timesyncd"])
    cut_short = begun(full)
    until(lambda: "unpacked" in full.tell(name, "tail -n 3 /var/log/dpkg.log 2>/dev/null || true"), 120)
    full.domain(name).destroy()
    cut_short.kill()
    cut_short.wait(60)
    full.domain(name).create()
    until(lambda: full.greets(name), BOOT_S)
    assert "an earlier setup was interrupted" in run(full, "setup", "check", name, *by_ssh(full)).stdout
    way = by_ssh(full) if full.lab.image == "debian-12" else []
    (node,) = clockstep(full, "setup", "apply", name, "--yes", *way)["nodes"]
    assert node["outcome"] == "set-up"
    all_proven(full, [node["episode"]])
    expected = "#* PHC0" if full.lab.kvm else "^* 10.0.2.2"  # ptp_kvm, where KVM works
    assert node["episode"]["facts"]["claim"]["source"] == expected
    assert full.ssh(name, COUNTS) == "makestep 1 -1\n"
    assert outcome(full, do="check") == ("unchanged", "")


@debian(12, state=SET_UP)
def test_an_error_of_the_users_own_and_a_drop_in_of_the_users_own_are_left_as_they_are(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, "echo makesteps >> /etc/chrony/chrony.conf")
    said, why = outcome(full, code=6)
    assert said == "refused"
    assert why.startswith("chronyd does not accept its current configuration: ")
    full.ssh(name, f"sed -i '/^makesteps/d' /etc/chrony/chrony.conf; echo '# mine' > {RULES}")
    theirs = f"{RULES} exists, and clockstep did not write it"
    assert outcome(full, code=6) == ("refused", theirs)
    assert full.ssh(name, f"cat {RULES}; rm {RULES}") == "# mine\n"


@debian(12, 13, state=SET_UP)
def test_it_outlives_a_reboot(full: Guests) -> None:
    (name,) = full.names
    boot = boot_id(full)
    full.ssh(name, "systemctl reboot --no-block")
    until(lambda: full.greets(name) and boot_id(full) not in {boot, ""}, BOOT_S)
    assert outcome(full) == ("unchanged", "")


@debian(12, state=SET_UP)
def test_a_node_that_was_set_up_is_reverted_stepped_and_still_set_up(full: Guests) -> None:
    (name,) = full.names
    full.snapshot(name, "set-up")
    pass_time(4)
    full.revert(name, "set-up")
    (episode,) = clockstep(full, "step", name)["episodes"]
    all_proven(full, [episode])
    stepped = any(action["type"] == "step" for action in episode["actions"])
    assert stepped or full.lab.kvm  # with ptp_kvm its own chronyd may be the first
    assert outcome(full, do="check") == ("unchanged", "")


@debian(12, 13, state=SET_UP)
def test_undo_needs_no_packages_from_outside_and_ends_with_the_daemon_that_was_there(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, f"echo '# mine' > {THEIRS}")
    with no_packages(full):
        assert outcome(full, *by_ssh(full), do="undo") == ("undone", "")
    assert full.ssh(name, RUNS) == "active\ninactive\n"
    left = full.ssh(name, f"find /etc/chrony {UNIT} /var/lib/clockstep-setup -type f 2>&- | sort")
    assert left == f"/etc/chrony/sources.d/lab.sources\n{THEIRS}\n"
    full.ssh(name, f"rm {THEIRS}")
    assert outcome(full, do="undo") == ("unchanged", "clockstep has not set it up")


@DEBIAN_12
def test_what_fails_is_put_back_also_with_the_network_cut_after_the_install(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, f"mkdir -p {UNIT}; printf '[Service]\\nExecStartPre=false\\n' > {UNIT}/theirs.conf")
    in_vain = begun(full, "-o", "json")
    with no_packages(full):
        said, _ = in_vain.communicate(timeout=400)
    full.ssh(name, f"rm -r {UNIT}; systemctl daemon-reload")
    (node,) = json.loads(said)["nodes"]
    assert node["outcome"] == "failed"
    assert node["text"].startswith("chronyd does not start")
    assert full.ssh(name, RUNS) == "active\ninactive\n"
    assert full.ssh(name, "find /etc/chrony -type f") == "/etc/chrony/sources.d/lab.sources\n"


@debian(13, state=SET_UP)
def test_the_printed_script_does_the_same_where_it_is_run_by_whoever_provisions(full: Guests) -> None:
    (name,) = full.names
    assert run(full, "setup", "print", "shell").stdout == full.ssh(name, "cat /root/chrony.sh")  # which was run
    (node,) = clockstep(full, "setup", "apply", name, "--yes")["nodes"]
    assert (node["outcome"], node["text"]) == ("unchanged", "")
    all_proven(full, [node["episode"]])


@debian(13, state=SET_UP)
def test_a_node_that_is_set_up_stays_so_when_its_chrony_becomes_4_9(full: Guests) -> None:
    (name,) = full.names
    (package,) = [path for path in apt.download("sid", ["chrony"]) if path.name.startswith("chrony_4.")]
    install = "cat > /root/chrony.deb; apt-get -qq install --yes /root/chrony.deb >&2; chronyd -v"
    assert "version 4.9" in full.ssh(name, install, package.read_bytes())
    assert full.ssh(name, COUNTS) == "makestep 1 -1\n"
    (node,) = clockstep(full, "setup", "apply", name, "--yes")["nodes"]
    assert (node["outcome"], node["text"]) == ("unchanged", "")
    all_proven(full, [node["episode"]])
