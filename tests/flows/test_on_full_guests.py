"""A full Debian with its own time daemon: the same trouble, the same cure, and packages from the lab's repository."""

import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

import clockstep as clockstep_package
from clockstep.host.systemd_unit import ACCOUNT, UNIT
from conftest import Guests, debian, pass_time, until
from flows.commands import SECOND_NS, clockstep, put_behind, stepped_right
from states import CHRONY, SERVICE, installed

pytestmark = pytest.mark.full

AWAY_S = 8
SYNCED = "timedatectl show --property NTPSynchronized --value"


TIMESYNCD = "systemd-timesyncd"
TEST_UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
"""Of the machine that libvirt's test driver has."""
MANAGE, SET_TIME, START = "org.libvirt.unix.manage", "org.libvirt.api.domain.set-time", "org.libvirt.api.domain.start"
NOT_ALLOWED = "<defaults><allow_any>no</allow_any></defaults>"
"""Actions as libvirt's own packages register them with polkit: nobody may, unless a rule says so."""
BOTH, DEBIAN_12 = debian(12, 13), debian(12)


@BOTH
def test_timesyncd_does_not_notice_a_revert_and_clockstep_mends_it(full: Guests) -> None:
    (name,) = full.names
    full.snapshot(name, "before")
    taken_ns = time.monotonic_ns()
    pass_time(AWAY_S)
    full.revert(name, "before")
    full.witness.await_looks()
    gone_ns = time.monotonic_ns() - taken_ns
    assert AWAY_S * SECOND_NS < -full.offset_ns(name) < gone_ns + SECOND_NS
    assert full.ssh(name, SYNCED) == "yes\n"
    pass_time(2)
    assert full.offset_ns(name) < -AWAY_S * SECOND_NS

    episode = stepped_right(full, name)
    done = [action["type"] for action in episode["actions"]]
    assert done[0] == "step"
    assert "resync" in done
    assert (episode["facts"]["claim"]["daemon"], episode["facts"]["claim"]["synchronised"]) == (TIMESYNCD, True)


@DEBIAN_12
def test_a_timesyncd_that_was_stopped_is_not_started_by_asking_it(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, f"systemctl stop {TIMESYNCD}")
    (episode,) = clockstep(full, "status", name)["episodes"]
    assert episode["facts"]["claim"] is None
    assert full.ssh(name, f"systemctl is-active {TIMESYNCD} || true") == "inactive\n"


@DEBIAN_12
def test_where_commands_are_blocked_the_slow_set_is_proven_all_the_same(full: Guests) -> None:
    """qemu-ga waits there for a real hwclock, for about a second, and answers nothing meanwhile."""
    (name,) = full.names
    full.ssh(name, "mkdir -p /etc/qemu; printf '[general]\\nblacklist=guest-exec\\n' > /etc/qemu/qemu-ga.conf")
    full.ssh(name, "systemctl restart qemu-guest-agent")
    put_behind(full, name, 5)
    episode = stepped_right(full, name)
    assert any("the time daemon was not" in finding["text"] for finding in episode["findings"])


@DEBIAN_12
def test_by_ssh_a_user_without_sudo_may_look_and_one_with_it_may_step(full: Guests, tmp_path: Path) -> None:
    (name,) = full.names
    full.ssh(name, "useradd --create-home plain; cp -r /root/.ssh /home/plain; chown -R plain: /home/plain")
    config = tmp_path / "ssh_config"
    config.write_text(f"User plain\n{(full.lab.folder / 'ssh_config').read_text()}")
    way = ["--reach", "ssh", "--ssh-config", str(config)]
    put_behind(full, name, 4)
    (refused,) = clockstep(full, "step", name, *way, "--deadline", "40s", code=1)["episodes"]
    assert refused["actions"] == []
    assert refused["before"]["value_ns"] < -3 * SECOND_NS
    assert any("sudo is not allowed" in trouble["text"] for trouble in refused["facts"]["trouble"])
    assert any("sudo without a password" in finding["remedy"] for finding in refused["findings"])
    full.ssh(name, "echo 'plain ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/plain")
    stepped_right(full, name, *way)


@debian(12, state=CHRONY)
def test_chrony_comes_from_the_labs_repository_and_is_resynced_after_a_step(full: Guests) -> None:
    (name,) = full.names
    put_behind(full, name, 5)
    episode = stepped_right(full, name)
    assert episode["facts"]["claim"]["daemon"] == "chrony"
    assert episode["facts"]["claim"]["source"] == "^* 10.0.2.2"


@DEBIAN_12
def test_another_daemon_is_named_and_left_alone(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, installed("openntpd"))
    put_behind(full, name, 5)
    episode = stepped_right(full, name)
    assert {action["type"] for action in episode["actions"]} == {"step"}
    assert any("ntpd runs, but does not report its state" in finding["text"] for finding in episode["findings"])


@debian(13, state=SERVICE)
def test_the_watcher_is_a_service_of_a_real_systemd_and_polkit_lets_it_do_what_it_needs(full: Guests) -> None:
    """In the guest, on libvirt's test driver: the unit, its account and its rule are what counts here."""
    (name,) = full.names
    pack = ["tar", "-c", "--exclude=__pycache__", "-C", str(Path(clockstep_package.__file__).parents[1]), "clockstep"]
    source = subprocess.run(pack, capture_output=True, check=True).stdout
    full.ssh(name, "tar -x --no-same-owner -C /usr/lib/python3/dist-packages", source)
    actions = "".join(f"<action id='{action}'>{NOT_ALLOWED}</action>" for action in (MANAGE, SET_TIME, START))
    policy = f"<policyconfig>{actions}</policyconfig>".encode()
    full.ssh(name, "cat > /usr/share/polkit-1/actions/org.libvirt.test.policy", policy)
    service = "cd /srv && python3 -m clockstep --connect test:///default -o json service"
    assert f"wrote /etc/systemd/system/{UNIT}" in full.ssh(name, f"{service} install test --yes 2>&1")

    def shown(field: str) -> str:
        return full.ssh(name, f"systemctl show --value --property {field} {UNIT}").strip()

    def granted(action: str, uuid: str = TEST_UUID) -> str:
        asked = f"pkcheck --action-id {action} --process {shown('MainPID')} --detail domain_uuid {uuid}"
        return full.ssh(name, f"{asked} >/dev/null 2>&1 && echo yes || echo no").strip()

    assert [shown(field) for field in ("ActiveState", "User", "StatusText")] == ["active", ACCOUNT, "watching"]
    assert [granted(action) for action in (MANAGE, SET_TIME, START)] == ["yes", "yes", "no"]
    assert granted(SET_TIME, str(uuid4())) == "no"
    journal = f"journalctl --unit {UNIT} --output cat"
    until(lambda: '{"node":"test"' in full.ssh(name, journal), 30)
    full.ssh(name, f"systemctl reload {UNIT}")
    until(lambda: "configuration reloaded" in shown("StatusText"), 30)
    first = shown("MainPID")
    full.ssh(name, f"systemctl kill --signal KILL {UNIT}")
    until(lambda: shown("ActiveState") == "active" and shown("MainPID") not in {"0", first}, 60)
    assert "not there" in full.ssh(name, f"{service} install nobody --yes 2>&1 || echo 'not there'")
    written = "printf '[cluster.lab]\\nnodes = [\"test\"]\\n' > /srv/changed.toml"
    full.ssh(name, f"{written}; chmod 666 /srv/changed.toml")
    refused = full.ssh(name, f"{service} install test --config changed.toml --yes 2>&1 || true")
    assert "/srv/changed.toml may be written by everybody" in refused
    assert shown("ActiveState") == "active"
    assert f"removed /etc/systemd/system/{UNIT}" in full.ssh(name, f"{service} uninstall --yes 2>&1")
    assert shown("LoadState") == "not-found"
    assert full.ssh(name, "ls /etc/polkit-1/rules.d /etc/sysusers.d | grep clockstep || true") == ""


@BOTH
def test_a_full_guest_reaches_nothing_but_this_machine(full: Guests) -> None:
    (name,) = full.names
    routes = full.ssh(name, "ip route; ip -6 route; cat /etc/resolv.conf 2>/dev/null || true")
    assert routes.startswith("10.0.2.0/24 dev eth0")
    assert "default" not in routes
    assert "nameserver" not in routes
