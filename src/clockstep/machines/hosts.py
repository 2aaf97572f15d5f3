"""Machines that no hypervisor here knows: hosts that ssh leads to, with the role `Inside` alone."""

from collections.abc import Sequence

from clockstep.core.selection import SSH
from clockstep.model import Guest
from clockstep.ports import Clock, Login, Reach, Ways
from clockstep.reach.ssh import SshReach


class SshHosts:
    """Hosts by what ssh is given for them: `HOST`, `USER@HOST`, or a Host of an ssh_config(5).

    The user has named each, so none has to prove which machine it is; its host key is checked as always.
    """

    def __init__(self, hosts: Sequence[str], clock: Clock, ways: Ways) -> None:
        self._hosts = hosts
        self._clock = clock
        self._ways = ways

    def guests(self) -> list[Guest]:
        """Return the hosts; that one is down is seen when it is reached."""
        return [Guest(host, host, "running", SSH) for host in self._hosts]

    def reach(self, guest: Guest) -> Reach:
        """Return the way into a host."""
        file = ("-F", self._ways.ssh_config) if self._ways.ssh_config else ()
        return SshReach(Login(guest.uuid, file), self._clock)
