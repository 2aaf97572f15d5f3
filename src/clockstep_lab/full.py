"""Full guests: Debian 12 and 13 as people install them, with systemd, its own time daemon, apt, and sudo.

They show what the minimal guest can't: timesyncd, units, packages that come and go. mmdebstrap(1) builds them, in a
mount namespace of its own, so that an interrupted build leaves no mount behind; it needs root or a user namespace.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from . import apt
from .cache import Say, built
from .errors import LabError
from .image import GUEST_FILES, Image, compile_programs, make_disk, source_of_images
from .repository import write_index
from .run import need, run

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,qemu-guest-agent,"
    "openssh-server,sudo,util-linux-extra,iproute2,nftables,curl,ca-certificates,python3,tzdata"
)
TIME_DAEMONS = ("chrony", "systemd-timesyncd", "ntpsec", "openntpd")
SERVED = {
    "bookworm": (*TIME_DAEMONS, "containerd"),
    "trixie": (*TIME_DAEMONS, "python3-libvirt", "python3-click", "python3-msgspec", "polkitd"),
}
"""What full guests may install: Debian 12's are enough for containers, Debian 13's to run clockstep itself in one."""
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
FILES = GUEST_FILES / "full"
KERNEL_ARGUMENTS = "quiet net.ifnames=0"


@dataclass(frozen=True)
class Recipe:
    """What a full image is made of: packages that it has, those that it may install, and trees of files of its own."""

    suite: str
    packages: tuple[str, ...]
    served: tuple[str, ...] = ()
    trees: tuple[Path, ...] = ()


def image(name: str, say: Say) -> Image:
    """The full guest of this name, built if the cache doesn't have it."""
    suite = SUITES[name]
    recipe = Recipe(suite, ("systemd-timesyncd",), SERVED[suite])
    folder = built(name, source_of_images("full"), lambda into: build(recipe, into, say), say)
    return Image(name, "full", folder, 512, 300, KERNEL_ARGUMENTS, folder / "packages")


def images() -> dict[str, partial[Image]]:
    """How to get each full image, by name."""
    return {name: partial(image, name) for name in SUITES}


def build(recipe: Recipe, into: Path, say: Say) -> None:
    """Fill a folder with what an image of this recipe boots from. Raises LabError."""
    need("mmdebstrap", "fakeroot", "mke2fs", "qemu-img", "gcc", "dpkg-deb", "apt-get")
    overlay, packages, tree = into / "overlay", into / "packages", into / "tree"
    _overlay(overlay, recipe.trees)
    packages.mkdir()
    tree.mkdir()
    say(f"installing Debian's {recipe.suite}: about a minute")
    _install(recipe, overlay, packages, into / "root.tar")
    write_index(packages)
    say("making the disk")
    make_disk(tree, _AS_ROOT, into / "root.qcow2", "4G")
    for left in (overlay, tree):
        shutil.rmtree(left)
    (into / "root.tar").unlink()


_AS_ROOT = """
tar -x --exclude=./dev/* -f "$TREE/../root.tar" -C "$TREE"
cp "$TREE"/boot/vmlinuz-* "$TREE/../vmlinuz"
cp "$TREE"/boot/initrd.img-* "$TREE/../initrd"
chmod 0644 "$TREE/../vmlinuz" "$TREE/../initrd"
rm -rf "$TREE"/boot/* "$TREE"/vmlinuz* "$TREE"/initrd*
"""


def _overlay(folder: Path, trees: tuple[Path, ...]) -> None:
    """What the image has of the lab's own, under the paths that it gets there."""
    for tree in (FILES, *trees):
        shutil.copytree(tree, folder, dirs_exist_ok=True)
    (folder / "etc/initramfs-tools/hooks/lab").chmod(0o755)
    compile_programs(folder / "usr/lib/clockstep-lab")


def _install(recipe: Recipe, overlay: Path, packages: Path, tar: Path) -> None:
    own = tar.with_name("overlay.tar")
    run(["tar", "-c", "--owner=0", "--group=0", "--mode=u=rwX,go=rX", "-f", own, "-C", overlay, "etc", "usr"])
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    hooks = [
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        f"--essential-hook=tar-in {quote(str(own))} /",
        f'--customize-hook=chroot "$1" sh -eu /usr/lib/clockstep-lab/customize {" ".join(recipe.served)}',
        f"--customize-hook=sync-out /packages {quote(str(packages))}",
        '--customize-hook=rm -r "$1/packages"',
    ]
    included = ",".join((PACKAGES, *recipe.packages))
    command = ["mmdebstrap", "--mode=unshare", "--variant=minbase", f"--include={included}", *options, *hooks]
    with tempfile.TemporaryDirectory(prefix="clockstep-lab-", ignore_cleanup_errors=True) as work:
        Path(work).chmod(0o755)  # for the user namespace's root, who is nobody here
        try:
            run([*command, recipe.suite, tar, apt.source_line(recipe.suite).strip()], env={"TMPDIR": work})
        except LabError as error:
            raise LabError(error.message, error.hint or _HINT) from error
    own.unlink()


_HINT = (
    "without root, mmdebstrap needs user namespaces, the package uidmap, and a line for this user in /etc/subuid and "
    "/etc/subgid (adduser writes them)"
)
