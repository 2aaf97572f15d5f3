"""Where the lab keeps things, and under which account its daemons run.

Two directories, both outside every repository: a cache of what is slow to build, and one folder for each lab, which
holds its sockets, disks and logs. A folder for a lab must be short, because libvirt puts sockets far below it and a
socket's path has room for 107 characters (unix(7)).
"""

import os
import pwd
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

KVM_NODE = Path("/dev/kvm")
SOCKET_PATH_MAX = 107
DEEPEST_SOCKET = "etc/libvirt/qemu/lib/domain-99-node-99/monitor.sock"


@dataclass(frozen=True)
class Account:
    """The unprivileged account that runs the lab's daemons and guests; `groups` are those it has beside its own."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def command(self, words: list[str]) -> list[str]:
        """How this process runs a command under the account (setpriv(1))."""
        if os.geteuid() == self.uid:
            return words
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", groups, "--no-new-privs", *words]


def account() -> Account:
    """As root an existing unprivileged account, `nobody`, let into the group that may use KVM; else whoever calls."""
    if os.geteuid():
        entry = pwd.getpwuid(os.geteuid())
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, _kvm_group())


def _kvm_group() -> tuple[int, ...]:
    """The group of /dev/kvm, where that is not root's own and may read and write."""
    try:
        status = KVM_NODE.stat()
    except OSError:
        return ()
    return (status.st_gid,) if status.st_gid and status.st_mode & 0o060 == 0o060 else ()


def _chosen(variable: str, for_root: str, xdg: str, below_home: str) -> Path:
    if named := os.environ.get(variable):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path(for_root)
    return Path(os.environ.get(xdg) or Path.home() / below_home) / "clockstep-lab"


def _usable(path: Path, variable: str) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise LabError(f"can't write in {path}: {error.strerror}", f"name another directory in {variable}") from error
    return path


def cache_dir() -> Path:
    """What is slow to build, by content hash. Raises LabError when it can't be written."""
    return _usable(
        _chosen("CLOCKSTEP_LAB_CACHE", "/var/cache/clockstep-lab", "XDG_CACHE_HOME", ".cache"), "CLOCKSTEP_LAB_CACHE"
    )


def labs_dir() -> Path:
    """One folder for each lab. Raises LabError when it can't be written."""
    return _usable(
        _chosen("CLOCKSTEP_LAB_DIR", "/var/lib/clockstep-lab", "XDG_STATE_HOME", ".local/state"), "CLOCKSTEP_LAB_DIR"
    )


def lab_dir(name: str) -> Path:
    """The folder of the lab with this name, which need not exist yet.

    Raises LabError for a name that can't be one, and for a folder too deep for a socket.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,19}", name):
        raise LabError(f"{name!r} can't name a lab", "use up to 20 lower-case letters, digits and dashes")
    folder = labs_dir() / name
    if len(f"{folder}/{DEEPEST_SOCKET}".encode()) > SOCKET_PATH_MAX:
        raise LabError(
            f"{folder} is too long a path: a socket below it would pass {SOCKET_PATH_MAX} characters",
            "name a shorter directory in CLOCKSTEP_LAB_DIR, or a shorter lab with --name",
        )
    return folder
