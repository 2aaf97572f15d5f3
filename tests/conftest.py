"""Real guests for every test that asks for them: one lab for the whole run, ended with it."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import libvirt
import pytest
from hypothesis import settings

from clockstep_lab import lab as labs
from clockstep_lab.lab import Lab
from clockstep_lab.run import run
from clockstep_lab.witness import Witness

RIGHT_NS = 5_000_000


def pytest_configure() -> None:
    """End as at ^C, labs and all, when told to by a signal, and in the background of a script as well."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")


def quiet(_text: str) -> None:
    """The lab's progress, which nobody reads here."""


class Guests:
    """A lab as the tests use it: its libvirt, its witness, and a shell in each guest."""

    def __init__(self, lab: Lab, witness: Witness) -> None:
        self.lab = lab
        self.names = [machine.name for machine in lab.machines]
        self.witness = witness
        self.libvirt = libvirt.open(lab.uri)
        self.words: list[str] = []
        """What commands that reach into guests get as well."""

    def domain(self, name: str) -> libvirt.virDomain:
        return self.libvirt.lookupByName(name)

    def ssh(self, name: str, command: str, stdin: bytes | None = None) -> str:
        """Run a shell command in a guest and return what it printed."""
        config = self.lab.folder / "ssh_config"
        words: list[str | Path] = ["ssh", "-F", config, "-o", "ConnectTimeout=20", name, command]
        return run(words, timeout_s=300, stdin=stdin).decode()

    def snapshot(self, name: str, snapshot: str) -> None:
        """Take a snapshot the way virsh does, without clockstep."""
        self.domain(name).snapshotCreateXML(f"<domainsnapshot><name>{snapshot}</name></domainsnapshot>", 0)

    def revert(self, name: str, snapshot: str) -> None:
        """Revert the way virsh does, without clockstep."""
        domain = self.domain(name)
        domain.revertToSnapshot(domain.snapshotLookupByName(snapshot), 0)

    def forget_snapshots(self) -> None:
        for name in self.names:
            for snapshot in self.domain(name).listAllSnapshots():
                snapshot.delete()

    def offset_ns(self, name: str) -> int:
        """The newest echo's offset, asked for now."""
        before = len(self.witness.heard[name].looks)
        until(lambda: len(self.witness.heard[name].looks) > before + 1, 10)
        return self.witness.heard[name].looks[-1].offset_ns

    def make_right(self) -> None:
        """Running guests with right clocks and a daemon that says so, by nothing of the product: chronyd anew."""
        for name in self.names:
            if self.domain(name).state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                self.domain(name).resume()
            if not self.domain(name).isActive():
                self.domain(name).create()
                until(lambda: self.greets(name), 90)  # noqa: B023 - awaited within the round
        wrong = self._restart_wrong()
        if not self.witness.await_right(RIGHT_NS, 60):  # a busy guest's first measurements may be bad
            wrong |= self._restart_wrong()
            assert self.witness.await_right(RIGHT_NS, 90)
        for name in wrong:
            self.settle(name)

    def _restart_wrong(self) -> set[str]:
        """Have init start the chronyd of each wrong guest again: it steps at its start."""
        wrong = {name for name in self.names if abs(self.offset_ns(name)) > RIGHT_NS}
        for name in wrong:
            self.ssh(name, "pkill chronyd")
        return wrong

    def greets(self, name: str) -> bool:
        """Whether a guest's sshd is there: the last of its servers to be, after a boot."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.lab.machine(name).ssh_port), 5) as sshd:
            return sshd.recv(4) == b"SSH-"
        return False

    def settle(self, name: str) -> None:
        """Bring a guest's chronyd to where one is that has run for long: in sync, and its `makestep 1 3` used up."""
        self.ssh(name, "until chronyc waitsync 1; do sleep 0.2; done; chronyc makestep 1 0")


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, which must come within this time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the awaited condition never came"
        time.sleep(0.02)


def pass_time(seconds: float) -> None:
    """Let this much of this machine's time pass: it is what a guest will be behind by."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, seconds + 5)


@contextmanager
def lab_of(name: str, count: int, image: str) -> Iterator[Guests]:
    """A lab with the witness listening, ended afterwards."""
    lab = labs.up(name, count, image, quiet)
    try:
        with Witness(lab.folder, [machine.name for machine in lab.machines]) as witness:
            yield Guests(lab, witness)
    finally:
        labs.down(name, quiet)


@pytest.fixture(scope="session")
def three() -> Iterator[Guests]:
    """Three minimal guests that live as long as the test run."""
    with lab_of(f"t{os.getpid()}", 3, "minimal") as lab:
        for name in lab.names:
            lab.settle(name)
        yield lab


@pytest.fixture
def guests(three: Guests) -> Iterator[Guests]:
    """The three guests, running, with right clocks, chronyd in sync and no snapshots."""
    three.make_right()
    yield three
    three.forget_snapshots()


@pytest.fixture(params=["agent", "ssh"])
def nodes(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Guests]:
    """The three guests reached one way: by the guest agent, or over ssh with the agents stopped."""
    if request.param == "agent":
        yield guests
        return
    for name in guests.names:
        guests.ssh(name, "pkill -STOP qemu-ga")
    guests.words = ["--reach", "ssh", "--ssh-config", str(guests.lab.folder / "ssh_config"), "--deadline", "30s"]
    yield guests
    guests.words = []
    for name in guests.names:
        guests.ssh(name, "pkill -CONT qemu-ga")
