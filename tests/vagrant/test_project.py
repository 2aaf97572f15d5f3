"""A real Vagrant project, as the person has it who described the problem: two machines, no guest agent, Vagrant's keys.

Each test gets the project as `vagrant up` has left it, restored from its kept moment, unless it changes nothing.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clockstep_lab import full, vagrant
from clockstep_lab.vagrant import FOLDER, Project
from conftest import pass_time, quiet, until

pytestmark = pytest.mark.vagrant

CLOCKSTEP = (sys.executable, "-m", "clockstep")
WITHIN_NS = 10_000_000
"""What clockstep promises; no time daemon runs in a machine, until it boots, that could have done something else."""
PATIENT = ("--deadline", "90s")
ASKED = "asking Vagrant how to log in"


def of_this_machine() -> list[bytes]:
    """What the project has of its own, and must leave alone here: bridges, firewall, libvirt's sockets, accounts."""
    files = ["find", "/run/libvirt", "/etc/libvirt", "/var/lib/libvirt"]
    commands = (["ip", "-o", "link"], ["iptables-save"], files, ["cat", "/etc/passwd"])
    found = [subprocess.run(command, capture_output=True, check=False).stdout for command in commands]
    told = [b"\n".join(line for line in text.splitlines() if not line.startswith(b"#")) for text in found]
    return [re.sub(rb"\[\d+:\d+\]", b"", text) for text in told]  # iptables' counters


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Fresh"]:
    before = of_this_machine()
    made = Fresh(tmp_path_factory)
    yield made
    made.down()
    assert of_this_machine() == before


class Fresh:
    """The project, restored again when it is asked for after a test has changed it."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._project: Project | None = None
        self.changed = False

    def up(self) -> Project:
        if self._project is None or self.changed:
            self.down()
            self._project = vagrant.project(full.image("debian-12", quiet), self._folders.mktemp("v"), quiet)
            self.changed = False
        return self._project

    def down(self) -> None:
        if self._project:
            self._project.down()
            shutil.rmtree(self._project.home)
        self._project = None


@pytest.fixture
def looked_at(fresh: Fresh) -> Project:
    """The project, for a test that changes nothing of it but what clockstep keeps."""
    return fresh.up()


@pytest.fixture
def project(fresh: Fresh) -> Project:
    """The project, for a test that may change anything."""
    up = fresh.up()
    fresh.changed = True
    return up


def clockstep(
    project: Project, *words: str, code: int | None = 0, folder: Path = FOLDER, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command in the project; what looks at machines gets the time that a busy machine's logins take."""
    if {"status", "doctor"} & set(words):
        words = (*words, *PATIENT)
    done = subprocess.run(
        project.inside([*CLOCKSTEP, *words], folder),
        env=project.environment | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert code in {None, done.returncode}, done.stdout + done.stderr
    return done


def report(project: Project, *words: str, code: int | None = 0, **environment: str) -> Any:
    return json.loads(clockstep(project, "-o", "json", *words, code=code, folder=FOLDER, **environment).stdout)


def verdicts(episodes: Any) -> dict[str, str]:
    return {episode["node"]: episode["verdict"] for episode in episodes}


def way_to(project: Project, name: str) -> str:
    """By which way a machine's clock is read; nothing while it is not."""
    (episode,) = report(project, "status", name, code=None)["episodes"]
    return "".join(reading["source"] for reading in episode["facts"]["readings"])


def trouble(project: Project, name: str) -> str:
    """What is said of a machine that cannot be read, while the other one can."""
    episodes = report(project, "status", code=3)["episodes"]
    assert [episode["verdict"] for episode in episodes if episode["node"] != name] == ["good"]
    (episode,) = [episode for episode in episodes if episode["node"] == name]
    return str(episode["facts"]["trouble"][-1]["text"])


def surely_near(project: Project, *names: str) -> None:
    """The witness finds these clocks right."""
    for name in names:
        look = project.look(name)
        assert abs(look.offset_ns) - look.error_ns < WITHIN_NS, (name, look)


class Told:
    """What a watcher has told so far, each an Episode."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        self._lines = process.stdout
        self._episodes: list[Any] = []

    def episodes(self, cause: str = "") -> list[Any]:
        """All that was told, or what was for this cause."""
        self._episodes += [json.loads(line) for line in self._lines]
        return [one for one in self._episodes if one["cause"]["kind"] == cause or not cause]

    def until(self, cause: str, names: Sequence[str], times: int = 1) -> None:
        """Wait until each of these nodes was told of so often for this cause."""
        until(lambda: all(self._count(name, cause) >= times for name in names), 90)

    def _count(self, name: str, cause: str) -> int:
        return sum(one["node"] == name for one in self.episodes(cause))


@contextmanager
def watching(project: Project) -> Iterator[Told]:
    """What the watcher tells while the block lasts."""
    with subprocess.Popen(
        project.inside([*CLOCKSTEP, "-o", "json", "watch", *PATIENT]),
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr
            assert any("watching" in line for line in process.stderr)
            yield Told(process)
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # nsenter(1) does not pass it on
            process.communicate(timeout=30)


def test_vagrant_is_asked_once_and_its_machines_go_by_its_names(looked_at: Project) -> None:
    first = clockstep(looked_at, "status")
    assert [f"{name}: {ASKED}" in first.stderr for name in looked_at.names] == [True, True]
    second = clockstep(looked_at, "status", "k8s1", "k8s-lab_k8s2")
    assert ASKED not in second.stderr
    assert [line.split()[0] for line in second.stdout.splitlines()[2:4]] == ["k8s1", "k8s2"]
    assert verdicts(report(looked_at, "status")["episodes"]) == {"k8s1": "good", "k8s2": "good"}


def test_the_network_s_spanning_tree_is_found_and_switched_off_and_on_again(project: Project) -> None:
    state = "ip -d link show virbr1 | grep -o 'stp_state [01]'"
    sections = {one["check"] for node in report(project, "doctor", code=None)["nodes"] for one in node["findings"]}
    assert {"spanning-tree", "no-agent"} <= sections
    shown = clockstep(project, "domain", "plan", "--spanning-tree", "k8s1").stdout
    assert "on it: k8s-lab_k8s1, k8s-lab_k8s2" in shown
    assert project.run("sh", "-c", state) == "stp_state 1\n"
    (network,) = report(project, "domain", "apply", "--spanning-tree", "--yes", "k8s1")["nodes"]
    assert (network["node"], network["outcome"]) == ("vagrant-libvirt", "defined")
    assert project.run("sh", "-c", state) == "stp_state 0\n"
    assert "stp='off'" in project.run("virsh", "net-dumpxml", "--inactive", "vagrant-libvirt")
    (again,) = report(project, "domain", "apply", "--spanning-tree", "--yes", "k8s1")["nodes"]
    assert again["outcome"] == "unchanged"
    (back,) = report(project, "domain", "undo", "--spanning-tree", "--yes", "k8s1")["nodes"]
    assert back["outcome"] == "undone"
    assert project.run("sh", "-c", state) == "stp_state 1\n"
    assert "stp='on'" in project.run("virsh", "net-dumpxml", "--inactive", "vagrant-libvirt")


def test_a_set_is_taken_and_reverted_by_ssh_and_the_witness_agrees(project: Project) -> None:
    taken = report(project, "snapshot", "create", "base", *PATIENT)
    assert taken["snapshot"]["members"] == ["k8s-lab_k8s1", "k8s-lab_k8s2"]
    assert verdicts(taken["episodes"]) == {"k8s1": "good", "k8s2": "good"}
    pass_time(5)
    reverted = report(project, "revert", "--latest", "--yes", *PATIENT)
    surely_near(project, *project.names)
    assert verdicts(reverted["episodes"]) == {"k8s1": "good", "k8s2": "good"}
    assert all(one["before"]["value_ns"] < -5_000_000_000 for one in reverted["episodes"])
    assert [one["members"] for one in report(project, "snapshot", "list")["snapshots"]] == [["k8s1", "k8s2"]]


def test_the_how_tos_own_commands_save_revert_and_sum_up(project: Project) -> None:
    how_to = (Path(__file__).parents[2] / "docs/how-to.md").read_text()
    (script,) = [block for block in re.findall(r"```sh\n(.*?)```", how_to, re.DOTALL) if "# k8s cluster save" in block]
    (project.home / "srv/vagrant/k8s").write_text(script)
    path = f"{Path(sys.executable).parent}:{project.environment['PATH']}"

    def k8s(*words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            project.inside(["sh", "/srv/vagrant/k8s", *words], Path("/")),
            env=project.environment | {"PATH": path, "K8S_PROJECT": str(FOLDER)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    assert re.match(r"good: at most [\d.]+ µs off, wrong for [\d.]+ s\n", k8s("cluster", "save", "w1").stdout)
    pass_time(3)
    assert k8s("cluster", "revert").stdout.startswith("good: at most ")
    assert k8s("cluster", "status").stdout.startswith("good: at most ")
    assert "no node has a snapshot 'nonesuch'" in k8s("cluster", "revert", "nonesuch", code=2).stderr
    assert k8s("nonsense", code=2).stderr.startswith("usage: ")


def test_whatever_vagrant_does_to_its_machines_the_watcher_corrects_them(project: Project) -> None:
    clockstep(project, "status")  # while it is asked how to log in, Vagrant lets nobody else use the machine
    with watching(project) as told:
        project.vagrant("snapshot", "push")
        told.until("resumed", project.names)
        pass_time(3)
        project.vagrant("snapshot", "pop", "--no-delete")
        told.until("reverted", project.names)
        project.vagrant("snapshot", "save", "mine")
        pass_time(3)
        project.vagrant("snapshot", "restore", "mine")
        told.until("reverted", project.names, 2)
        surely_near(project, *project.names)
        project.vagrant("suspend", "k8s2")
        assert trouble(project, "k8s2") == "it is paused"
        project.vagrant("resume", "k8s2")
        told.until("resumed", ["k8s2"], 2)
        project.run("virsh", "managedsave", project.domain("k8s2"))
        assert trouble(project, "k8s2") == "it is saved"
        project.run("virsh", "start", project.domain("k8s2"))
        told.until("restored", ["k8s2"])
        surely_near(project, *project.names)
        assert {one["verdict"] for one in told.episodes()} == {"good"}


def test_an_agent_that_is_set_up_survives_halt_and_up_and_a_boot_is_no_alarm(project: Project) -> None:
    (checked,) = report(project, "setup", "check", "--guest-agent", "k8s2", code=1)["nodes"]
    assert checked["plan"]["install"] == ["qemu-guest-agent"]
    report(project, "snapshot", "create", "before", "k8s2", *PATIENT)
    (node,) = report(project, "setup", "apply", "--guest-agent", "--yes", "k8s2")["nodes"]
    assert node["outcome"] == "set-up"
    assert node["episode"]["facts"]["readings"][0]["source"] == "guest agent"
    with watching(project) as told:
        project.vagrant("halt", "k8s2")
        done = clockstep(project, "status", code=3)
        assert ASKED not in done.stderr.replace(f"k8s1: {ASKED}", "")
        assert "k8s2: it is shut off" in done.stdout
        assert report(project, "status", "k8s1")["episodes"][0]["verdict"] == "good"
        project.vagrant("up", "k8s2")
        until(lambda: way_to(project, "k8s2") == "guest agent", 60)  # its clock is its own daemon's after a boot
        assert "unreachable" not in {one["verdict"] for one in told.episodes()}
        assert not {one["cause"]["kind"] for one in told.episodes()} & {
            "resumed",
            "reverted",
        }
        before = len(told.episodes())
        project.run("virsh", "suspend", project.domain("k8s2"))
        pass_time(2)
        project.run("virsh", "resume", project.domain("k8s2"))  # also seen by the work on the boot, if that lasts yet
        until(lambda: any(one["node"] == "k8s2" and one["actions"] for one in told.episodes()[before:]), 90)
    assert way_to(project, "k8s2") == "guest agent"
    (undone,) = report(project, "setup", "undo", "--guest-agent", "--yes", "k8s2")["nodes"]
    assert undone["outcome"] == "undone"
    assert "guest_agent" not in project.run("virsh", "dumpxml", "k8s-lab_k8s2")
    reverted = report(project, "revert", "before", "k8s2", "--yes", *PATIENT)
    assert reverted["episodes"][0]["facts"]["readings"][0]["source"] == "ssh"


CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
PLAIN = """<domain type='qemu'><name>plain</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><serial type='null'/></devices></domain>"""
ADD = """from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference
libvirt = Libvirt("qemu:///system", SystemClock(), HostReference())
(plain,) = [guest for guest in libvirt.guests() if guest.name == "plain"]
print(libvirt.add_channel(plain).objection)
"""


def test_a_machine_that_cannot_be_given_a_channel_as_it_runs_gets_it_in_its_definition(project: Project) -> None:
    (project.home / "srv/vagrant/plain.xml").write_text(PLAIN)
    project.run("virsh", "define", "/srv/vagrant/plain.xml")
    project.run("virsh", "start", "plain")
    assert "no virtio-serial controllers are available" in project.run(sys.executable, "-c", ADD)
    assert "guest_agent" not in project.run("virsh", "dumpxml", "plain")
    assert "guest_agent" in project.run("virsh", "dumpxml", "--inactive", "plain")
    project.run("virsh", "destroy", "plain")
    project.run("virsh", "start", "plain")
    assert project.run(sys.executable, "-c", ADD) == "\n"
    assert "guest_agent" in project.run("virsh", "dumpxml", "plain")


def test_a_node_whose_agent_is_away_is_reached_by_ssh_and_a_channel_of_somebody_elses_is_left(project: Project) -> None:
    (project.home / "srv/vagrant/channel.xml").write_text(CHANNEL)
    project.run("virsh", "attach-device", project.domain("k8s1"), "/srv/vagrant/channel.xml", "--live", "--config")
    assert way_to(project, "k8s1") == "ssh"
    report(project, "setup", "apply", "--guest-agent", "--yes", "k8s1")
    until(lambda: way_to(project, "k8s1") == "guest agent", 30)
    project.tell("k8s1", "systemctl stop qemu-guest-agent")
    until(lambda: way_to(project, "k8s1") == "ssh", 30)
    project.tell("k8s1", "systemctl start qemu-guest-agent")
    until(lambda: way_to(project, "k8s1") == "guest agent", 30)
    (undone,) = report(project, "setup", "undo", "--guest-agent", "--yes", "k8s1")["nodes"]
    assert undone["outcome"] == "undone"
    assert project.tell("k8s1", "command -v qemu-ga || true") == ""
    assert "guest_agent" in project.run("virsh", "dumpxml", project.domain("k8s1"))
    assert "guest_agent" in project.run("virsh", "dumpxml", "--inactive", project.domain("k8s1"))
    (again,) = report(project, "setup", "undo", "--guest-agent", "--yes", "k8s1")["nodes"]
    assert again["outcome"] == "unchanged"


def test_keys_that_vagrant_changes_when_it_reloads_a_machine_are_asked_for_again(project: Project) -> None:
    clockstep(project, "status")
    (insecure,) = Path("/").glob(vagrant.INSECURE_KEY[1:])
    project.tell("k8s1", f"echo '{insecure.read_text().strip()}' > /home/vagrant/.ssh/authorized_keys")
    project.run("rm", f"{FOLDER}/.vagrant/machines/k8s1/libvirt/private_key")
    assert "Inserting generated public key" in project.vagrant("reload", "k8s1")
    done = clockstep(project, "status", code=None)  # a machine that has just booted has its clock from its own daemon
    assert f"k8s1: {ASKED}" in done.stderr
    assert f"k8s2: {ASKED}" not in done.stderr
    assert way_to(project, "k8s1") == "ssh"


def test_a_project_that_is_moved_to_a_path_with_spaces_and_two_with_machines_of_one_name(project: Project) -> None:
    moved = Path("/srv/my projects/50% done")
    project.run("mkdir", "-p", moved.parent)
    project.run("cp", "-a", "--no-preserve=links", FOLDER, moved)
    assert verdicts(report(project, "-C", str(moved), "status")["episodes"]) == {"k8s1": "good", "k8s2": "good"}
    assert verdicts(report(project, "status", VAGRANT_CWD=str(moved))["episodes"]) == {"k8s1": "good", "k8s2": "good"}
    machines = moved / ".vagrant/machines"
    project.run("rm", "-r", machines / "k8s1")
    project.run("mv", machines / "k8s2", machines / "k8s1")
    nodes = report(project, "-C", str(moved), "nodes")["nodes"]
    assert [(one["guest"]["name"], one["guest"]["domain"]) for one in nodes] == [("k8s1", "k8s-lab_k8s2")]
    other = report(project, "-C", str(moved), "status")["episodes"]
    assert verdicts(other) == {"k8s1": "good"}
    assert verdicts(report(project, "status")["episodes"]) == {"k8s1": "good", "k8s2": "good"}


def test_a_vagrantfile_that_does_not_parse_and_a_vagrant_that_hangs_cost_no_kept_login(project: Project) -> None:
    clockstep(project, "status")
    project.run("sh", "-c", f"echo 'end end' >> {FOLDER}/Vagrantfile")
    assert verdicts(report(project, "status")["episodes"]) == {"k8s1": "good", "k8s2": "good"}
    project.run("touch", f"{FOLDER}/.vagrant/machines/k8s1/libvirt/private_key")
    warned = clockstep(project, "status")
    assert "k8s1: vagrant ssh-config does not say how to log in to k8s1" in warned.stderr
    assert "using its earlier answer" in warned.stderr
    project.run("mkdir", "/run/hangs")
    project.run("sh", "-c", "printf '#!/bin/sh\\nexec sleep 1000\\n' > /run/hangs/vagrant; chmod +x /run/hangs/vagrant")
    path = f"/run/hangs:{project.environment['PATH']}"
    assert verdicts(report(project, "status", "k8s2", PATH=path)["episodes"]) == {"k8s2": "good"}


def test_a_project_of_somebody_else_is_not_asked_about_and_its_keys_are_not_used(project: Project) -> None:
    project.run("chown", "nobody", f"{FOLDER}/.vagrant")
    done = clockstep(project, "status", code=2)
    assert f"is not trusted: {FOLDER}/.vagrant belongs to nobody" in done.stderr
    assert "chown" in done.stderr
    assert ASKED not in done.stderr


def test_a_machine_that_was_destroyed_is_no_node_any_more(project: Project) -> None:
    project.vagrant("destroy", "--force", "k8s2")
    assert verdicts(report(project, "status")["episodes"]) == {"k8s1": "good"}
