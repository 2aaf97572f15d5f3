"""The commands over ssh, on real guests whose agents are left out of it, with the witness as the judge."""

from pathlib import Path
from typing import Any

import pytest

from conftest import Guests, pass_time
from flows.commands import SECOND_NS, all_proven, clockstep, put_behind

AWAY_S = 10


def over_ssh(guests: Guests, *words: str, code: int = 0, config: Path | None = None) -> Any:
    """Run a command over ssh with --json; the configuration is the lab's own where no other is named."""
    file = str(config or guests.lab.folder / "ssh_config")
    return clockstep(guests, *words, "--reach", "ssh", "--ssh-config", file, code=code)


def changed(guests: Guests, tmp_path: Path, line: str) -> Path:
    """The lab's configuration with a line before all others, which then counts (ssh_config(5))."""
    config = tmp_path / "ssh_config"
    config.write_text(f"{line}\n{(guests.lab.folder / 'ssh_config').read_text()}")
    return config


@pytest.fixture
def no_agents(guests: Guests) -> Guests:
    """Guests whose agent is not there: what is reached is reached by ssh."""
    for name in guests.names:
        guests.ssh(name, "pkill -STOP qemu-ga")
    return guests


@pytest.fixture(autouse=True)
def agents_afterwards(guests: Guests) -> Any:
    yield
    for name in guests.names:
        guests.ssh(name, "pkill -CONT qemu-ga")


def test_status_measures_every_node_and_asks_its_daemon(no_agents: Guests) -> None:
    report = over_ssh(no_agents, "status", "--deadline", "30s", "--tolerance", "50ms")  # a busy machine
    all_proven(no_agents, report["episodes"])
    assert [episode["facts"]["readings"][0]["source"] for episode in report["episodes"]] == ["ssh"] * 3
    assert all(episode["facts"]["claim"]["source"] == "^* 10.0.2.2" for episode in report["episodes"])


def test_a_late_node_is_stepped_and_its_daemon_is_brought_along(no_agents: Guests) -> None:
    name = no_agents.names[0]
    put_behind(no_agents, name, 5)
    (episode,) = over_ssh(no_agents, "step", name)["episodes"]
    assert -6 * SECOND_NS < episode["before"]["value_ns"] < -4 * SECOND_NS
    assert [action["type"] for action in episode["actions"]][:2] == ["step", "resync"]
    assert episode["facts"]["claim"]["synchronised"] is True
    all_proven(no_agents, [episode])


def test_a_reverted_cluster_ends_with_every_clock_proven_and_every_daemon_in_sync(no_agents: Guests) -> None:
    over_ssh(no_agents, "snapshot", "create", "golden", "--all")
    pass_time(AWAY_S)
    report = over_ssh(no_agents, "revert", "golden", "--all")
    assert report["complete"] is True
    all_proven(no_agents, report["episodes"])
    for episode in report["episodes"]:
        assert episode["before"]["value_ns"] < -AWAY_S * SECOND_NS
        assert episode["facts"]["claim"]["source"] == "^* 10.0.2.2"


def test_a_changed_host_key_is_refused_and_nothing_is_done(guests: Guests, tmp_path: Path) -> None:
    kind, key, _ = (guests.lab.folder / "id_ed25519.pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"clockstep-lab-{guests.lab.name} {kind} {key}\n")
    config = changed(guests, tmp_path, f"UserKnownHostsFile {tmp_path}/known_hosts")
    report = over_ssh(guests, "step", guests.names[0], code=3, config=config)
    (episode,) = report["episodes"]
    assert episode["verdict"] == "unreachable"
    assert episode["actions"] == []
    (trouble,) = episode["facts"]["trouble"]
    assert "HOST IDENTIFICATION HAS CHANGED" in trouble["text"]
    assert "ssh-keygen -R" in trouble["remedy"]


def test_a_node_whose_sshd_is_not_there_costs_the_others_nothing(guests: Guests, tmp_path: Path) -> None:
    name = guests.names[1]
    config = changed(guests, tmp_path, f"Host {name}\n    Port 1\nHost *")
    report = over_ssh(guests, "status", "--deadline", "30s", "--tolerance", "50ms", code=3, config=config)
    verdicts = {episode["node"]: episode["verdict"] for episode in report["episodes"]}
    assert verdicts == {guests.names[0]: "good", name: "unreachable", guests.names[2]: "good"}
    refused = next(episode for episode in report["episodes"] if episode["node"] == name)
    assert "Connection refused" in refused["facts"]["trouble"][0]["text"]
