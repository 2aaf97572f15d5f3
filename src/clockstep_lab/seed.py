"""What a guest of one lab is told: its name, keys, servers. At boot by a small read-only disk, a tar archive."""

import io
import shlex
import shutil
import tarfile
from pathlib import Path

from .cache import Say, built
from .domain import Machine, seed
from .run import run

HOST = "10.0.2.2"  # how a guest of QEMU's user network sees this machine's loopback
HOST_NAME = "host"
LOGIN, HOST_KEY = "id_ed25519", "host_ed25519"

Files = dict[str, tuple[str, int]]


def make_keys(folder: Path, say: Say) -> None:
    """A key pair for whoever logs in, made for this lab; the guests' host key; and an ssh_config(5)'s trust.

    The host key is one for all labs of an account, so that a guest that is restored need not take another.
    """
    if not (folder / LOGIN).exists():
        _make_key(folder / LOGIN, f"clockstep-lab-{folder.name}")
    kept = host_key(say)
    for name in (HOST_KEY, f"{HOST_KEY}.pub"):
        shutil.copy(kept / name, folder)
    kind, key, _ = (folder / f"{HOST_KEY}.pub").read_text().split()
    (folder / "known_hosts").write_text(f"{key_alias(folder)} {kind} {key}\n")


def host_key(say: Say) -> Path:
    """The folder of the key that all guests of this account's labs show."""
    return built("host-key", [], lambda into: _make_key(into / HOST_KEY, "clockstep-lab"), say)


def _make_key(file: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file])


def key_alias(folder: Path) -> str:
    """The name under which this lab's guests are known (HostKeyAlias): their addresses are all the loopback."""
    return f"clockstep-lab-{folder.name}"


def write_ssh_config(folder: Path, machines: list[Machine]) -> Path:
    """An ssh_config(5) for this lab's guests; host keys are checked, against the lab's own."""
    common = f"""\
Host *
    HostName 127.0.0.1
    User root
    IdentityFile "{folder}/id_ed25519"
    IdentitiesOnly yes
    UserKnownHostsFile "{folder}/known_hosts"
    HostKeyAlias {key_alias(folder)}
    StrictHostKeyChecking yes
    LogLevel ERROR
"""
    config = folder / "ssh_config"
    config.write_text("".join(f"Host {m.name}\n    Port {m.ssh_port}\n" for m in machines) + common)
    return config


def files_of(folder: Path, machine: Machine, ntp_port: int, packages_port: int | None) -> Files:
    """What a guest is told: files with their modes. `packages_port` is that of the lab's packages, if there are any."""
    files = {
        "etc/hostname": (f"{machine.name}\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost {machine.name}\n{HOST} {HOST_NAME}\n", 0o644),
        "etc/clockstep-lab": (f"NTP_PORT={ntp_port}\nUUID={machine.uuid}\n", 0o644),
        "etc/chrony/sources.d/lab.sources": (f"server {HOST} port {ntp_port} iburst\n", 0o644),
        "root/.ssh/authorized_keys": ((folder / f"{LOGIN}.pub").read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key": ((folder / HOST_KEY).read_text(), 0o600),
    }
    if packages_port:
        files["etc/apt/sources.list"] = (f"deb [trusted=yes] http://{HOST}:{packages_port} ./\n", 0o644)
    return files


def write_seed(folder: Path, machine: Machine, files: Files) -> None:
    """Write the archive that the guest reads when it boots."""
    seed(folder, machine.name).write_bytes(_tar(files))


def as_script(files: Files) -> str:
    """A shell script that writes these files over the old ones; it starts no program."""
    return "".join(f"printf %s {shlex.quote(text)} >/{name}\n" for name, (text, _) in files.items())


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (text, mode) in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
