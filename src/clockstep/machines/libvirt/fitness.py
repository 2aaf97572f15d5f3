"""What stands against an internal snapshot of a domain, or against a revert to one: read from libvirt's XML, pure.

libvirt itself would say most of it, but only once everything is paused, and of one machine at a time.
"""

from collections.abc import Iterator
from shlex import quote
from xml.etree import ElementTree

from clockstep.core.names import cannot_be_loaded

SNAPSHOT_FLASH = 10_010_000
"""From libvirt 10.10 on a qcow2 NVRAM takes part in internal snapshots (its NEWS)."""
EXTERNAL_REVERT = 9_009_000
"""From libvirt 9.9 on a domain can be reverted to an external snapshot (its NEWS)."""
MOVABLE_HOSTDEVS = {"usb"}


def against_snapshot(xml: str, version: int) -> list[str]:
    """Return why a domain cannot have an internal snapshot with memory; `version` is libvirt's, as it counts."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    return [*_disks(domain), *_flash(domain, version), *_host_devices(domain)]


def against_revert(domain_xml: str, snapshot_xml: str, version: int) -> list[str]:
    """Return why a domain cannot be put back to a snapshot."""
    domain = ElementTree.fromstring(domain_xml)  # noqa: S314 - from libvirt itself
    snapshot = ElementTree.fromstring(snapshot_xml)  # noqa: S314
    if cannot_be_loaded(snapshot.findtext("name", "")):
        return ["libvirt cannot revert to a snapshot with this name"]
    if is_external(snapshot):
        old = f"libvirt {version // 1_000_000}.{version // 1000 % 1000} cannot revert to an external snapshot; 9.9 can"
        return [old] if version < EXTERNAL_REVERT else []
    return [*_disks(domain), *_flash(domain, version), *_host_devices(domain)]


def is_external(snapshot: ElementTree.Element) -> bool:
    """Whether a part of a snapshot is in a file of its own."""
    parts = [*snapshot.findall("disks/disk"), *snapshot.findall("memory")]
    return any(part.get("snapshot") == "external" for part in parts)


def has_memory(snapshot: ElementTree.Element) -> bool:
    """Whether a snapshot is of a guest's memory too, so that it goes on from there."""
    memory = snapshot.find("memory")
    active = snapshot.findtext("state", "running") not in {"shutoff", "disk-snapshot", "crashed"}
    return active and (memory is None or memory.get("snapshot") != "no")


def disk_files(xml: str) -> list[str]:
    """Return the files that a domain writes its disks to."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    return [disk.find("source").get("file", "") for disk in _written(domain) if disk.find("source") is not None]  # type: ignore[union-attr]


def _written(domain: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for disk in domain.findall("devices/disk"):
        if disk.get("device", "disk") in {"disk", "lun"} and disk.find("readonly") is None:
            yield disk


def _disks(domain: ElementTree.Element) -> Iterator[str]:
    for disk in _written(domain):
        driver, target = disk.find("driver"), disk.find("target")
        kind = "raw" if driver is None else driver.get("type", "raw")
        name = "?" if target is None else target.get("dev", "?")
        if disk.get("device") == "lun":
            yield f"its disk {name} is passed through, and cannot hold a snapshot"
        elif kind != "qcow2":
            yield f"its disk {name} is {kind}, and only qcow2 can hold a snapshot"


def _flash(domain: ElementTree.Element, version: int) -> Iterator[str]:
    """UEFI keeps its variables in a file of its own, unless it is stateless (libvirt.org/formatdomain.html)."""
    loader, nvram = domain.find("os/loader"), domain.find("os/nvram")
    flash = (loader is not None and loader.get("type") == "pflash") or domain.find("os[@firmware='efi']") is not None
    stateless = loader is not None and loader.get("stateless") == "yes"
    kept = nvram is not None and nvram.get("format") == "qcow2"
    if not flash or stateless or (kept and version >= SNAPSHOT_FLASH):
        return
    if version < SNAPSHOT_FLASH:
        here = f"{version // 1_000_000}.{version // 1000 % 1000}"
        yield (
            "it boots by UEFI flash, which an internal snapshot holds from libvirt 10.10 on, as qcow2; this is "
            f"libvirt {here}"
        )
        return
    file = (nvram.text or "").strip() if nvram is not None else ""
    shown, quoted_file = file or "its NVRAM's file (virsh dumpxml shows it)", quote(file or "FILE")
    yield (
        f"it boots by UEFI flash, and {shown} is no qcow2: shut it off, qemu-img convert -O qcow2 {quoted_file} "
        f"{quote((file or 'FILE') + '.qcow2')}, then virsh edit: <nvram format='qcow2'>{file or 'FILE'}.qcow2</nvram>"
    )


def _host_devices(domain: ElementTree.Element) -> Iterator[str]:
    for device in domain.findall("devices/hostdev"):
        if device.get("type") not in MOVABLE_HOSTDEVS:
            yield f"it has a device of its host ({device.get('type')}), whose state a snapshot cannot hold"
