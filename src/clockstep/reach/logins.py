"""Which host ssh is to log in to for a machine: the one of the file that was given, of Vagrant, or of the user's own.

Without the user's word a machine's bare name is not taken for a host: some other machine of the network may have it.
"""

import subprocess
from collections.abc import Sequence

from clockstep.model import Guest
from clockstep.ports import Login, Ways

SSH = ("ssh",)
ASKING_S = 10


def login(guest: Guest, ways: Ways, command: Sequence[str] = SSH) -> Login | None:
    """Return how ssh reaches a machine, or None where nobody has said.

    Raises ReachError where Vagrant knows the machine and does not say.
    """
    if ways.ssh_config:
        return Login(guest.name, ("-F", ways.ssh_config))
    if by_vagrant := ways.vagrant(guest.uuid):
        return by_vagrant
    if ways.only == "ssh":
        return Login(guest.name)
    if _configured(guest.name, command):
        return Login(guest.name, sure=False)
    return None


def _configured(name: str, command: Sequence[str]) -> bool:
    """Whether the user's ssh_config(5) says which host this name stands for (`ssh -G` prints what it comes to)."""
    try:
        asked = [*command, "-G", "--", name]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=ASKING_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    hosts = [line.partition(" ")[2] for line in answer.splitlines() if line.startswith("hostname ")]
    return bool(hosts) and hosts[0].lower() != name.lower()
