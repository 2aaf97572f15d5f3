"""The way into libvirt's domains: the guest agent, or ssh if no agent is connected."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from clockstep.errors import HypervisorError, NotRunningError
from clockstep.machines.libvirt import hardware
from clockstep.machines.libvirt.channel import AGENT_NS, DomainChannel
from clockstep.machines.libvirt.domains import Domains
from clockstep.machines.libvirt.pool import Lease
from clockstep.model import Guest, Snapshot
from clockstep.ports import Clock, Login, Reach, Ways
from clockstep.reach.agent import RESOLUTION_NS, AgentReach
from clockstep.reach.logins import login
from clockstep.reach.sampling import COARSE_NS
from clockstep.reach.ssh import SshReach
from clockstep.units import SECOND_NS

RECONNECT_NS, POLL_NS = SECOND_NS, SECOND_NS // 20
"""For how long a guest agent's channel may be disconnected before ssh is tried, and how often that is looked at."""


class OfGuest:
    """The leases of one guest's domain."""

    def __init__(self, domains: Domains, guest: Guest) -> None:
        self._domains, self._guest = domains, guest

    @property
    def losses(self) -> int:
        """How many connections were lost so far."""
        return self._domains.losses

    def leased(self) -> AbstractContextManager[tuple[Lease, Any]]:
        """Lend the domain with its connection, for a question to its agent."""
        return self._domains.leased(self._guest, AGENT_NS)


class Entrance:
    """Chooses and opens the way into each domain; `state` and `current` say how it is and from which snapshot."""

    def __init__(
        self,
        domains: Domains,
        clock: Clock,
        ways: Ways,
        state: Callable[[Guest], str],
        current: Callable[[Guest], Snapshot | None],
    ) -> None:
        self._domains, self._clock, self._ways = domains, clock, ways
        self._state, self._current = state, current
        self._agentless: set[str] = set()

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the domain's inside: its guest agent, or ssh if no agent is connected.

        Raises NotRunningError for a domain that ssh cannot lead to because it does not run.
        """
        by_ssh = self._login(guest) if self._wants_ssh(guest) else None
        if by_ssh:
            return SshReach(by_ssh, self._clock, guest.uuid)
        channel = DomainChannel(OfGuest(self._domains, guest))
        resolution_ns = COARSE_NS if self._is_windows(guest) else RESOLUTION_NS
        return AgentReach(channel, self._clock, lambda: self._guarded(guest), resolution_ns, channel.held)

    def _guarded(self, guest: Guest) -> bool:
        """Whether the domain may have a guard: its current snapshot is one of clockstep's, or they are kept in all."""
        if self._ways.guards:
            return True
        with suppress(HypervisorError):
            snapshot = self._current(guest)
            return snapshot is not None and snapshot.set_id is not None
        return False

    def _login(self, guest: Guest) -> Login | None:
        """Return how ssh reaches a domain that runs; of another one nobody is asked."""
        if (state := self._state(guest)) != "running":
            raise NotRunningError(f"it is {state}", "only a running guest can be reached")
        return login(guest, self._ways)

    def _wants_ssh(self, guest: Guest) -> bool:
        return not self._has_agent(guest) if self._ways.only is None else self._ways.only == "ssh"

    def _has_agent(self, guest: Guest) -> bool:
        """Whether the domain's agent is connected; one that was, and is not yet again after a revert, gets a moment."""
        until_ns = self._clock.monotonic_ns() + (0 if guest.uuid in self._agentless else RECONNECT_NS)
        while not (there := hardware.agent_connected(xml := self._described(guest))):
            if not hardware.parse(xml, None).agent_channel or self._clock.monotonic_ns() >= until_ns:
                break
            self._clock.sleep_ns(POLL_NS)
        (self._agentless.discard if there else self._agentless.add)(guest.uuid)
        return there

    def _is_windows(self, guest: Guest) -> bool:
        with suppress(HypervisorError):
            return hardware.is_windows(self._described(guest))
        return False

    def _described(self, guest: Guest) -> str:
        with self._domains.domain(guest, f"describing {guest.name}") as domain:
            return str(domain.XMLDesc())
