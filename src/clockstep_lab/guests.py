"""Guests come and go, through libvirt: created, awaited until they answer, removed."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

import libvirt
import libvirt_qemu

from .cache import Say
from .domain import Machine, console, domain_xml, seed, witness_socket
from .errors import LabError
from .image import Image
from .moments import give_away, new_disk
from .ports import free_tcp_ports
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


def place(folder: Path, name: str, write_seed: Callable[[Machine], None], start: Callable[[Machine], None]) -> Machine:
    """Give a guest ports and an identity, write its seed, and start it so; with other ports if those are taken.

    Raises LabError, and what else `start` raises.
    """
    for tries_left in reversed(range(PORT_TRIES)):
        ssh_port, served_port = free_tcp_ports(2)
        machine = Machine(name, ssh_port, str(uuid4()), served_port=served_port)
        write_seed(machine)
        give_away(seed(folder, name))  # it has a key
        try:
            start(machine)
        except libvirt.libvirtError as error:
            if "forward" in str(error) and tries_left:  # somebody took the port meanwhile
                continue
            raise LabError(f"{name} does not start: {error}") from error
        return machine
    raise AssertionError("the last try returns or raises")


def boot(uri: str, folder: Path, machine: Machine, image: Image, kvm: bool) -> None:
    """Define a guest and let it boot from a new disk. Raises LabError and libvirtError."""
    new_disk(folder, machine.name, image.root)
    with contextlib.closing(connect(uri)) as connection:
        connection.defineXML(domain_xml(folder, machine, image, kvm)).create()


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


def remove(connection: libvirt.virConnect, name: str) -> None:
    """Destroy and undefine a guest, as far as it exists."""
    with contextlib.suppress(libvirt.libvirtError):
        domain = connection.lookupByName(name)
        with contextlib.suppress(libvirt.libvirtError):
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


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
