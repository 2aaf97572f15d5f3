"""A guest as libvirt sees it: an ordinary domain, so that the product's one libvirt adapter drives it."""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from .image import Image

_CPU_KVM = "<cpu mode='host-passthrough'/>"
# QEMU 7.2's emulation of cmpxchg16b now and then corrupts the flags, and the kernel panics in its allocator.
_CPU_TCG = (
    "<cpu mode='custom' match='exact' check='none'><model>qemu64</model><feature policy='disable' name='cx16'/></cpu>"
)
EMULATED = "clocksource=hpet mitigations=off norandmaps"
"""What a kernel is told under TCG. Like kvm-clock, hpet counts the host's monotonic time, and goes on from that of the
snapshot after a revert. An emulated processor does not speculate; what guards against that slows indirect calls. And
QEMU can use what it has translated of a program again where that starts at the same addresses the next time: a program
starts in a tenth of the time."""


@dataclass(frozen=True)
class Machine:
    """One guest's part of a lab. `ssh_port` is on loopback and leads to the guest's port 22, `served_port` to the one
    that its image serves; `warm` says that it was restored from a kept moment, and not booted."""

    name: str
    ssh_port: int
    uuid: str
    warm: bool = False
    served_port: int = 0


def witness_socket(folder: Path, name: str, port: str) -> Path:
    """Where QEMU listens for whoever wants to hear this guest's witness; `port` is stream or echo."""
    return folder / "run" / f"{name}.{port}"


def hand_socket(folder: Path, name: str) -> Path:
    """Where QEMU listens for the lab itself (hand.py)."""
    return folder / "run" / f"{name}.hand"


def console(folder: Path, name: str) -> Path:
    """The file that this guest's serial console is written to."""
    return folder / f"{name}.console"


def domain_xml(folder: Path, machine: Machine, image: Image, kvm: bool) -> str:
    """The domain: `<genid/>`, a clock whose RTC follows the host, an agent, two witness ports, user networking.

    libvirt's own user network can't forward a port, so QEMU is told directly.
    """
    name = machine.name
    arguments = f"console=ttyS0 root=/dev/vda rw {'' if kvm else f'{EMULATED} '}{image.kernel_arguments}".strip()
    forward = f"user,id=lab,ipv6=off,hostfwd=tcp:127.0.0.1:{machine.ssh_port}-:22"
    if image.serves:
        forward += f",hostfwd=tcp:127.0.0.1:{machine.served_port}-:{image.serves}"
    ports = {f"clockstep.witness.{port}": witness_socket(folder, name, port) for port in ("stream", "echo")}
    ports["clockstep.lab.hand"] = hand_socket(folder, name)
    ports["org.qemu.guest_agent.0"] = folder / "run" / f"{name}.agent"  # libvirt's own place for it is a long path
    return f"""\
<domain type='{"kvm" if kvm else "qemu"}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>{machine.uuid}</uuid>
  <genid/>
  <memory unit='MiB'>{image.memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image.kernel}</kernel>
    <initrd>{image.initrd}</initrd>
    <cmdline>{arguments}</cmdline>
  </os>
  <features><acpi/></features>
  {_CPU_KVM if kvm else _CPU_TCG}
  <clock offset='utc'/>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file={quoteattr(str(disk(folder, name)))}/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file={quoteattr(str(seed(folder, name)))}/>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='file'><source path={quoteattr(str(console(folder, name)))} append='on'/></serial>
{"".join(_channel(*port) for port in ports.items())}    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-netdev'/>
    <qemu:arg value='{forward}'/>
    <qemu:arg value='-device'/>
    <qemu:arg value='virtio-net-pci,netdev=lab,addr=0x1e'/>
  </qemu:commandline>
</domain>
"""


def disk(folder: Path, name: str) -> Path:
    """The guest's own disk, which holds its snapshots too."""
    return folder / f"{name}.qcow2"


def seed(folder: Path, name: str) -> Path:
    """The tar archive, as a read-only disk, that the guest unpacks over its root at boot."""
    return folder / f"{name}.seed"


def _channel(name: str, socket: Path) -> str:
    source = f"<source mode='bind' path={quoteattr(str(socket))}/>"
    return f"    <channel type='unix'>{source}<target type='virtio' name='{name}'/></channel>\n"
