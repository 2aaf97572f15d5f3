"""A guest with a network card that has a hardware clock: Debian 13's QEMU and kernel, unpacked and run without libvirt.

Debian 12's QEMU has no card whose clock ticks, and cloud kernels no driver for one. So the packages are unpacked below
the cache, and the lab's own image of Debian 13 boots by an initrd that brings the modules it needs.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from clockstep_lab import apt
from clockstep_lab.cache import built
from clockstep_lab.domain import EMULATED, Machine
from clockstep_lab.images import image_named
from clockstep_lab.places import account
from clockstep_lab.ports import free_tcp_port, free_udp_port
from clockstep_lab.processes import end_all
from clockstep_lab.repository import serve
from clockstep_lab.run import run
from clockstep_lab.seed import files_of, make_keys, write_seed, write_ssh_config
from clockstep_lab.timeserver import start_server
from conftest import quiet

SUITE, IMAGE, NODE = "trixie", "debian-13", "node-1"
CARD = "igb"
UUID = "5f1c7d2a-9f0e-4c55-8c3e-6f2a4b1d7c01"
DOMAIN = """<node><domain type="test"><name>{name}</name><uuid>{uuid}</uuid><memory>524288</memory>
<os><type>hvm</type></os></domain></node>"""
PACKAGES = ("qemu-system-x86", "seabios", "linux-image-amd64", "busybox-static", "kmod")
LEFT_OUT = ("initramfs-tools", "systemd", "udev", "dbus", "perl", "linux-base")
TO_BOOT = ("virtio_blk", "crc32c_generic", "ext4")
NEEDED = (*TO_BOOT, "virtio_net", CARD, "nf_tables", "nft_chain_nat", "nft_nat")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in @modules@; do xzcat $module >/module && insmod /module; done
until [ -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root
mkdir -p /root/usr/lib/modules
cp -r /lib/modules/* /root/usr/lib/modules/
umount /proc
mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""


@contextmanager
def guest() -> Iterator[Path]:
    """Run the guest, with a time server and the lab's packages; yields the ssh_config(5) that leads to it."""
    with tempfile.TemporaryDirectory(prefix="clockstep-card-") as name, ExitStack() as ended:
        folder = Path(name)
        (folder / "run").mkdir()
        for path in (folder, folder / "run"):  # for the account that the servers run under
            shutil.chown(path, account().uid, account().gid)
            path.chmod(0o755)
        ended.callback(end_all, folder)
        yield _started(folder, ended)


def _started(folder: Path, ended: ExitStack) -> Path:
    files, image = built("card", [Path(__file__).read_bytes()], _build, quiet), image_named(IMAGE, quiet)
    make_keys(folder, quiet)
    machine, ntp_port, packages_port = Machine(NODE, free_tcp_port(), UUID), free_udp_port(), free_tcp_port()
    write_seed(folder, machine, files_of(folder, machine, ntp_port, packages_port))
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.root, folder / "disk.qcow2"])
    start_server(folder, account(), ntp_port, quiet)
    assert image.packages
    serve(image.packages, folder, account(), packages_port, quiet)
    modules = {"QEMU_MODULE_DIR": f"{files}/{LIBRARIES}/qemu"}
    qemu = ended.enter_context(subprocess.Popen(_qemu(files, folder, machine), env=modules))
    ended.callback(qemu.kill)
    config = write_ssh_config(folder, [machine])
    _await(config, qemu)
    return config


def clockstep(config: Path, *words: str) -> Any:
    """Run a command on the guest by ssh, and return its report; libvirt's test driver has it as a machine."""
    host = config.with_name("host.xml")
    host.write_text(DOMAIN.format(name=NODE, uuid=UUID))
    way = ["--reach", "ssh", "--ssh-config", str(config)]
    line = [sys.executable, "-m", "clockstep", "--connect", f"test://{host}", "-o", "json", *words, NODE, *way]
    return json.loads(run(line, timeout_s=400))


def ssh(config: Path, command: str, stdin: bytes | None = None) -> str:
    """Run a shell command in the guest and return what it printed."""
    return run(["ssh", "-F", config, "-o", "ConnectTimeout=20", NODE, command], timeout_s=200, stdin=stdin).decode()


def _await(config: Path, qemu: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 300
    words = ["ssh", "-F", str(config), "-o", "ConnectTimeout=5", NODE, "true"]
    while subprocess.run(words, capture_output=True, check=False).returncode:
        assert qemu.poll() is None, "QEMU has ended"
        assert time.monotonic() < end, "the guest does not answer"
        time.sleep(0.5)


def _qemu(files: Path, folder: Path, machine: Machine) -> Sequence[str]:
    arguments = f"root=/dev/vda rw console=ttyS0 {EMULATED} quiet net.ifnames=0 modprobe.blacklist={CARD}"
    return [
        *_by_own_loader(files),
        f"{files}/usr/bin/qemu-system-x86_64",
        *f"-L {files}/usr/share/seabios -L {files}/usr/share/qemu -M q35 -cpu qemu64,-cx16 -m 512 -uuid {UUID}".split(),
        *"-display none -nodefaults -no-user-config".split(),
        *("-kernel", str(next((files / "boot").glob("vmlinuz-*"))), "-initrd", f"{files}/initrd", "-append", arguments),
        *("-drive", f"file={folder}/disk.qcow2,if=virtio,format=qcow2,cache=unsafe"),
        *("-drive", f"file={folder}/{machine.name}.seed,if=virtio,format=raw,readonly=on"),
        *("-serial", f"file:{folder}/console"),
        *("-netdev", f"user,id=lab,ipv6=off,hostfwd=tcp:127.0.0.1:{machine.ssh_port}-:22"),
        *("-device", "virtio-net-pci,netdev=lab,romfile="),
        *("-netdev", "user,id=alone,ipv6=off,restrict=on", "-device", f"{CARD},netdev=alone,romfile="),
    ]


def _by_own_loader(files: Path) -> list[str]:
    """How a program of another Debian runs here (ld.so(8))."""
    return [f"{files}/{LIBRARIES}/ld-linux-x86-64.so.2", "--library-path", f"{files}/{LIBRARIES}"]


def _build(into: Path) -> None:
    for package in apt.download(SUITE, PACKAGES):
        if not package.name.startswith(LEFT_OUT):
            run(["dpkg-deb", "-x", package, into])
    modules = next((into / "usr/lib/modules").iterdir())
    if not (into / "lib").exists():  # which depmod(8) looks below
        (into / "lib").symlink_to("usr/lib")
    run([*_by_own_loader(into), "--argv0", "depmod", into / "usr/bin/kmod", "-b", into, modules.name])
    _initrd(into, modules)
    shutil.rmtree(modules.parent)


def _initrd(into: Path, modules: Path) -> None:
    listed = (line.partition(":") for line in (modules / "modules.dep").read_text().splitlines())
    needs = {module: needed.split() for module, _, needed in listed}
    tree = into / "tree"
    there = tree / "lib/modules" / modules.name
    for module in _closure(NEEDED, needs):
        (there / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / module, there / module)
    for index in modules.glob("modules.*"):
        shutil.copy(index, there)
    for folder in ("bin", "proc", "dev", "root"):
        (tree / folder).mkdir()
    shutil.copy(into / "usr/bin/busybox", tree / "bin")
    first = " ".join(f"/lib/modules/{modules.name}/{module}" for module in _closure(TO_BOOT, needs))
    (tree / "init").write_text(INIT.replace("@modules@", first))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in tree.rglob("*"))
    packed = subprocess.run(
        [tree / "bin/busybox", "cpio", "-o", "-H", "newc"],
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    (into / "initrd").write_bytes(gzip.compress(packed.stdout, 1))
    shutil.rmtree(tree)


def _closure(names: Sequence[str], needs: dict[str, list[str]]) -> list[str]:
    """The modules of these names with all that they need, in the order in which they can be inserted."""
    called = {Path(module).name.partition(".")[0].replace("-", "_"): module for module in needs}
    wanted = [called[name] for name in names if name in called]  # what is built in is in no list
    return list(dict.fromkeys(one for module in wanted for one in (*reversed(needs[module]), module)))
