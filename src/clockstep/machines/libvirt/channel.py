"""The guest agent's channel of a domain."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import libvirt
import libvirt_qemu

from clockstep.errors import HypervisorError, NotRunningError, ReachError
from clockstep.machines.libvirt.connection import SET_ANYWAY, unanswered
from clockstep.machines.libvirt.domains import is_of_no_domain
from clockstep.machines.libvirt.pool import Lease
from clockstep.units import SECOND_NS

AGENT_TIMEOUT_S = 2
"""Without one, a stopped agent blocks its caller for ever (virDomainAgentSetResponseTimeout)."""
AGENT_NS = 5 * AGENT_TIMEOUT_S * SECOND_NS
"""How long a call may take that has that timeout: libvirt asks the agent to synchronise before, and may wait for
another's question to it."""


class Leases(Protocol):
    """Lends the domain with its connection, and counts the connections that were lost."""

    @property
    def losses(self) -> int:
        """How many connections were lost so far."""

    def leased(self) -> AbstractContextManager[tuple[Lease, Any]]:
        """Lend the domain. Raises HypervisorError if it cannot be had."""


class DomainChannel:
    """Agent commands through libvirt: its own calls for the time, which leave the domain untainted, and raw ones."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._limited: int | None = None
        self._held = threading.local()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the connection for all calls in here, so that none of them waits for one."""
        with self._domain() as (lease, domain):
            self._held.leased = lease, domain
            try:
                yield
            finally:
                self._held.leased = None

    def time(self) -> tuple[int, int]:
        """Return guest-get-time, as seconds and nanoseconds."""
        with self._domain() as (_, domain):
            try:
                answer = domain.getTime()
            except (SystemError, OverflowError) as error:  # libvirt-python, of an answer that fits no C integer
                raise ReachError("the agent gave an invalid answer to guest-get-time", "check the guest") from error
        return int(answer["seconds"]), int(answer["nseconds"])

    def set_time(self, seconds: int, nanoseconds: int) -> None:
        """Perform guest-set-time."""
        with self._domain() as (_, domain):
            try:
                domain.setTime({"seconds": seconds, "nseconds": nanoseconds})
            except libvirt.libvirtError as error:
                if SET_ANYWAY not in str(error.get_error_message()):
                    raise

    def command(self, request: bytes, timeout_ns: int) -> bytes:
        """Perform a raw agent command."""
        timeout_s = max(1, min(AGENT_TIMEOUT_S, timeout_ns // SECOND_NS))
        with self._domain() as (_, domain):
            return str(libvirt_qemu.qemuAgentCommand(domain, request.decode(), timeout_s, 0)).encode()

    @contextmanager
    def _domain(self) -> Iterator[tuple[Lease, Any]]:
        """Lend the domain, the held one if there is one, and translate what libvirt says."""
        leased = getattr(self._held, "leased", None)
        try:
            if leased:
                leased[0].renew(AGENT_NS)
                yield leased
                return
            with self._leases.leased() as (lease, domain):
                self._limit(domain)
                yield lease, domain
        except HypervisorError as error:
            if is_of_no_domain(error):
                raise NotRunningError(error.message, "only a running guest can be reached") from error
            raise ReachError(error.message, error.hint) from error
        except libvirt.libvirtError as error:
            raise unanswered(error) from error

    def _limit(self, domain: Any) -> None:
        """Set the agent's response timeout, if the driver has one: libvirtd keeps it for the domain."""
        losses = self._leases.losses
        if losses == self._limited:
            return
        try:
            domain.agentSetResponseTimeout(AGENT_TIMEOUT_S)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        self._limited = losses
