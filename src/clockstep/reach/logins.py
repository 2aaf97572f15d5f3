"""Which host ssh is to log in to for a machine: the one of the file that was given, of Vagrant, or of the user's own.

Without the user's word a machine's bare name is not taken for a host: some other machine of the network may have it.
"""

import subprocess
from collections.abc import Sequence
from contextlib import suppress

from clockstep.host.programs import output
from clockstep.model import Guest
from clockstep.ports import Login, Ways

SSH = ("ssh",)
ASKING_S = 10


def login(guest: Guest, ways: Ways, command: Sequence[str] = SSH) -> Login | None:
    """Return how ssh reaches a machine, or None where nobody has said.

    Raises ReachError where Vagrant knows the machine and does not say.
    """
    if ways.ssh_config:
        names = dict.fromkeys((guest.name, ways.called.get(guest.uuid, guest.name)))
        file = ("-F", ways.ssh_config)
        known = [name for name in names if _is_known(Login(name, file), command)] if len(names) > 1 else []
        return Login((known or [guest.name])[0], file)
    if by_vagrant := ways.vagrant(guest.uuid):
        return by_vagrant
    if ways.only == "ssh":
        return Login(guest.name)
    if _is_known(Login(guest.name), command):
        return Login(guest.name, sure=False)
    return None


def configured(login: Login, command: Sequence[str] = SSH, asking_s: float = ASKING_S) -> list[str]:
    """Return the lines of what ssh_config(5) comes to for a login (`ssh -G`); none where ssh does not say."""
    with suppress(OSError, subprocess.TimeoutExpired):
        return output([*command, *login.arguments, "-G", "--", login.host], asking_s).stdout.splitlines()
    return []


def _is_known(login: Login, command: Sequence[str]) -> bool:
    """Whether ssh_config(5) says which host this name stands for."""
    hosts = [line.partition(" ")[2] for line in configured(login, command) if line.startswith("hostname ")]
    return bool(hosts) and hosts[0].lower() != login.host.lower()
