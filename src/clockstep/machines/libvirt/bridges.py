"""libvirt's own networks and the spanning tree protocol of their bridges (libvirt.org/formatnetwork.html).

After a revert or a start, a guest's new port on such a bridge listens and learns for 4 s before it forwards anything:
the kernel takes 2 s for each at least (BR_MIN_FORWARD_DELAY in net/bridge/br_private.h), whatever `delay` says.
"""

import subprocess
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import libvirt

from clockstep.errors import HypervisorError
from clockstep.model import Bridge

INACTIVE_NETWORK = libvirt.VIR_NETWORK_XML_INACTIVE


OWN = {"nat", "route", "open"}
"""The forward modes in which a network's bridge is libvirt's own, as it is without any."""


def networks_of(xml: str) -> list[str]:
    """Return the names of libvirt's networks that a domain is on."""
    return list(dict.fromkeys(name for source in _sources(xml) if (name := source.get("network"))))


def on_bridge(xml: str, name: str, device: str) -> bool:
    """Whether a domain is on a network, or on its bridge otherwise."""
    return any(source.get("network") == name or source.get("bridge") == device for source in _sources(xml))


def _sources(xml: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(xml).findall("devices/interface/source")  # noqa: S314 - from libvirt itself


def described_bridge(network: Any, running: Iterable[tuple[str, str]], *, here: bool) -> Bridge:
    """Return a network with its bridge; `running` are the names and definitions of all running domains.

    Where it is `here`, on this machine, the bridge as it is counts as well.
    """
    definition = ElementTree.fromstring(network.XMLDesc(INACTIVE_NETWORK))  # noqa: S314 - from libvirt itself
    bridge, forward, name = definition.find("bridge"), definition.find("forward"), network.name()
    own = bridge is not None and (forward is None or forward.get("mode", "nat") in OWN)
    device = "" if bridge is None else bridge.get("name", "")
    members = tuple(sorted(domain for domain, xml in running if on_bridge(xml, name, device)))
    defined = own and bridge is not None and bridge.get("stp", "on") == "on"
    return Bridge(name, network.UUIDString(), device, defined or (own and here and _has_spanning(device)), members)


def _has_spanning(device: str) -> bool:
    """Whether a bridge of this machine takes part in the protocol as it is now (ip-link(8))."""
    try:
        shown = subprocess.run(["ip", "-d", "link", "show", "dev", device], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return " stp_state 1 " in shown.stdout


def with_spanning(definition: str, *, spanning: bool) -> str:
    """Return a network's definition with the spanning tree switched on or off."""
    network = ElementTree.fromstring(definition)  # noqa: S314 - from libvirt itself
    bridge = network.find("bridge")
    if bridge is None:
        raise HypervisorError("the network has no bridge of libvirt's")
    bridge.set("stp", "on" if spanning else "off")
    return ElementTree.tostring(network, encoding="unicode")


def set_bridge(device: str, *, spanning: bool) -> str:
    """Switch the spanning tree of a bridge of this machine on or off; return why that failed, else nothing."""
    for setting in (["stp_state", "1"],) if spanning else (["stp_state", "0"], ["forward_delay", "0"]):  # in this order
        command = ["ip", "link", "set", "dev", device, "type", "bridge", *setting]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"ip(8) cannot be run: {error.strerror}"
        if done.returncode:
            return done.stderr.strip()
    return ""
