"""libvirt: its domains, their internal snapshots, and the way into each.

What a set of snapshots is (its id, its members, its time) is one marked line of JSON in each snapshot's description:
a description survives a revert, the domain's metadata does not.
"""

import threading
from typing import Any
from xml.etree import ElementTree

import libvirt
import libvirt_qemu
import msgspec

from clockstep.errors import HypervisorError, ReachError
from clockstep.hypervisors.connection import connect, refused, unanswered
from clockstep.model import Guest, Snapshot
from clockstep.ports import Clock, Reach, Ways
from clockstep.reach.agent import AgentReach
from clockstep.reach.logins import login
from clockstep.reach.ssh import SshReach
from clockstep.units import SECOND_NS

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
AGENT_CHANNEL = "devices/channel/target[@type='virtio'][@name='org.qemu.guest_agent.0']"
ANY_WAY = Ways()
MARK = "clockstep: "
REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT


class _Mark(msgspec.Struct):
    set: str
    members: tuple[str, ...]
    created_ns: int


class Libvirt:
    """All domains of one libvirt connection."""

    def __init__(self, uri: str | None, clock: Clock, ways: Ways = ANY_WAY) -> None:
        self._uri = uri
        self._ways = ways
        self._clock = clock
        self._connection = connect(uri)
        self._domains: dict[str, Any] = {}
        self._lock = threading.Lock()

    def guests(self) -> list[Guest]:
        """Return all domains by name."""
        try:
            listed = [(d.name(), d.UUIDString(), d.state()[0]) for d in self._connection.listAllDomains()]
        except libvirt.libvirtError as error:
            raise refused(error, "listing the domains") from error
        return [Guest(name, uuid, STATES.get(state, "unknown")) for name, uuid, state in sorted(listed)]

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the domain's snapshots, oldest first."""
        try:
            described = [snapshot.getXMLDesc() for snapshot in self._domain(guest).listAllSnapshots()]
        except libvirt.libvirtError as error:
            raise refused(error, f"listing the snapshots of {guest.name}") from error
        return sorted((parse_snapshot(xml) for xml in described), key=lambda snapshot: snapshot.created_ns)

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take an internal snapshot of a paused domain, memory included; whoever reverts to it finds it running.

        libvirt records the state a domain was in, and virsh or Vagrant would bring it back paused. A
        snapshot's state can be redefined from one active state to another (virDomainSnapshotCreateXML, REDEFINE).
        """
        try:
            domain = self._domain(guest)
            taken = domain.snapshotCreateXML(describe_snapshot(snapshot), 0)
            running = as_running(taken.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
            domain.snapshotCreateXML(running, REDEFINE)
        except libvirt.libvirtError as error:
            raise refused(error, f"taking a snapshot of {guest.name}") from error

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
            raise refused(error, f"reverting {guest.name}") from error

    def pause(self, guest: Guest) -> None:
        """Stop a running domain's processors."""
        try:
            self._domain(guest).suspend()
        except libvirt.libvirtError as error:
            raise refused(error, f"pausing {guest.name}") from error

    def resume(self, guest: Guest) -> None:
        """Let a paused domain run on."""
        try:
            self._domain(guest).resume()
        except libvirt.libvirtError as error:
            raise refused(error, f"resuming {guest.name}") from error

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the domain's inside: its guest agent, or ssh."""
        domain = self._domain(guest)
        by_ssh = login(guest, self._ways) if self._wants_ssh(domain) else None
        if by_ssh:
            return SshReach(by_ssh, self._clock, guest.uuid)
        return AgentReach(DomainChannel(domain), self._clock)

    def _wants_ssh(self, domain: Any) -> bool:
        if self._ways.only:
            return self._ways.only == "ssh"
        try:
            return not has_agent_channel(domain.XMLDesc())
        except libvirt.libvirtError as error:
            raise refused(error, f"describing {domain.name()}") from error

    def _domain(self, guest: Guest) -> Any:
        """Return the domain on a connection of its own, which the first to ask for it opens."""
        with self._lock:
            known = self._domains.get(guest.uuid)
        if known is not None:
            return known
        connection = connect(self._uri)
        try:
            domain = connection.lookupByUUIDString(guest.uuid)
        except libvirt.libvirtError as error:
            raise refused(error, f"looking for {guest.name}") from error
        with self._lock:
            return self._domains.setdefault(guest.uuid, domain)


class DomainChannel:
    """Agent commands through libvirt: its own calls for the time, which leave the domain untainted, and raw ones."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain
        self._limited = False

    def time(self) -> tuple[int, int]:
        """Return guest-get-time, as seconds and nanoseconds."""
        try:
            self._limit()
            answer = self._domain.getTime()
        except libvirt.libvirtError as error:
            raise unanswered(error) from error
        except (SystemError, OverflowError) as error:  # libvirt-python, of an answer that fits no C integer
            raise ReachError("the agent answers guest-get-time with nonsense", "look into the guest") from error
        return int(answer["seconds"]), int(answer["nseconds"])

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        """Perform guest-set-time."""
        try:
            self._limit()
            self._domain.setTime({"seconds": seconds, "nseconds": nanoseconds})
        except libvirt.libvirtError as error:
            raise unanswered(error) from error

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        """Perform a raw agent command."""
        timeout_s = max(1, min(AGENT_TIMEOUT_S, timeout_ns // SECOND_NS))
        try:
            self._limit()
            return str(libvirt_qemu.qemuAgentCommand(self._domain, request.decode(), timeout_s, 0)).encode()
        except libvirt.libvirtError as error:
            raise unanswered(error) from error

    def _limit(self) -> None:
        """Set the agent's response timeout, where the driver has one."""
        if self._limited:
            return
        try:
            self._domain.agentSetResponseTimeout(AGENT_TIMEOUT_S)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        self._limited = True


def has_agent_channel(xml: str) -> bool:
    """Return whether libvirt's XML of a domain has a channel for the guest agent."""
    return ElementTree.fromstring(xml).find(AGENT_CHANNEL) is not None  # noqa: S314 - from libvirt itself


def describe_snapshot(snapshot: Snapshot) -> str:
    """Return the XML that asks libvirt for a snapshot, with the mark of its set in the description."""
    mark = _Mark(snapshot.set_id or "", snapshot.members or (), snapshot.created_ns)
    root = ElementTree.Element("domainsnapshot")
    ElementTree.SubElement(root, "name").text = snapshot.name
    ElementTree.SubElement(root, "description").text = MARK + msgspec.json.encode(mark).decode()
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
        name, created_s = root.findtext("name", ""), int(root.findtext("creationTime", "0"))
    except (ElementTree.ParseError, ValueError) as error:
        raise HypervisorError(f"libvirt describes a snapshot in a way that cannot be read: {error}") from error
    lines = (root.findtext("description") or "").splitlines()
    marked = next((line.removeprefix(MARK) for line in lines if line.startswith(MARK)), None)
    try:
        mark = msgspec.json.decode(marked or "", type=_Mark)
    except msgspec.MsgspecError:
        return Snapshot(name, created_s * SECOND_NS)
    return Snapshot(name, mark.created_ns, mark.set, mark.members)
