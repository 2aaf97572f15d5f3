"""What a set of snapshots is, in libvirt's XML of one snapshot.

Its id, its members, its time and the guest's certificates are one marked line of JSON in the description: a description
survives a revert, the domain's metadata does not.
"""

from dataclasses import dataclass
from xml.etree import ElementTree

from clockstep.core.certificates import limited
from clockstep.core.foreign import bounded
from clockstep.errors import HypervisorError
from clockstep.machines.libvirt.fitness import has_memory, is_external
from clockstep.model import Certificate, Snapshot
from clockstep.units import SECOND_NS
from clockstep.wire import decoded, encoded

MARK = "clockstep: "


@dataclass(frozen=True, slots=True)
class _Mark:
    set: str
    members: tuple[str, ...]
    created_ns: int
    frozen: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] | None = None


def describe_snapshot(snapshot: Snapshot) -> str:
    """Return the XML that asks libvirt for a snapshot, with the mark of its set in the description."""
    members, certificates = snapshot.members or (), snapshot.certificates
    mark = _Mark(snapshot.set_id or "", members, snapshot.created_ns, snapshot.frozen, certificates)
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
        raise HypervisorError(f"cannot parse libvirt's description of a snapshot: {error}") from error
    kept = has_memory(root), is_external(root)
    lines = (root.findtext("description") or "").splitlines()
    marked = next((line.removeprefix(MARK) for line in lines if line.startswith(MARK)), None)
    mark = decoded(marked or "", _Mark)
    if mark is None:
        return Snapshot(name, created_ns, None, None, *kept)
    certificates = None if mark.certificates is None else limited(mark.certificates)
    return Snapshot(name, mark.created_ns, mark.set, mark.members, *kept, mark.frozen, certificates)
