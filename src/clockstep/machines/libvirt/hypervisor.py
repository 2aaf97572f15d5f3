"""libvirt: its domains, with every role that a machine can have."""

import threading
from collections.abc import Callable
from typing import Any

import libvirt

from clockstep.errors import HypervisorError, LostConnectionError
from clockstep.machines.libvirt.connection import alive, close, connect, refused
from clockstep.machines.libvirt.definition import DomainDefinition
from clockstep.machines.libvirt.domains import Domains, described, is_of_no_domain
from clockstep.machines.libvirt.events import register
from clockstep.machines.libvirt.inside import Entrance
from clockstep.machines.libvirt.pool import Pool
from clockstep.machines.libvirt.snapshots import DomainSnapshots
from clockstep.model import Guest, Happening
from clockstep.ports import Clock, Reach, Reference, Ways
from clockstep.units import SECOND_NS

RESTART_NS = 30 * SECOND_NS
AGAIN_NS = SECOND_NS // 5
"""For how long a guest is tried to be resumed while libvirtd is away, and how often."""
ANY_WAY = Ways()


class DomainPower:
    """The role `Power` of libvirt's domains."""

    def __init__(self, domains: Domains, clock: Clock) -> None:
        self._domains = domains
        self._clock = clock

    def state(self, guest: Guest) -> str:
        """Return the domain's state now; `gone` if there is none, also on a connection that never saw it."""
        try:
            with self._domains.domain(guest, f"asking for the state of {guest.name}") as domain:
                now = described(domain)
        except HypervisorError as error:
            if not is_of_no_domain(error):
                raise
            now = None
        return now.state if now else "gone"

    def pause(self, guest: Guest) -> None:
        """Stop a running domain's processors."""
        with self._domains.domain(guest, f"pausing {guest.name}") as domain:
            domain.suspend()

    def resume(self, guest: Guest) -> None:
        """Resume a paused domain; over a new connection if libvirtd was restarted meanwhile."""
        until_ns = self._clock.monotonic_ns() + RESTART_NS
        while True:
            try:
                self._resume(guest)
                return
            except HypervisorError as error:
                lost = isinstance(error, LostConnectionError)
                if not lost or self._clock.monotonic_ns() > until_ns:
                    raise
                self._clock.sleep_ns(AGAIN_NS)

    def _resume(self, guest: Guest) -> None:
        with self._domains.domain(guest, f"resuming {guest.name}") as domain:
            if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                domain.resume()


class Libvirt(DomainPower, DomainSnapshots, DomainDefinition):
    """All domains of one libvirt: one connection lists them and hears events, those of a pool do all else."""

    def __init__(self, uri: str | None, clock: Clock, reference: Reference, ways: Ways = ANY_WAY) -> None:
        self._uri = uri
        self._connection = connect(uri)
        self._pool = Pool(uri)
        domains = Domains(self._pool)
        DomainPower.__init__(self, domains, clock)
        DomainSnapshots.__init__(self, domains)
        DomainDefinition.__init__(self, domains, self)
        self._entrance = Entrance(domains, clock, reference, ways, self.state, self.current)
        self._callbacks: list[int] = []
        self._tell: Callable[[Happening], None] | None = None
        self._listing = threading.Lock()

    def guests(self) -> list[Guest]:
        """Return all domains by name."""
        try:
            listed = [guest for domain in self._living().listAllDomains() if (guest := described(domain))]
        except libvirt.libvirtError as error:
            raise refused(error, "listing the domains") from error
        return sorted(listed, key=lambda guest: guest.name)

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the domain's inside: its guest agent, or ssh if no agent is connected."""
        return self._entrance.reach(guest)

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any domain from now on; over a new connection after the old one broke."""
        self._tell = tell
        try:
            self._callbacks = register(self._living(), self._clock, tell)
        except libvirt.libvirtError as error:
            raise refused(error, "asking for events") from error

    def close(self) -> None:
        """Close every connection, those that are busy as soon as they are not."""
        self._pool.close()
        with self._listing:
            close(self._connection, self._callbacks)

    def _living(self) -> Any:
        """Return the connection that lists, a new one if it broke; one without events would never be replaced."""
        with self._listing:
            if not alive(self._connection):
                connection = connect(self._uri, again=True)
                try:
                    callbacks = register(connection, self._clock, self._tell) if self._tell else []
                except libvirt.libvirtError:
                    close(connection)
                    raise
                close(self._connection, self._callbacks)
                self._connection, self._callbacks = connection, callbacks
            return self._connection
