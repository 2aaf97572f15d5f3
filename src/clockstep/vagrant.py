"""The Vagrant project one stands in: its machines' domains, and how Vagrant itself logs in to them.

`.vagrant/machines/NAME/libvirt/id` has the UUID of a machine's domain; `vagrant ssh-config` prints an ssh_config(5).
"""

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from clockstep.core.selection import Project
from clockstep.errors import ReachError, UsageError
from clockstep.ports import Login

SYSTEM = "qemu:///system"
"""Where vagrant-libvirt makes its domains, unless told otherwise (its `system_uri`)."""

SSH_CONFIG = ("vagrant", "ssh-config")
ASKING_S = 60
TAKEN = {
    "HostName",
    "User",
    "Port",
    "IdentityFile",
    "IdentitiesOnly",
    "ProxyCommand",
    "ProxyJump",
    "PubkeyAcceptedKeyTypes",
    "PubkeyAcceptedAlgorithms",
    "HostKeyAlgorithms",
}
"""What is believed of what Vagrant prints; not `StrictHostKeyChecking no` and what goes with it."""


class VagrantLogins:
    """Vagrant's logins to its machines, asked for once, when the first is needed.

    A machine's host key is taken for known when it is first met, under the UUID of its domain, and another one is
    refused from then on (`accept-new` in ssh_config(5)).
    """

    def __init__(self, project: Project, command: tuple[str, ...] = SSH_CONFIG) -> None:
        self._folder = Path(project.folder)
        self._names = {uuid.lower(): name for name, uuid in project.machines}
        self._command = command
        self._asking = threading.Lock()
        self._answer: tuple[dict[str, list[str]], str] | None = None

    def __call__(self, uuid: str) -> Login | None:
        """Return the login to the domain of this UUID; None where it is none of the project's.

        Raises ReachError where Vagrant does not say.
        """
        name = self._names.get(uuid.lower())
        if name is None:
            return None
        with self._asking:
            self._answer = self._answer or self._ask()
        hosts, complaint = self._answer
        if name not in hosts:
            text = f"vagrant ssh-config does not say how to log in to {name}: {complaint or 'no Host of that name'}"
            raise ReachError(text, "see what vagrant ssh-config prints in the project's folder", lasting=True)
        known = self._folder / ".vagrant" / "clockstep_known_hosts"
        trust = [f"HostKeyAlias={uuid}", f'UserKnownHostsFile="{known}"', "StrictHostKeyChecking=accept-new"]
        return Login(name, tuple(word for option in (*hosts[name], *trust) for word in ("-o", option)))

    def _ask(self) -> tuple[dict[str, list[str]], str]:
        try:
            done = subprocess.run(
                self._command, cwd=self._folder, capture_output=True, text=True, timeout=ASKING_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {}, str(error)
        return parse_ssh_config(done.stdout), " ".join(done.stderr.split())


def parse_ssh_config(text: str) -> dict[str, list[str]]:
    """Return the options of each host, as `ssh -o` takes them, without those that are not believed."""
    hosts: dict[str, list[str]] = {}
    options: list[str] = []
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "Host":
            options = hosts.setdefault(value.strip(), [])
        elif key in TAKEN:
            options.append(f"{key}={value.strip()}")
    return hosts


def find_project(folder: Path, environment: Mapping[str, str]) -> Project | None:
    """Return the project of a folder: of the nearest one upward that is a project, as Vagrant itself looks for it.

    None where there is no project, or none with a machine of libvirt's. LIBVIRT_DEFAULT_URI in `environment` goes
    before vagrant-libvirt's own address. Raises UsageError for an id that cannot be read.
    """
    root = _root(folder)
    ids = sorted((root / ".vagrant" / "machines").glob("*/libvirt/id")) if root else []
    if not ids:
        return None
    machines = tuple((path.parts[-3], _uuid(path)) for path in ids)
    return Project(str(root), machines, () if environment.get("LIBVIRT_DEFAULT_URI") else (SYSTEM,))


def _root(folder: Path) -> Path | None:
    """Return the project's folder; a folder that may not be looked into, or is gone, is in no project."""
    try:
        here = folder.absolute()
        return next(
            (at for at in (here, *here.parents) if (at / ".vagrant").is_dir() or (at / "Vagrantfile").is_file()), None
        )
    except OSError:
        return None


def _uuid(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name the nodes, or leave the Vagrant project") from error
