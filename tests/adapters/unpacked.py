"""Programs of Debian's that this machine lacks: unpacked into a folder, which they run in as the root of all files.

They run as root of a user namespace, so nobody need be root.
"""

from collections.abc import Iterable
from pathlib import Path

from clockstep_lab import apt
from clockstep_lab.image import unpack

UNUSED = [f"./usr/share/{name}" for name in ("doc", "locale", "man")]
LINKS = ("bin", "sbin", "lib", "lib64")
MOUNTED = ("dev", "mnt", "proc", "tmp")
ENTER = """#!/bin/sh
tools=@tools@ root=@root@
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
unshare --user --map-root-user --mount sh -ec '
    for one in dev proc; do mount --rbind /$one $0/$one; done
    mount -t tmpfs none $0/tmp
    mount --bind $1 $0/mnt
    shift
    exec chroot $0 "$@"' $tools $root @command@
code=$?
"""
"""Runs a command of the tools, whose /mnt is the machine."""


def lay_out(into: Path, suite: str, packages: Iterable[str]) -> None:
    """Unpack packages, with all that they depend on, into a root folder."""
    for name in MOUNTED:
        (into / name).mkdir()
    for name in LINKS:
        (into / "usr" / name).mkdir(parents=True)
        (into / name).symlink_to(f"usr/{name}")
    for package in apt.download(suite, packages):
        unpack(package, into, *UNUSED)


def enter(tools: Path, root: Path, command: str) -> str:
    """Return a script that runs a command of a root folder on a machine's folder."""
    return ENTER.replace("@tools@", str(tools)).replace("@root@", str(root)).replace("@command@", command)
