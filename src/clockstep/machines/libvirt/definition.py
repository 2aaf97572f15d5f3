"""How libvirt's domains are defined: what they are given for keeping time, their channels and their networks."""

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import libvirt

from clockstep.errors import HypervisorError
from clockstep.machines.libvirt import hardware
from clockstep.machines.libvirt.bridges import (
    INACTIVE_NETWORK,
    described_bridge,
    networks_of,
    set_bridge,
    with_spanning,
)
from clockstep.machines.libvirt.channel import AGENT_TIMEOUT_S
from clockstep.machines.libvirt.connection import refused
from clockstep.machines.libvirt.domains import CALL_NS, Domains
from clockstep.machines.libvirt.snapshots import DomainSnapshots
from clockstep.model import Around, Bridge, Channel, Guest

RUNNING = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE


class DomainDefinition:
    """The role `Definition` of libvirt's domains."""

    def __init__(self, domains: Domains, snapshots: DomainSnapshots) -> None:
        self._domains = domains
        self._snapshots = snapshots

    def around(self, guest: Guest) -> Around:
        """Return what the domain gives its guest for keeping time, as it runs now."""
        current = self._snapshots.current(guest)
        with self._domains.domain(guest, f"describing {guest.name}") as domain:
            found = hardware.parse(domain.XMLDesc(), current.created_ns if current else None)
        spanning: tuple[str, ...] = ()
        with suppress(HypervisorError):  # a driver without networks
            spanning = tuple(bridge.network for bridge in self.bridges(guest) if bridge.spanning)
        windows = found.windows or self._says_windows(guest)
        return replace(found, spanning=spanning, windows=windows)

    def _says_windows(self, guest: Guest) -> bool:
        """Whether the guest agent calls its system Windows (guest-get-osinfo)."""
        with suppress(HypervisorError), self._domains.domain(guest, f"asking {guest.name}") as domain:
            if hardware.agent_connected(domain.XMLDesc()):
                domain.agentSetResponseTimeout(AGENT_TIMEOUT_S)
                told = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS)
                return str(told.get("os.id", "")) == "mswindows"
        return False

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return the domain's inactive XML, with its passwords if `secret`."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | (libvirt.VIR_DOMAIN_XML_SECURE if secret else 0)
        with self._domains.domain(guest, f"describing {guest.name}") as domain:
            return str(domain.XMLDesc(flags))

    def define(self, guest: Guest, definition: str) -> None:
        """Replace the domain's definition; what runs is left as it is."""
        with self._domains.domain(guest, f"defining {guest.name}") as domain:
            domain.connect().defineXML(definition)

    def add_channel(self, guest: Guest) -> Channel:
        """Give the domain a channel for an agent. libvirt plugs in no controller for it, so one must be there."""
        with self._domains.domain(guest, f"adding a channel to {guest.name}") as domain:
            defined = not hardware.channel(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if defined:
                domain.attachDeviceFlags(hardware.CHANNEL, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if hardware.channel(domain.XMLDesc()):
                return Channel(defined, plugged=False)
            try:
                domain.attachDeviceFlags(hardware.CHANNEL, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                return Channel(defined, plugged=False, objection=str(error.get_error_message() or error))
            return Channel(defined, plugged=True)

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Remove what was added of a channel, as far as it is still there."""
        with self._domains.domain(guest, f"removing a channel from {guest.name}") as domain:
            inactive = hardware.channel(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if added.defined and inactive:
                domain.detachDeviceFlags(inactive, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            if added.plugged and domain.isActive() and (found := hardware.channel(domain.XMLDesc())):
                domain.detachDeviceFlags(found, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return libvirt's own networks that the domain is on."""
        with self._domains.domain(guest, f"describing the networks of {guest.name}") as domain:
            connection = domain.connect()
            running = [(one.name(), one.XMLDesc()) for one in connection.listAllDomains(RUNNING)]
            here = urlsplit(connection.getURI()).hostname is None
            networks = map(connection.networkLookupByName, networks_of(domain.XMLDesc()))
            return [described_bridge(network, running, here=here) for network in networks]

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Change the network's definition, and its bridge as it is, if that is on this host."""
        with self._domains.leased(guest, CALL_NS) as (lease, _):
            connection = lease.connection
            try:
                network = connection.networkLookupByUUIDString(bridge.uuid)
                connection.networkDefineXML(with_spanning(network.XMLDesc(INACTIVE_NETWORK), spanning=spanning))
                if not network.isActive():
                    return "the network is not active"
                here = urlsplit(connection.getURI()).hostname is None
            except libvirt.libvirtError as error:
                raise refused(error, f"defining the network {bridge.network}") from error
        return set_bridge(bridge.device, spanning=spanning) if here else "its bridge is on another machine"
