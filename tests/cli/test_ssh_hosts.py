"""Machines that no hypervisor knows: named by --ssh, looked at and stepped like all others."""

import json
from pathlib import Path

import pytest

from adapters.far_shell import fake, real
from clockstep.cli import run

TEST = ["--connect", "test:///default"]


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that leads to this machine's clock, and keeps what it was asked; nothing there could move a clock."""
    tools, there = tmp_path / "tools", tmp_path / "there"
    tools.mkdir()
    there.mkdir()
    real(there, "date")
    fake(there, "id", "echo 0")
    log = f'printf "%s\\n" "$*" >> {tmp_path}/asked'
    plain = 'for word; do [ "$word" != -G ] || exit 0; done'
    fake(tools, "ssh", f"{log}\n{plain}\nexec /usr/bin/env PATH='{there}' /bin/sh")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_status_compares_a_hosts_clock_with_this_ones_and_asks_no_libvirt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+unix:///session?socket=/nonexistent/libvirt-sock")
    assert run(["-o", "json", "status", "--ssh", "db.example.org", "--ssh", "root@web", "--ssh", "root@web"]) == 0
    episodes = json.loads(capsys.readouterr().out)["episodes"]
    assert [episode["node"] for episode in episodes] == ["db.example.org", "root@web"]
    assert {episode["facts"]["readings"][0]["source"] for episode in episodes} == {"ssh"}


def test_a_host_is_verified_by_step_without_having_to_prove_a_uuid(
    capsys: pytest.CaptureFixture[str], ssh: Path
) -> None:
    (ssh / "config").write_text("Host db\n  HostName 192.0.2.1\n")
    assert run(["-o", "json", "step", "--ssh", "db", "--ssh-config", "config"]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert episode["verdict"] == "good"
    assert episode["proven_ns"] is not None
    asked = (ssh / "asked").read_text().splitlines()
    assert asked
    assert all("-F config " in line and line.endswith(("-- db", "-- db sh")) for line in asked)


def test_hosts_are_added_to_machines_that_are_named_and_names_in_common_stay_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run([*TEST, "-o", "json", "status", "test", "--ssh", "test"])
    nodes = [episode["node"] for episode in json.loads(capsys.readouterr().out)["episodes"]]
    assert nodes == ["test@test:///default", "test@ssh"]


@pytest.mark.parametrize("host", ["-oProxyCommand=id", "", "a b", "db\n", "db\x1b[2J", "-"])
@pytest.mark.parametrize("command", ["status", "step"])
def test_what_ssh_could_take_for_an_option_is_a_usage_error(ssh: Path, command: str, host: str) -> None:
    assert run([command, f"--ssh={host}"]) == 2
    assert not (ssh / "asked").exists()


def test_a_host_cannot_be_reached_by_agent_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--ssh", "db", "--reach", "agent"]) == 2
    assert "--reach agent" in capsys.readouterr().err
