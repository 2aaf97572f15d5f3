"""What a guest of one lab is told at boot, as a tar archive on a small read-only disk: its name, keys, servers."""

import io
import tarfile
from pathlib import Path

from .domain import Machine, seed
from .run import run

HOST = "10.0.2.2"  # how a guest of QEMU's user network sees this machine's loopback
HOST_NAME = "host"


def make_keys(folder: Path) -> None:
    """A key pair for whoever logs in and one for the guests' sshd, made for this lab; and an ssh_config(5)'s trust."""
    for name in ("id_ed25519", "host_ed25519"):
        if not (folder / name).exists():
            run(
                [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    f"clockstep-lab-{folder.name}",
                    "-f",
                    folder / name,
                ]
            )
    kind, key, _ = (folder / "host_ed25519.pub").read_text().split()
    (folder / "known_hosts").write_text(f"{key_alias(folder)} {kind} {key}\n")


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


def write_seed(folder: Path, machine: Machine, ntp_port: int, packages_port: int | None) -> None:
    """Write the guest's archive. `packages_port` is that of the lab's package repository, where there is one."""
    key, host_key = (folder / "id_ed25519.pub").read_bytes(), (folder / "host_ed25519").read_bytes()
    files: dict[str, tuple[bytes, int]] = {
        "etc/hostname": (f"{machine.name}\n".encode(), 0o644),
        "etc/hosts": (f"127.0.0.1 localhost {machine.name}\n{HOST} {HOST_NAME}\n".encode(), 0o644),
        "etc/clockstep-lab": (f"NTP_PORT={ntp_port}\n".encode(), 0o644),
        "etc/chrony/sources.d/lab.sources": (f"server {HOST} port {ntp_port} iburst\n".encode(), 0o644),
        "root/.ssh/authorized_keys": (key, 0o600),
        "etc/ssh/ssh_host_ed25519_key": (host_key, 0o600),
    }
    if packages_port:
        source = f"deb [trusted=yes] http://{HOST}:{packages_port} ./\n"
        files["etc/apt/sources.list"] = (source.encode(), 0o644)
    seed(folder, machine.name).write_bytes(_tar(files))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
