"""A small Debian package repository for full guests, served on loopback: they can install, and reach nothing else."""

import hashlib
import socket
from contextlib import closing
from pathlib import Path

from .cache import Say
from .daemon import environment
from .minimal import httpd
from .places import Account
from .processes import start, wait_for
from .run import run


def write_index(folder: Path) -> None:
    """Write the `Packages` file of a flat repository (sources.list(5)) for the .deb files in this folder."""
    stanzas = []
    for package in sorted(folder.glob("*.deb")):
        control = run(["dpkg-deb", "--field", package]).decode().rstrip("\n")
        content = package.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stanzas.append(f"{control}\nFilename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(stanzas))


def serve(packages: Path, folder: Path, account: Account, port: int, say: Say) -> None:
    """Serve a folder on loopback for the lab in `folder`, unless it is served already. Raises LabError."""
    if serving(port):
        return
    log = folder / "httpd.log"
    command = [*httpd(say), "-f", "-p", f"127.0.0.1:{port}", "-h", str(packages)]
    wait_for(lambda: serving(port), start(command, account, log, environment(folder, account)), log, 10)


def serving(port: int) -> bool:
    """Whether somebody listens there."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
