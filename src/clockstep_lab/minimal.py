"""The minimal guest: current Debian stable's cloud kernel, busybox as init, and just what a clock's life needs.

Built without root in seconds. chronyd, qemu-ga, sshd, python3 and hwclock are Debian's own; busybox's hwclock would
hide how long the real one keeps qemu-ga busy.
"""

import shutil
from pathlib import Path

from . import apt
from .cache import Say, built
from .image import GUEST_FILES, Image, compile_programs, kernel_module, make_disk, source_of_images, unpack
from .run import need, run

SUITE = "stable"
PACKAGES = """
linux-image-cloud-amd64 busybox-static dash libc-bin tzdata curl
chrony qemu-guest-agent openssh-server util-linux-extra python3-minimal libpython3-stdlib
""".split()
LEFT_OUT = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/perl*", "./usr/lib/systemd/system")
NOT_NEEDED = ("systemd_", "initramfs-tools", "dracut", "klibc", "udev_", "libsystemd-shared", "openssl-provider-legacy")
FILES = GUEST_FILES / "minimal"
SETTLED = "0.0 0.1\n"
"""chronyd's drift file (chrony.conf(5)), in ppm: the clocksource is this machine's own, and its error is known, as by a
chronyd that has run for long. Without it the first few samples, taken while all guests boot, make up a frequency."""


def image(say: Say) -> Image:
    """The minimal guest, built if the cache doesn't have it."""
    folder = built("minimal", source_of_images("minimal"), lambda into: _build(into, say), say)
    return Image("minimal", "minimal", folder, memory_mib=192, boot_s=120)


def chronyd(say: Say) -> list[str]:
    """The command of the minimal guest's own chronyd for use on this machine, by its own loader and libraries."""
    return _by_own_loader(image(say).folder / "tree", "usr/sbin/chronyd")


def httpd(say: Say) -> list[str]:
    """The command of the minimal guest's own static web server."""
    return [str(image(say).folder / "tree/usr/bin/busybox"), "httpd"]


def _build(into: Path, say: Say) -> None:
    need("fakeroot", "mke2fs", "qemu-img", "gcc", "dpkg-deb", "apt-get")
    say("fetching packages")
    packages = apt.download(SUITE, PACKAGES)
    tree = into / "tree"
    for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        (tree / folder).mkdir(parents=True)
        (tree / Path(folder).name).symlink_to(folder)
    say("unpacking")
    for package in packages:
        if not package.name.startswith(NOT_NEEDED):
            unpack(package, tree, *LEFT_OUT)
    _configure(tree)
    say("making the disk")
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), into / "vmlinuz")
    _initramfs(tree, into)
    make_disk(tree, _AS_ROOT, into / "root.qcow2", "2G")


_AS_ROOT = """
chown -R 0:0 "$TREE"
chown -R 101:101 "$TREE/var/lib/chrony"
chmod 0700 "$TREE/root"
chmod 1777 "$TREE/tmp"
rm -rf "$TREE/boot"
"""


def _configure(tree: Path) -> None:
    for folder in (
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "root",
        "etc/chrony/sources.d",
        "var/lib/chrony",
        "var/log/chrony",
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "var/run").symlink_to("../run")
    for name in ("rc", "inittab", "passwd", "group"):
        shutil.copy(FILES / name, tree / "etc" / name)
    (tree / "etc/rc").chmod(0o755)
    (tree / "etc/shadow").write_text("root:*:20000::::::\n")
    (tree / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (tree / "etc/ssh/sshd_config").write_text("PermitRootLogin prohibit-password\nUsePAM no\nUseDNS no\n")
    stock = (tree / "usr/share/chrony/chrony.conf").read_text()
    (tree / "etc/chrony/chrony.conf").write_text(without_pools(stock))
    (tree / "var/lib/chrony/chrony.drift").write_text(SETTLED)
    compile_programs(tree / "usr/lib/clockstep-lab")
    _link_busybox(tree)
    (kernel,) = (tree / "usr/lib/modules").iterdir()
    run([*_by_own_loader(tree, "usr/bin/kmod", "depmod"), "--basedir", tree, kernel.name])


def without_pools(stock: str) -> str:
    """Debian's chrony.conf but for where its servers are: those come with sources.d, which it reads already."""
    lines = [line for line in stock.splitlines() if not line.startswith(("pool ", "server "))]
    return "\n".join(lines) + "\n"


def _link_busybox(tree: Path) -> None:
    """Busybox serves every command that no package brought, and init."""
    for applet in run([tree / "usr/bin/busybox", "--list"]).decode().split():
        if not any(
            (tree / folder / applet).is_symlink() or (tree / folder / applet).exists()
            for folder in ("usr/bin", "usr/sbin")
        ):
            (tree / "usr/bin" / applet).symlink_to("busybox")
    (tree / "usr/sbin/init").unlink(missing_ok=True)
    (tree / "usr/sbin/init").symlink_to("../bin/busybox")


def _initramfs(tree: Path, into: Path) -> None:
    root = into / "initramfs"
    for folder in ("bin", "dev", "root"):
        (root / folder).mkdir(parents=True)
    shutil.copy(tree / "usr/bin/busybox", root / "bin/busybox")
    shutil.copy(FILES / "initramfs-init", root / "init")
    (root / "init").chmod(0o755)
    (root / "virtio_blk.ko").write_bytes(kernel_module(tree, "virtio_blk"))
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*"))) + "\n"
    archive = run(
        [tree / "usr/bin/busybox", "sh", "-c", f"cd '{root}' && busybox cpio -o -H newc -R 0:0"], stdin=names.encode()
    )
    (into / "initrd").write_bytes(archive)
    shutil.rmtree(root)


def _by_own_loader(tree: Path, program: str, called: str = "") -> list[str]:
    """How to run a program out of the tree here, whatever this machine's own libraries are (ld.so(8))."""
    (loader,) = (tree / "usr/lib").glob("x86_64-linux-gnu/ld-linux-x86-64.so.2")
    name = ["--argv0", called] if called else []
    return [str(loader), "--library-path", str(tree / "usr/lib/x86_64-linux-gnu"), *name, str(tree / program)]
