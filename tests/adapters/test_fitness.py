"""What stands against a snapshot or a revert, read from libvirt's XML as it writes it."""

from xml.etree import ElementTree

import pytest

from clockstep.machines.libvirt.fitness import against_revert, against_snapshot, disk_files, has_memory, is_external

DOMAIN = "<domain><os>{os}</os><devices>{devices}</devices></domain>"
QCOW2 = "<disk type='file' device='disk'><driver type='qcow2'/><source file='/d.qcow2'/><target dev='vda'/></disk>"
RAW = "<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/sdb'/><target dev='vdb'/></disk>"
SEED = "<disk type='file' device='disk'><driver type='raw'/><source file='/s'/><target dev='vdc'/><readonly/></disk>"
CDROM = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda'/></disk>"
LUN = "<disk type='block' device='lun'><driver name='qemu' type='raw'/><target dev='sdb'/></disk>"
FLASH = "<loader readonly='yes' type='pflash'>/code.fd</loader><nvram{format}>/vars.fd</nvram>"
PCI = "<hostdev mode='subsystem' type='pci' managed='yes'/>"
USB = "<hostdev mode='subsystem' type='usb'/>"
OLD, NEW = 9_000_000, 10_010_000


def domain(devices: str = QCOW2, os: str = "<type>hvm</type>") -> str:
    return DOMAIN.format(os=os, devices=devices)


@pytest.mark.parametrize("devices", [QCOW2, QCOW2 + SEED, QCOW2 + CDROM, QCOW2 + USB, ""])
def test_what_can_take_part_meets_no_objection(devices: str) -> None:
    assert against_snapshot(domain(devices), OLD) == []


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (domain(QCOW2 + RAW), "its disk vdb is raw"),
        (domain(LUN), "its disk sdb is passed through"),
        (domain(os=FLASH.format(format="")), "UEFI flash"),
        (domain(os=FLASH.format(format=" format='qcow2'")), "UEFI flash"),
        (domain(QCOW2 + PCI), "a device of its host (pci)"),
        (DOMAIN.format(os="", devices=QCOW2).replace("<os>", "<os firmware='efi'>"), "UEFI flash"),
    ],
)
def test_what_cannot_is_a_sentence(xml: str, said: str) -> None:
    (reason,) = against_snapshot(xml, OLD)
    assert said in reason
    assert against_revert(xml, "<domainsnapshot><memory snapshot='internal'/></domainsnapshot>", OLD) == [reason]


def test_a_newer_libvirt_keeps_qcow2_flash() -> None:
    assert against_snapshot(domain(os=FLASH.format(format=" format='qcow2'")), NEW) == []


def test_what_can_be_done_about_uefi_is_said_with_the_commands_where_libvirt_is_new_enough() -> None:
    (reason,) = against_snapshot(domain(os=FLASH.format(format="")), NEW)
    assert "qemu-img convert -O qcow2 /vars.fd /vars.fd.qcow2" in reason
    assert "<nvram format='qcow2'>/vars.fd.qcow2</nvram>" in reason
    (reason,) = against_snapshot(domain(os=FLASH.format(format="")), OLD)
    assert "from libvirt 10.10 on" in reason
    assert "this is libvirt 9.0" in reason
    assert "qemu-img" not in reason


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("loader", ["<loader stateless='yes'/>", "<loader type='pflash' stateless='yes'>/f</loader>"])
def test_firmware_that_keeps_nothing_is_no_obstacle(loader: str, version: int) -> None:
    xml = DOMAIN.format(os=loader, devices=QCOW2).replace("<os>", "<os firmware='efi'>")
    assert against_snapshot(xml, version) == []


EXTERNAL = (
    "<domainsnapshot><state>disk-snapshot</state><disks><disk name='vda' snapshot='external'/></disks></domainsnapshot>"
)
INTERNAL = "<domainsnapshot><state>running</state><memory snapshot='internal'/></domainsnapshot>"
OFF = "<domainsnapshot><state>shutoff</state><memory snapshot='no'/></domainsnapshot>"


def test_an_external_snapshot_is_refused_where_this_libvirt_cannot_revert_it() -> None:
    (reason,) = against_revert(domain(), EXTERNAL, OLD)
    assert "libvirt 9.0 cannot revert to an external snapshot" in reason
    assert against_revert(domain(), EXTERNAL, NEW) == []


def test_a_name_that_qemu_would_not_find_again_is_refused() -> None:
    named = INTERNAL.replace("<state>", '<name>a"b</name><state>')
    assert against_revert(domain(), named, OLD) == ["libvirt cannot revert to a snapshot with this name"]


@pytest.mark.parametrize(
    ("xml", "external", "memory"), [(EXTERNAL, True, False), (INTERNAL, False, True), (OFF, False, False)]
)
def test_a_snapshot_is_of_memory_or_boots_anew(xml: str, external: bool, memory: bool) -> None:
    snapshot = ElementTree.fromstring(xml)
    assert (is_external(snapshot), has_memory(snapshot)) == (external, memory)


def test_the_files_that_grow_are_those_of_written_disks() -> None:
    assert disk_files(domain(QCOW2 + SEED + CDROM)) == ["/d.qcow2"]
