"""A private libvirt: a session daemon of the lab's own account, with its socket and state in the lab's folder.

It is reached by a URI that names its socket, so nothing of the user's own libvirt is touched.
"""

import operator
import os
import shlex
from pathlib import Path

import libvirt

from .accel import may_open
from .errors import LabError
from .places import KVM_NODE, Account, cache_dir
from .processes import reaping, start, wait_for
from .run import find, need, run

# Errors come as exceptions, and stderr stays clean. Bytecode in here would handle a signal that came during the call,
# and a Ctrl-C would leave it as a SystemError.
libvirt.registerErrorHandler(operator.is_, None)


def uri(folder: Path) -> str:
    """The libvirt URI of the lab in this folder."""
    return f"qemu+unix:///session?socket={folder}/run/libvirt/libvirt-sock"


def alive(folder: Path) -> bool:
    """Whether the lab's libvirtd answers a call."""
    try:
        libvirt.open(uri(folder)).close()
    except libvirt.libvirtError:
        return False
    return True


def environment(folder: Path, account: Account) -> dict[str, str]:
    """What keeps a session daemon's sockets and state inside the lab's folder."""
    return {
        "HOME": str(folder),
        "USER": account.name,
        "LOGNAME": account.name,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "etc"),
        "XDG_CACHE_HOME": str(_known_emulators(account)),
        "XDG_DATA_HOME": str(folder / "data"),
    }


def _known_emulators(account: Account) -> Path:
    """Where libvirt keeps what it has found out about this machine's QEMU, half a second's work, for all labs."""
    folder = cache_dir() / f"libvirt-{account.name}"
    folder.mkdir(exist_ok=True)
    os.chown(folder, account.uid, account.gid)
    return folder


def start_libvirtd(folder: Path, account: Account, kvm: bool) -> None:
    """Start the lab's libvirtd and wait for its socket. Raises LabError with its log when it doesn't come up.

    virtlogd is not wanted (`stdio_handler`): QEMU writes each console to a file itself.
    """
    need("libvirtd", "qemu-system-x86_64", "qemu-img")
    config = folder / "etc/libvirt"
    config.mkdir(parents=True, exist_ok=True)
    (config / "qemu.conf").write_text('stdio_handler = "file"\n')
    (config / "libvirtd.conf").write_text('log_outputs = "3:stderr"\n')
    command = [
        find("libvirtd") or "libvirtd",
        f"--pid-file={folder}/run/libvirtd.pid",
        f"--config={config}/libvirtd.conf",
    ]
    if KVM_NODE.exists() and not kvm:
        command = _without_kvm(command, folder, account)
    log = folder / "libvirtd.log"
    process = start(reaping(command), account, log, environment(folder, account))
    wait_for(lambda: alive(folder), process, log, 15)


def _without_kvm(command: list[str], folder: Path, account: Account) -> list[str]:
    """Keep a /dev/kvm that doesn't work from the daemon: libvirt would probe it again at each start, for seconds."""
    if not may_open(account):
        return command  # which costs nothing
    cover = folder / "run/no-kvm"
    cover.touch()
    cover.chmod(0)
    os.chown(cover, account.uid, account.gid)
    try:
        run(account.command(hiding(["true"], KVM_NODE, cover)))
    except LabError:  # no user namespaces here: it works without, only slower
        return command
    return hiding(command, KVM_NODE, cover)


def hiding(command: list[str], hidden: Path, cover: Path) -> list[str]:
    """A command that runs this one where another file covers `hidden`, in a user namespace without privileges."""
    mount = shlex.join(["mount", "--bind", str(cover), str(hidden)])
    script = f"{mount} && exec setpriv --ambient-caps=-all --inh-caps=-all {shlex.join(command)}"
    return ["unshare", "--user", "--mount", "--map-current-user", "--keep-caps", "sh", "-c", script]
