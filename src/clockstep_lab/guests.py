"""Guests come and go, through libvirt: created, awaited until they answer, removed."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import libvirt
import libvirt_qemu

from .cache import Say
from .domain import Machine, console, disk, domain_xml, seed, witness_socket
from .errors import LabError
from .image import Image
from .places import account
from .ports import free_tcp_port
from .run import run
from .witness import Echo

CONSOLE_LINES = 12
PORT_TRIES = 5


def numbered(count: int) -> list[str]:
    """The names of a lab's first `count` guests."""
    return [f"node-{number}" for number in range(1, count + 1)]


def connect(uri: str) -> libvirt.virConnect:
    """A connection to a lab's libvirt. Raises LabError."""
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise LabError(f"the lab's libvirt does not answer: {error}", "clockstep lab up starts it again") from error


def create(
    uri: str, folder: Path, name: str, image: Image, kvm: bool, write_seed: Callable[[Machine], None]
) -> Machine:
    """Define and start a guest; `write_seed` is called with it before. Raises LabError."""
    disk(folder, name).unlink(missing_ok=True)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.root, disk(folder, name)])
    _give_away(disk(folder, name))
    for tries_left in reversed(range(PORT_TRIES)):
        machine = Machine(name, free_tcp_port())
        write_seed(machine)
        _give_away(seed(folder, name))
        try:
            _start(uri, domain_xml(folder, machine, image, kvm))
        except libvirt.libvirtError as error:
            if "forward" in str(error) and tries_left:  # somebody took the port meanwhile
                continue
            raise LabError(f"{name} does not start: {error}") from error
        return machine
    raise AssertionError("the last try returns or raises")


def _start(uri: str, xml: str) -> None:
    with contextlib.closing(connect(uri)) as connection:
        connection.defineXML(xml).create()


def _give_away(path: Path) -> None:
    owner = account()
    os.chown(path, owner.uid, owner.gid)
    path.chmod(0o600)  # the seed has a key


def restart(uri: str, machines: Iterable[Machine]) -> list[Machine]:
    """Start those of these guests that are shut off, and return them."""
    started = []
    with contextlib.closing(connect(uri)) as connection:
        for machine in machines:
            domain = connection.lookupByName(machine.name)
            if not domain.isActive():
                domain.create()
                started.append(machine)
    return started


def remove(uri: str, names: list[str]) -> None:
    """Destroy and undefine these guests, as far as they exist."""
    with contextlib.suppress(LabError), contextlib.closing(connect(uri)) as connection:
        for name in names:
            with contextlib.suppress(libvirt.libvirtError):
                domain = connection.lookupByName(name)
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)


def await_all(uri: str, folder: Path, machines: list[Machine], seconds: float, say: Say) -> None:
    """Wait until every guest answers: its agent, its witness and its sshd.

    Raises LabError with a guest's last console lines when it ends or takes longer than this.
    """
    until = time.monotonic() + seconds
    waiting = list(machines)
    with contextlib.closing(connect(uri)) as connection:
        while waiting:
            for machine in waiting[:]:
                if _answers(connection, folder, machine):
                    waiting.remove(machine)
                    say(f"{machine.name} answers")
                elif time.monotonic() > until or not connection.lookupByName(machine.name).isActive():
                    said = last_words(folder, machine.name)
                    raise LabError(f"{machine.name} does not boot; the end of its console:\n{said}")
            time.sleep(0.1 if waiting else 0)


def _answers(connection: libvirt.virConnect, folder: Path, machine: Machine) -> bool:
    try:
        libvirt_qemu.qemuAgentCommand(connection.lookupByName(machine.name), '{"execute": "guest-ping"}', 1, 0)
        with contextlib.closing(Echo(witness_socket(folder, machine.name, "echo"))) as echo:
            echo.look(timeout_s=1)
        with socket.create_connection(("127.0.0.1", machine.ssh_port), timeout=5) as sshd:
            return sshd.recv(4) == b"SSH-"
    except (libvirt.libvirtError, OSError):
        return False


def last_words(folder: Path, name: str) -> str:
    """The end of a guest's console."""
    try:
        text = console(folder, name).read_text(errors="replace")
    except OSError as error:
        return f"(no console: {error.strerror})"
    return "\n".join(text.splitlines()[-CONSOLE_LINES:])
