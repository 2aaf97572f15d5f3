"""What only ssh can get wrong, on real guests with a real sshd."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from clockstep.state.journal import state_folder
from conftest import Guests
from flows.commands import SECOND_NS, all_proven, clockstep, command, put_behind


def over_ssh(guests: Guests, *words: str, code: int = 0, config: Path | None = None) -> Any:
    """Run a command over ssh with -o json; the configuration is the lab's own where no other is named."""
    file = str(config or guests.lab.folder / "ssh_config")
    return clockstep(guests, *words, "--reach", "ssh", "--ssh-config", file, code=code)


def changed(guests: Guests, tmp_path: Path, line: str) -> Path:
    """The lab's configuration with a line before all others, which then counts (ssh_config(5))."""
    config = tmp_path / "ssh_config"
    config.write_text(f"{line}\n{(guests.lab.folder / 'ssh_config').read_text()}")
    return config


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


def test_a_host_that_is_another_machine_is_neither_measured_nor_stepped(guests: Guests, tmp_path: Path) -> None:
    meant, other = guests.names[:2]
    put_behind(guests, other, 3)
    config = changed(guests, tmp_path, f"Host {meant}\n    Port {guests.lab.machine(other).ssh_port}\nHost *")
    (episode,) = over_ssh(guests, "step", meant, code=3, config=config)["episodes"]
    assert episode["actions"] == []
    assert "ssh reaches another machine" in episode["facts"]["trouble"][0]["text"]
    assert guests.offset_ns(other) < -2 * SECOND_NS


def test_a_node_without_perl_and_python_has_its_date_set_until_it_is_right(guests: Guests) -> None:
    name = guests.names[2]
    tools = guests.ssh(name, "command -v perl python3").split()
    guests.ssh(name, "; ".join(f"mv {tool} {tool}.away" for tool in tools))
    try:
        put_behind(guests, name, 5)
        (episode,) = over_ssh(guests, "step", name, "--tolerance", "250ms")["episodes"]
        all_proven(guests, [episode])
        assert [action["type"] for action in episode["actions"]][:1] == ["step"]
    finally:
        guests.ssh(name, "; ".join([*(f"mv {tool}.away {tool}" for tool in tools), "sync"]))


def test_a_vagrant_project_is_reached_as_vagrant_says_and_its_host_keys_are_kept(
    guests: Guests, tmp_path: Path
) -> None:
    name = guests.names[0]
    machine = tmp_path / ".vagrant" / "machines" / "web" / "libvirt"
    machine.mkdir(parents=True)
    uuid = guests.domain(name).UUIDString()
    (machine / "id").write_text(uuid)
    vagrant = tmp_path / "vagrant"
    printed = f"""\
Host web
  HostName 127.0.0.1
  User root
  Port {guests.lab.machine(name).ssh_port}
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile {guests.lab.folder}/id_ed25519
  IdentitiesOnly yes
  LogLevel FATAL
"""
    vagrant.write_text(f"#!/bin/sh\n[ \"$*\" = 'ssh-config web' ] && cat <<'END'\n{printed}\nEND\n")
    vagrant.chmod(0o755)

    def step(code: int) -> Any:
        words = command(guests, "-o", "json", "step", "--reach", "ssh")
        path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(words, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)["episodes"]

    put_behind(guests, name, 3)
    (episode,) = step(0)
    assert episode["node"] == "web"  # as Vagrant calls it, which is the shorter name
    all_proven(guests, [{**episode, "node": name}])
    state = state_folder(os.environ, root=os.geteuid() == 0) / "vagrant"
    known = state / "known_hosts"
    before = known.read_text()
    known.write_text(f"{uuid} {(guests.lab.folder / 'id_ed25519.pub').read_text()}")
    try:
        (refused,) = step(3)
        assert "HOST IDENTIFICATION HAS CHANGED" in refused["facts"]["trouble"][0]["text"]
    finally:
        known.write_text(before)
        (state / f"{uuid}.json").unlink()
