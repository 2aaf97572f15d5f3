"""The internal snapshots of libvirt's domains, memory included."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import libvirt

from clockstep.machines.libvirt.domains import Domains
from clockstep.machines.libvirt.fitness import against_revert, against_snapshot, disk_files
from clockstep.machines.libvirt.marks import as_running, describe_snapshot, parse_snapshot
from clockstep.model import Guest, Snapshot
from clockstep.units import MINUTE_NS

SNAPSHOT_NS = 10 * MINUTE_NS
"""Longer than the memory of a large guest takes to be written or read."""
REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT


class DomainSnapshots:
    """The role `Snapshots` of libvirt's domains."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the domain's snapshots, oldest first."""
        with self._domains.domain(guest, f"listing the snapshots of {guest.name}") as domain:
            described = [snapshot.getXMLDesc() for snapshot in domain.listAllSnapshots()]
        return sorted((parse_snapshot(xml) for xml in described), key=lambda snapshot: snapshot.created_ns)

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the domain's current snapshot."""
        with self._domains.domain(guest, f"asking for the current snapshot of {guest.name}") as domain:
            return parse_snapshot(domain.snapshotCurrent().getXMLDesc()) if domain.hasCurrentSnapshot() else None

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return what stands against a snapshot of the domain, or against its revert to `target`."""
        with self._domains.domain(guest, f"describing {guest.name}") as domain:
            version, xml = domain.connect().getLibVersion(), domain.XMLDesc()
            if target is None:
                return [*against_snapshot(xml, version), *cramped(domain, xml)]
            return against_revert(xml, domain.snapshotLookupByName(target.name).getXMLDesc(), version)

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take an internal snapshot of a paused domain, memory included; whoever reverts to it finds it running.

        libvirt records the state a domain was in, and virsh or Vagrant would bring it back paused. A
        snapshot's state can be redefined from one active state to another (virDomainSnapshotCreateXML, REDEFINE).
        One of the same set that is there already, of a run that was killed between the two, is only redefined.
        """
        with self._long(guest, f"taking a snapshot of {guest.name}") as domain:
            there = (one for one in domain.listAllSnapshots() if parse_snapshot(one.getXMLDesc()).is_same(snapshot))
            taken = next(there, None) or domain.snapshotCreateXML(describe_snapshot(snapshot), 0)
            running = as_running(taken.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
            domain.snapshotCreateXML(running, REDEFINE)

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""
        with self._long(guest, f"deleting a snapshot of {guest.name}") as domain:
            domain.snapshotLookupByName(name).delete()

    def revert(self, guest: Guest, name: str) -> None:
        """Revert the domain and leave it paused, so that all can go on at the same moment."""
        with self._long(guest, f"reverting {guest.name}") as domain:
            domain.revertToSnapshot(domain.snapshotLookupByName(name), libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED)

    @contextmanager
    def _long(self, guest: Guest, doing: str) -> Iterator[Any]:
        with self._domains.domain(guest, doing, SNAPSHOT_NS) as domain:
            yield domain


def cramped(domain: Any, xml: str) -> list[str]:
    """Return which disk has no room for a snapshot's memory; only of files that can be seen from here."""
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


def mib(size: int) -> str:
    """Return a number of bytes for a person."""
    return f"{size // 2**20} MiB"
