"""libvirt: its domains, their internal snapshots, and the way into each.

What a set of snapshots is (its id, its members, its time) is one marked line of JSON in each snapshot's description:
a description survives a revert, the domain's metadata does not.
"""

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import libvirt
import libvirt_qemu
import msgspec

from clockstep.core.foreign import bounded
from clockstep.errors import HypervisorError, LostConnectionError, NotRunningError, ReachError
from clockstep.machines.libvirt import hardware
from clockstep.machines.libvirt.bridges import (
    INACTIVE_NETWORK,
    described_bridge,
    networks_of,
    set_bridge,
    with_spanning,
)
from clockstep.machines.libvirt.connection import SET_ANYWAY, alive, close, connect, refused, unanswered
from clockstep.machines.libvirt.events import register
from clockstep.machines.libvirt.fitness import against_revert, against_snapshot, disk_files, has_memory, is_external
from clockstep.model import Around, Bridge, Channel, Guest, Happening, Snapshot
from clockstep.ports import Clock, Login, Reach, Ways
from clockstep.reach.agent import RESOLUTION_NS, AgentReach
from clockstep.reach.logins import login
from clockstep.reach.sampling import COARSE_NS
from clockstep.reach.ssh import SshReach
from clockstep.units import SECOND_NS
from clockstep.wire import decoded, encoded

AGENT_TIMEOUT_S = 2
"""Without one, a stopped agent blocks its caller for ever (virDomainAgentSetResponseTimeout)."""

STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended by the guest",
}
SAVED = "saved"
"""Shut off with its memory in a file, as `vagrant suspend` and `virsh managedsave` leave a domain."""
STUCK = {
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "an I/O error",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "its watchdog",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "a crash",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "a migration",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "a failed migration",
}
RESTART_NS = 30 * SECOND_NS
AGAIN_NS = SECOND_NS // 5
"""For how long a guest is tried to be resumed while libvirtd is away, and how often."""

RECONNECT_NS, POLL_NS = SECOND_NS, SECOND_NS // 20
"""For how long a guest agent's channel may be disconnected before ssh is tried, and how often that is looked at."""

RUNNING = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
ANY_WAY = Ways()
MARK = "clockstep: "
REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT


class _Mark(msgspec.Struct):
    set: str
    members: tuple[str, ...]
    created_ns: int
    frozen: tuple[str, ...] = ()


class Libvirt:
    """All domains of one libvirt connection."""

    def __init__(self, uri: str | None, clock: Clock, ways: Ways = ANY_WAY) -> None:
        self._uri = uri
        self._ways = ways
        self._clock = clock
        self._connection = connect(uri)
        self._callbacks: list[int] = []
        self._tell: Callable[[Happening], None] | None = None
        self._domains: dict[str, Any] = {}
        self._agentless: set[str] = set()
        self._lock = threading.Lock()
        self._listing = threading.Lock()

    def guests(self) -> list[Guest]:
        """Return all domains by name."""
        try:
            listed = [guest for domain in self._living().listAllDomains() if (guest := described(domain))]
        except libvirt.libvirtError as error:
            raise refused(error, "listing the domains") from error
        self._let_go({guest.uuid for guest in listed})
        return sorted(listed, key=lambda guest: guest.name)

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the domain's snapshots, oldest first."""
        try:
            described = [snapshot.getXMLDesc() for snapshot in self._domain(guest).listAllSnapshots()]
        except libvirt.libvirtError as error:
            raise refused(error, f"listing the snapshots of {guest.name}") from error
        return sorted((parse_snapshot(xml) for xml in described), key=lambda snapshot: snapshot.created_ns)

    def state(self, guest: Guest) -> str:
        """Return how the domain stands now."""
        try:
            now = described(self._domain(guest))
        except libvirt.libvirtError as error:
            raise refused(error, f"asking for the state of {guest.name}") from error
        return now.state if now else "gone"

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the domain's current snapshot."""
        try:
            domain = self._domain(guest)
            return parse_snapshot(domain.snapshotCurrent().getXMLDesc()) if domain.hasCurrentSnapshot() else None
        except libvirt.libvirtError as error:
            raise refused(error, f"asking for the current snapshot of {guest.name}") from error

    def around(self, guest: Guest) -> Around:
        """Return what the domain gives its guest for keeping time, as it runs now."""
        current = self.current(guest)
        try:
            found = hardware.parse(self._domain(guest).XMLDesc(), current.created_ns if current else None)
        except libvirt.libvirtError as error:
            raise refused(error, f"describing {guest.name}") from error
        spanning: tuple[str, ...] = ()
        with suppress(HypervisorError):  # a driver without networks
            spanning = tuple(bridge.network for bridge in self.bridges(guest) if bridge.spanning)
        windows = found.windows or self._says_windows(guest)
        return replace(found, spanning=spanning, windows=windows)

    def _is_windows(self, guest: Guest) -> bool:
        with suppress(libvirt.libvirtError, HypervisorError):
            return hardware.is_windows(self._domain(guest).XMLDesc())
        return False

    def _says_windows(self, guest: Guest) -> bool:
        """Whether the guest agent calls its system Windows (guest-get-osinfo)."""
        with suppress(libvirt.libvirtError, HypervisorError):
            domain = self._domain(guest)
            if hardware.agent_connected(domain.XMLDesc()):
                domain.agentSetResponseTimeout(AGENT_TIMEOUT_S)
                told = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS)
                return str(told.get("os.id", "")) == "mswindows"
        return False

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return the domain's inactive XML, with its passwords where `secret`."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | (libvirt.VIR_DOMAIN_XML_SECURE if secret else 0)
        try:
            return str(self._domain(guest).XMLDesc(flags))
        except libvirt.libvirtError as error:
            raise refused(error, f"describing {guest.name}") from error

    def define(self, guest: Guest, definition: str) -> None:
        """Define the domain anew; what runs is left as it is."""
        try:
            self._domain(guest).connect().defineXML(definition)
        except libvirt.libvirtError as error:
            raise refused(error, f"defining {guest.name}") from error

    def add_channel(self, guest: Guest) -> Channel:
        """Give the domain a channel for an agent. libvirt plugs in no controller for it, so one must be there."""
        try:
            domain = self._domain(guest)
            defined = not hardware.channel(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if defined:
                domain.attachDeviceFlags(hardware.CHANNEL, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if hardware.channel(domain.XMLDesc()):
                return Channel(defined, plugged=False)
        except libvirt.libvirtError as error:
            raise refused(error, f"adding a channel to {guest.name}") from error
        try:
            domain.attachDeviceFlags(hardware.CHANNEL, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            return Channel(defined, plugged=False, objection=str(error.get_error_message() or error))
        return Channel(defined, plugged=True)

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Take away what of a channel was added, as far as it is there yet."""
        try:
            domain = self._domain(guest)
            inactive = hardware.channel(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if added.defined and inactive:
                domain.detachDeviceFlags(inactive, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if added.plugged and domain.isActive() and (found := hardware.channel(domain.XMLDesc())):
                domain.detachDeviceFlags(found, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            raise refused(error, f"removing a channel from {guest.name}") from error

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return libvirt's own networks that the domain is on."""
        try:
            connection = self._domain(guest).connect()
            running = [(domain.name(), domain.XMLDesc()) for domain in connection.listAllDomains(RUNNING)]
            here = urlsplit(connection.getURI()).hostname is None
            networks = map(connection.networkLookupByName, networks_of(self._domain(guest).XMLDesc()))
            return [described_bridge(network, running, here=here) for network in networks]
        except libvirt.libvirtError as error:
            raise refused(error, f"describing the networks of {guest.name}") from error

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Change the network's definition, and its bridge as it is, where that is on this machine."""
        try:
            connection = self._domain(guest).connect()
            network = connection.networkLookupByUUIDString(bridge.uuid)
            connection.networkDefineXML(with_spanning(network.XMLDesc(INACTIVE_NETWORK), spanning=spanning))
            if not network.isActive():
                return "the network is not active"
            here = urlsplit(connection.getURI()).hostname is None
        except libvirt.libvirtError as error:
            raise refused(error, f"defining the network {bridge.network}") from error
        return set_bridge(bridge.device, spanning=spanning) if here else "its bridge is on another machine"

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return what stands against a snapshot of the domain, or against its revert to `target`."""
        domain = self._domain(guest)
        try:
            version, xml = domain.connect().getLibVersion(), domain.XMLDesc()
            if target is None:
                return [*against_snapshot(xml, version), *self._cramped(domain, xml)]
            return against_revert(xml, domain.snapshotLookupByName(target.name).getXMLDesc(), version)
        except libvirt.libvirtError as error:
            raise refused(error, f"describing {guest.name}") from error

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take an internal snapshot of a paused domain, memory included; whoever reverts to it finds it running.

        libvirt records the state a domain was in, and virsh or Vagrant would bring it back paused. A
        snapshot's state can be redefined from one active state to another (virDomainSnapshotCreateXML, REDEFINE).
        One of the same set that is there already, of a run that was killed between the two, is only redefined.
        """
        try:
            domain = self._domain(guest)
            there = (one for one in domain.listAllSnapshots() if parse_snapshot(one.getXMLDesc()).is_same(snapshot))
            taken = next(there, None) or domain.snapshotCreateXML(describe_snapshot(snapshot), 0)
            running = as_running(taken.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
            domain.snapshotCreateXML(running, REDEFINE)
        except libvirt.libvirtError as error:
            raise self._refused(guest, error, f"taking a snapshot of {guest.name}") from error

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""
        try:
            self._domain(guest).snapshotLookupByName(name).delete()
        except libvirt.libvirtError as error:
            raise refused(error, f"deleting a snapshot of {guest.name}") from error

    def revert(self, guest: Guest, name: str) -> None:
        """Revert the domain and leave it paused, so that all can go on at the same moment."""
        try:
            domain = self._domain(guest)
            domain.revertToSnapshot(domain.snapshotLookupByName(name), libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED)
        except libvirt.libvirtError as error:
            raise self._refused(guest, error, f"reverting {guest.name}") from error

    def pause(self, guest: Guest) -> None:
        """Stop a running domain's processors."""
        try:
            self._domain(guest).suspend()
        except libvirt.libvirtError as error:
            raise self._refused(guest, error, f"pausing {guest.name}") from error

    def resume(self, guest: Guest) -> None:
        """Let a paused domain run on; over a new connection where libvirtd was restarted meanwhile."""
        until_ns = self._clock.monotonic_ns() + RESTART_NS
        while True:
            try:
                self._resume(guest)
                return
            except HypervisorError as error:
                lost = isinstance(error, LostConnectionError)
                if not lost or self._clock.monotonic_ns() > until_ns:
                    raise
                self._clock.sleep_ns(AGAIN_NS)

    def _resume(self, guest: Guest) -> None:
        try:
            domain = self._domain(guest)
            if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                domain.resume()
        except libvirt.libvirtError as error:
            raise self._refused(guest, error, f"resuming {guest.name}") from error

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the domain's inside: its guest agent, or ssh if no agent is connected.

        Raises NotRunningError for a domain that ssh cannot lead to because it does not run.
        """
        by_ssh = self._login(guest) if self._wants_ssh(guest) else None
        if by_ssh:
            return SshReach(by_ssh, self._clock, guest.uuid)
        channel = DomainChannel(lambda: self._domain(guest))
        resolution_ns = COARSE_NS if self._is_windows(guest) else RESOLUTION_NS
        return AgentReach(channel, self._clock, lambda: self._guarded(guest), resolution_ns)

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any domain from now on; over a new connection after the old one broke."""
        self._tell = tell
        try:
            self._callbacks = register(self._living(), self._clock, tell)
        except libvirt.libvirtError as error:
            raise refused(error, "asking for events") from error

    def _guarded(self, guest: Guest) -> bool:
        """Whether the domain may have a guard: its current snapshot is one of clockstep's, or they are kept in all."""
        if self._ways.guards:
            return True
        with suppress(HypervisorError):
            snapshot = self.current(guest)
            return snapshot is not None and snapshot.set_id is not None
        return False

    def _login(self, guest: Guest) -> Login | None:
        """Return how ssh reaches a domain that runs; of another one nobody is asked."""
        if (state := self.state(guest)) != "running":
            raise NotRunningError(f"it is {state}", "only a running guest can be reached")
        return login(guest, self._ways)

    def _wants_ssh(self, guest: Guest) -> bool:
        return not self._has_agent(guest) if self._ways.only is None else self._ways.only == "ssh"

    def _has_agent(self, guest: Guest) -> bool:
        """Whether the domain's agent is connected; one that was, and is not yet again after a revert, gets a moment."""
        until_ns = self._clock.monotonic_ns() + (0 if guest.uuid in self._agentless else RECONNECT_NS)
        try:
            while not (there := hardware.agent_connected(xml := self._domain(guest).XMLDesc())):
                if not hardware.parse(xml, None).agent_channel or self._clock.monotonic_ns() >= until_ns:
                    break
                self._clock.sleep_ns(POLL_NS)
        except libvirt.libvirtError as error:
            raise refused(error, f"describing {guest.name}") from error
        (self._agentless.discard if there else self._agentless.add)(guest.uuid)
        return there

    def _domain(self, guest: Guest) -> Any:
        """Return the domain on a connection of its own, which the first to ask for it opens."""
        with self._lock:
            known = self._domains.get(guest.uuid)
        if known is not None and alive(known.connect()):
            return known
        connection = connect(self._uri, again=known is not None)
        try:
            domain = connection.lookupByUUIDString(guest.uuid)
        except libvirt.libvirtError as error:
            broken = not alive(connection)
            said = refused(error, f"looking for {guest.name}")
            raise (LostConnectionError(said.message) if broken else said) from error
        with self._lock:
            other = self._domains.get(guest.uuid)
            quicker = other is not None and other is not known and alive(other.connect())
            kept = self._domains[guest.uuid] = other if quicker else domain
        if quicker:
            close(connection)
        if known is not None:
            close(known.connect())
        return kept

    def _let_go(self, there: set[str]) -> None:
        """Close the connections of domains that are gone."""
        with self._lock:
            gone = [self._domains.pop(uuid) for uuid in self._domains.keys() - there]
        for domain in gone:
            close(domain.connect())

    def _living(self) -> Any:
        """Return the connection that lists, a new one where it broke."""
        with self._listing:
            if not alive(self._connection):
                broken, self._connection = self._connection, connect(self._uri, again=True)
                close(broken, self._callbacks)
                if self._tell:
                    self._callbacks = register(self._connection, self._clock, self._tell)
            return self._connection

    def _refused(self, guest: Guest, error: Any, doing: str) -> HypervisorError:
        known = self._domains.get(guest.uuid)
        broken = known is not None and not alive(known.connect())
        said = refused(error, doing)
        return LostConnectionError(said.message, "see that libvirtd runs there") if broken else said

    def _cramped(self, domain: Any, xml: str) -> list[str]:
        """Return where a snapshot's memory does not fit; only of files that can be seen from here."""
        memory = domain.maxMemory() * 1024
        needed = min(memory, domain.memoryStats().get("rss", memory) * 1024) if domain.isActive() else 0
        here = urlsplit(domain.connect().getURI()).hostname is None
        for file in disk_files(xml) if here else ():
            with suppress(OSError):
                Path(file).stat()
                free = shutil.disk_usage(Path(file).parent).free
                if free < needed:
                    return [f"a snapshot may need {mib(needed)} beside {file}, and {mib(free)} are free"]
        return []


class DomainChannel:
    """Agent commands through libvirt: its own calls for the time, which leave the domain untainted, and raw ones."""

    def __init__(self, domain: Callable[[], Any]) -> None:
        self._domain = domain
        self._limited: Any = None

    def time(self) -> tuple[int, int]:
        """Return guest-get-time, as seconds and nanoseconds."""
        try:
            answer = self._limited_domain().getTime()
        except libvirt.libvirtError as error:
            raise unanswered(error) from error
        except (SystemError, OverflowError) as error:  # libvirt-python, of an answer that fits no C integer
            raise ReachError("the agent answers guest-get-time with nonsense", "look into the guest") from error
        return int(answer["seconds"]), int(answer["nseconds"])

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        """Perform guest-set-time."""
        try:
            self._limited_domain().setTime({"seconds": seconds, "nseconds": nanoseconds})
        except libvirt.libvirtError as error:
            if SET_ANYWAY not in str(error.get_error_message()):
                raise unanswered(error) from error

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        """Perform a raw agent command."""
        timeout_s = max(1, min(AGENT_TIMEOUT_S, timeout_ns // SECOND_NS))
        try:
            domain = self._limited_domain()
            return str(libvirt_qemu.qemuAgentCommand(domain, request.decode(), timeout_s, 0)).encode()
        except libvirt.libvirtError as error:
            raise unanswered(error) from error

    def _limited_domain(self) -> Any:
        """Return the domain with its agent's response timeout set, where the driver has one."""
        try:
            domain = self._domain()
        except HypervisorError as error:
            raise ReachError(error.message, error.hint) from error
        if domain is self._limited:
            return domain
        try:
            domain.agentSetResponseTimeout(AGENT_TIMEOUT_S)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        self._limited = domain
        return domain


def described(domain: Any) -> Guest | None:
    """Return a domain as a guest; None of one that has vanished since it was listed."""
    try:
        state, reason = domain.state()
        saved = state == libvirt.VIR_DOMAIN_SHUTOFF and domain.hasManagedSaveImage()
        called = SAVED if saved else STATES.get(state, "unknown")
        return Guest(domain.name(), domain.UUIDString(), called, stuck=stuck(state, reason))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def stuck(state: int, reason: int) -> str:
    """Return why a domain is paused, where its hypervisor did that and nobody else may resume it; else nothing."""
    return STUCK.get(reason, "") if state == libvirt.VIR_DOMAIN_PAUSED else ""


def mib(size: int) -> str:
    """Return a number of bytes for a person."""
    return f"{size // 2**20} MiB"


def describe_snapshot(snapshot: Snapshot) -> str:
    """Return the XML that asks libvirt for a snapshot, with the mark of its set in the description."""
    mark = _Mark(snapshot.set_id or "", snapshot.members or (), snapshot.created_ns, snapshot.frozen)
    root = ElementTree.Element("domainsnapshot")
    ElementTree.SubElement(root, "name").text = snapshot.name
    ElementTree.SubElement(root, "description").text = MARK + encoded(mark).decode()
    return ElementTree.tostring(root, encoding="unicode")


def as_running(xml: str) -> str:
    """Return libvirt's XML of a snapshot with its domain's state as running instead of paused."""
    root = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt, which wrote it itself
    state = root.find("state")
    if state is not None:
        state.text = "running"
    return ElementTree.tostring(root, encoding="unicode")


def parse_snapshot(xml: str) -> Snapshot:
    """Return the snapshot that libvirt's XML describes; without a mark in its description it is another tool's."""
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt, which wrote it itself
        name, created_ns = root.findtext("name", ""), bounded(int(root.findtext("creationTime", "0")) * SECOND_NS)
    except (ElementTree.ParseError, ArithmeticError, ValueError) as error:
        raise HypervisorError(f"libvirt describes a snapshot in a way that cannot be read: {error}") from error
    kept = has_memory(root), is_external(root)
    lines = (root.findtext("description") or "").splitlines()
    marked = next((line.removeprefix(MARK) for line in lines if line.startswith(MARK)), None)
    mark = decoded(marked or "", _Mark)
    if mark is None:
        return Snapshot(name, created_ns, None, None, *kept)
    return Snapshot(name, mark.created_ns, mark.set, mark.members, *kept, mark.frozen)
