"""The domains of one libvirt, each on a connection of the pool for as long as something is done with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from clockstep.errors import HypervisorError, LostConnectionError
from clockstep.machines.libvirt.connection import alive, refused
from clockstep.machines.libvirt.pool import Lease, Pool
from clockstep.model import Guest
from clockstep.units import SECOND_NS

CALL_NS = 10 * SECOND_NS
"""Longer than libvirt takes for anything that only asks."""

STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "no state",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended by the guest",
}
SAVED = "saved"
"""Shut off with its memory in a file, as `vagrant suspend` and `virsh managedsave` leave a domain."""
STUCK = {
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "an I/O error",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "its watchdog",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "a crash",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "a migration",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "a failed migration",
}


class Domains:
    """Gives out domains by their UUIDs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @property
    def losses(self) -> int:
        """How many connections were lost so far."""
        return self._pool.losses

    @contextmanager
    def domain(self, guest: Guest, doing: str, within_ns: int = CALL_NS) -> Iterator[Any]:
        """Lend a domain for calls that take `within_ns` at most.

        What libvirt says against it is raised as HypervisorError, LostConnectionError if the connection broke.
        """
        with self.leased(guest, within_ns) as (lease, domain):
            try:
                yield domain
            except libvirt.libvirtError as error:
                raise lost_or_refused(lease, error, doing) from error

    @contextmanager
    def leased(self, guest: Guest, within_ns: int = CALL_NS) -> Iterator[tuple[Lease, Any]]:
        """Lend a domain with its connection; what libvirt says of the calls is raised as it is."""
        with self._pool.leased(guest.uuid, within_ns) as lease:
            try:
                domain = lease.domain(guest.uuid)
            except libvirt.libvirtError as error:
                raise lost_or_refused(lease, error, f"looking for {guest.name}") from error
            yield lease, domain


def lost_or_refused(lease: Lease, error: Any, doing: str) -> HypervisorError:
    """Translate what libvirt said about an operation on a guest, or that its connection broke meanwhile."""
    said = refused(error, doing)
    if alive(lease.connection):
        return said
    return LostConnectionError(said.message, "check that libvirtd runs there")


def is_of_no_domain(error: HypervisorError) -> bool:
    """Whether libvirt has refused an operation because there is no such domain."""
    said = error.__cause__
    return isinstance(said, libvirt.libvirtError) and said.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def described(domain: Any) -> Guest | None:
    """Return a domain as a guest; None of one that has vanished since it was listed."""
    try:
        state, reason = domain.state()
        saved = state == libvirt.VIR_DOMAIN_SHUTOFF and domain.hasManagedSaveImage()
        called = SAVED if saved else STATES.get(state, "unknown")
        return Guest(domain.name(), domain.UUIDString(), called, stuck=stuck(state, reason))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def stuck(state: int, reason: int) -> str:
    """Return why a domain is paused, if its hypervisor did that and nobody else may resume it; else nothing."""
    return STUCK.get(reason, "") if state == libvirt.VIR_DOMAIN_PAUSED else ""
