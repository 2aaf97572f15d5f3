"""A stand-in for libvirt's module: hosts of many machines, each with a guest agent, and nothing but numbers behind.

It works as libvirtd does: on 5 requests of one connection and on 20 of all at a time (max_client_requests and
max_workers), one question at a time to each agent. An agent takes as long as real ones were seen to. Some machines
hang: their agents never answer, and neither do the calls. Some lie: their agents answer anything.
"""

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import libvirt
import libvirt_qemu

from clockstep.reach.injection import MEMORY

PER_CONNECTION, PER_HOST = 5, 20
FASTEST_S, SLOWEST_S = 0.005, 0.030
"""What a command of a real guest's agent takes, there and back."""
LOCAL_S = 0.0003
"""What libvirt itself takes to answer from what it knows."""
EXEC_S = 0.030
SECOND_NS = 1_000_000_000
DICE = random.Random()  # noqa: S311
TRACKING = "7F000001,10.0.2.2,2,{now},0.0,0.0,0.0,-0.149,0.000,11.280,0.000008908,0.000048285,2.0,Normal\n"
SELECTED = "^,*,10.0.2.2,1,6,17,3,0.000000919,0.000001851,0.000004506\n"
DOMAIN = (
    "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><devices><channel type='unix'>"
    "<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>"
)
CONNECTED = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED


def refusal(code: int, text: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(text)
    error.err = (code, 0, text, 2, None, None, None, 0, 0)
    return error


class Machine:
    """A virtual machine with a clock and a chronyd."""

    def __init__(self, name: str, uuid: str, *, behind_ns: int, hangs: bool, lies: bool) -> None:
        self.name, self.uuid, self.hangs, self.lies = name, uuid, hangs, lies
        self.offset_ns = -behind_ns
        self.stepped_ns: int | None = None
        self.asked = False
        self.agent = threading.Lock()
        self._fates: dict[str, str] = {}
        self._ended: dict[int, tuple[float, str]] = {}

    def revert(self, age_ns: int) -> None:
        """Put its clock back to where it was then."""
        self.offset_ns, self.stepped_ns = -age_ns, None
        self._fates.clear()

    def now(self, ago_s: float) -> dict[str, int]:
        """What its agent says of the time, which was read so long ago."""
        self.asked = True
        offset_ns = DICE.randrange(-(10**18), 10**18) if self.lies else self.offset_ns - int(ago_s * SECOND_NS)
        return dict(zip(("seconds", "nseconds"), divmod(time.time_ns() + offset_ns, SECOND_NS), strict=True))

    def answer(self, asked: Any) -> Any:
        """What its agent answers."""
        match asked:
            case _ if self.lies:
                return {"pid": "anything"}
            case {"execute": "guest-exec", "arguments": {"path": path, "arg": words}}:
                pid = len(self._ended) + 1
                self._ended[pid] = (time.monotonic() + EXEC_S, self._carried_out([path, *words]))
                return {"pid": pid}
            case {"execute": "guest-exec-status", "arguments": {"pid": pid}}:
                at_s, out = self._ended[pid]
                done = {"exited": True, "exitcode": 0, "out-data": base64.b64encode(out.encode()).decode()}
                return done if time.monotonic() >= at_s else {"exited": False}
        raise refusal(libvirt.VIR_ERR_INTERNAL_ERROR, f"The command {asked['execute']} has not been found")

    def _carried_out(self, words: list[str]) -> str:
        if MEMORY in words:
            token, *numbers = words[words.index(MEMORY) + 1 :]
            return self._step(token, [int(number) for number in numbers])
        if "tracking" in words[-1]:
            return "#clockstep chrony\n" + TRACKING.format(now=time.time()) + SELECTED
        return "200 OK\n200 OK\n"

    def _step(self, token: str, numbers: list[int]) -> str:
        if numbers and token not in self._fates:
            self.offset_ns += numbers[0] * SECOND_NS + numbers[1]
            self.stepped_ns = time.monotonic_ns()
            self._fates[token] = f"done {numbers[0]} {numbers[1]}\n"
        return self._fates.setdefault(token, "closed\n")


class Host:
    """A libvirtd with its machines; it counts its connections."""

    def __init__(self, machines: list[Machine]) -> None:
        self.machines = {machine.uuid: machine for machine in machines}
        self.workers = threading.Semaphore(PER_HOST)
        self.open: set[Connection] = set()
        self.most = self.used_ns = 0
        self.listeners: list[tuple[Connection, int, Callable[..., None]]] = []

    def tell(self, uuid: str, event: int, detail: int) -> None:
        """Tell whoever listens what happens to a machine."""
        for connection, kind, told in list(self.listeners):
            if kind == libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE:
                told(connection, Domain(connection, self.machines[uuid]), event, detail, None)


class Connection:
    """A connection to a host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.requests = threading.Semaphore(PER_CONNECTION)
        host.open.add(self)
        host.most = max(host.most, len(host.open))

    @contextmanager
    def request(self, machine: Machine | None = None) -> Iterator[float]:
        """A call that libvirtd works on; one to an agent also waits for it, and takes as long as it does."""
        began_ns = time.thread_time_ns()
        try:
            with self.requests, self.host.workers:
                if machine is None:
                    time.sleep(LOCAL_S)
                    yield 0
                    return
                if machine.hangs:
                    threading.Event().wait()
                with machine.agent:
                    takes_s = DICE.uniform(FASTEST_S, SLOWEST_S)
                    time.sleep(takes_s)
                    yield takes_s
        finally:
            self.host.used_ns += time.thread_time_ns() - began_ns

    def setKeepAlive(self, _interval: int, _count: int) -> None:  # noqa: N802 - here and below as libvirt calls it
        """Take it."""

    def isAlive(self) -> bool:  # noqa: N802
        return self in self.host.open

    def close(self) -> int:
        self.host.open.discard(self)
        return 0

    def getLibVersion(self) -> int:  # noqa: N802
        return libvirt.getVersion()  # type: ignore[no-any-return]

    def listAllDomains(self, _flags: int = 0) -> list["Domain"]:  # noqa: N802
        with self.request():
            return [Domain(self, machine) for machine in self.host.machines.values()]

    def lookupByUUIDString(self, uuid: str) -> "Domain":  # noqa: N802
        with self.request():
            return Domain(self, self.host.machines[uuid])

    def domainEventRegisterAny(self, _domain: object, kind: int, told: Callable[..., None], _opaque: object) -> int:  # noqa: N802
        self.host.listeners.append((self, kind, told))
        return len(self.host.listeners) - 1

    def domainEventDeregisterAny(self, _callback: int) -> None:  # noqa: N802
        """Take it."""


class Domain:
    """A machine on a connection."""

    def __init__(self, connection: Connection, machine: Machine) -> None:
        self._connection, self.machine = connection, machine

    def connect(self) -> Connection:
        return self._connection

    def name(self) -> str:
        return self.machine.name

    def UUIDString(self) -> str:  # noqa: N802
        return self.machine.uuid

    def state(self) -> list[int]:
        with self._connection.request():
            return [libvirt.VIR_DOMAIN_RUNNING, 0]

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        with self._connection.request():
            return DOMAIN.format(name=self.machine.name, uuid=self.machine.uuid)

    def hasCurrentSnapshot(self) -> bool:  # noqa: N802
        with self._connection.request():
            return False

    def agentSetResponseTimeout(self, _seconds: int) -> None:  # noqa: N802
        with self._connection.request():
            return

    def getTime(self) -> dict[str, int]:  # noqa: N802
        with self._connection.request(self.machine) as takes_s:
            return self.machine.now(takes_s / 2)

    def command(self, request: str) -> str:
        with self._connection.request(self.machine):
            return json.dumps({"return": self.machine.answer(json.loads(request))})


class Standin:
    """All hosts, by their addresses; while it is in place libvirt's module leads to them."""

    def __init__(self, hosts: int, each: int, behind_ns: int, sick: float) -> None:
        chosen = random.Random(18)  # noqa: S311
        kinds = ["hangs", "lies"] * round(hosts * each * sick) + [""] * (hosts * each)
        kinds = kinds[: hosts * each]
        chosen.shuffle(kinds)
        self.hosts: dict[str, Host] = {}
        for number in range(hosts):
            machines = []
            for place in range(each):
                uuid, kind = str(UUID(int=chosen.getrandbits(128), version=4)), kinds.pop()
                name = f"node-{number:02}-{place:02}"
                off_ns = behind_ns + chosen.randrange(-(10**6), 10**6)
                machines.append(Machine(name, uuid, behind_ns=off_ns, hangs=kind == "hangs", lies=kind == "lies"))
            self.hosts[f"qemu+tcp://host-{number:02}/system"] = Host(machines)

    @property
    def machines(self) -> list[Machine]:
        return [machine for host in self.hosts.values() for machine in host.machines.values()]

    @property
    def used_s(self) -> float:
        """The processor time that the stand-in itself has taken."""
        return sum(host.used_ns for host in self.hosts.values()) / SECOND_NS

    @property
    def most(self) -> int:
        """The most connections that one host had."""
        return max(host.most for host in self.hosts.values())

    def open(self, address: str) -> Connection:
        return Connection(self.hosts[address])

    def put(self) -> None:
        """Have libvirt's module lead here."""
        libvirt.open = self.open
        libvirt.registerErrorHandler = lambda *_: None
        libvirt.virEventRegisterDefaultImpl = lambda: None
        libvirt.virEventRunDefaultImpl = lambda: threading.Event().wait()
        libvirt_qemu.qemuAgentCommand = lambda domain, request, _seconds, _flags: domain.command(request)
