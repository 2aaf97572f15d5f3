"""Connections to libvirt whose end is noticed, and what its errors mean."""

import operator
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import libvirt

from clockstep.errors import (
    ConfinedError,
    ExecBlockedError,
    HypervisorError,
    LostConnectionError,
    NoProgramError,
    NotRunningError,
    NotSteppedError,
    ReachError,
    UsageError,
)

KEEPALIVE_S, KEEPALIVE_COUNT = 5, 3
DRIVERS = frozenset(
    "bhyve ch esx gsx hyperv lxc openvz parallels qemu test vbox vmwarefusion vmwareplayer vmwarews vpx vz xen".split()
)
"""Those of libvirt.org/drivers.html. libvirt asks its daemon about any other name, as if that could know it."""
DRIVER = re.compile(r"([^:/?+]+)(\+[^:/?]*)?:")

AGENT_HINT = "check that qemu-guest-agent runs in the guest, or name an ssh_config with --ssh-config"
CHANNEL_HINT = "give the domain a channel for it, org.qemu.guest_agent.0, or name an ssh_config with --ssh-config"
UNSTARTED = "Failed to execute child process"
"""GLib's words, which qemu-ga passes on."""
DENIED = ("Permission denied", "Operation not permitted")
SET_TIME = "'guest-set-time'"
"""In what libvirt says when the agent itself has answered that it could not do that."""
SET_TIME_HINT = "have /sbin/hwclock in the guest, or allow guest-exec there: then the clock is stepped without it"
SET_ANYWAY = "hardware clock to system time"
"""The agent's words when it has set the clock, and then hwclock(8) could not write it to an RTC."""
BLOCKED = ("has been disabled", "has not been found", "not allowed", "is blocked")

UNHEARD = operator.is_
"""An error handler that does nothing and has no bytecode. A signal that comes during a call is handled by the first
bytecode after it; where that was a handler's, a Ctrl-C came out of the failing call as a SystemError
(libvirt_virErrorFuncHandler of libvirt-python doesn't look for an exception)."""

_loop_lock = threading.Lock()
_loop: list[threading.Thread] = []


def connect(uri: str | None, *, again: bool = False) -> Any:
    """Open a connection, with libvirt's own default where `uri` is None; keepalive ends it when its other side dies.

    Raises UsageError for an address that is none, HypervisorError where nobody answers, and LostConnectionError
    instead where it is made `again`.
    """
    if uri and (scheme := DRIVER.match(uri)) and scheme[1].lower() not in DRIVERS:
        text = f"no driver of libvirt's is called {scheme[1]!r}, so {uri} is not an address"
        raise UsageError(text, "an address looks like qemu:///system or qemu+ssh://host/system")
    _start_event_loop()
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        refusal = _unconnected(uri, error)
        raise (LostConnectionError(refusal.message, refusal.hint) if again else refusal) from error
    try:
        connection.setKeepAlive(KEEPALIVE_S, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise HypervisorError(f"libvirt: {error}") from error
    return connection


def alive(connection: Any) -> bool:
    """Whether the other side of a connection is there."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def close(connection: Any, callbacks: Sequence[int] = ()) -> None:
    """Let go of a connection, broken or not; a callback that is registered yet would keep it open."""
    for callback in callbacks:
        with suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(callback)
    with suppress(libvirt.libvirtError):
        connection.close()


def refused(error: Any, doing: str) -> HypervisorError:
    """Translate what libvirt said about an operation on a guest."""
    return HypervisorError(f"{doing}: {error.get_error_message() or error}")


def unanswered(error: Any) -> ReachError:
    """Translate what libvirt said about a guest agent."""
    text, code = str(error.get_error_message() or error), error.get_error_code()
    if "guest-exec" in text and any(word in text for word in BLOCKED):
        return ExecBlockedError(
            text, "allow guest-exec in the guest: /etc/qemu/qemu-ga.conf, or /etc/sysconfig/qemu-ga on RHEL"
        )
    if UNSTARTED in text or SET_TIME in text:
        return _answered(text)
    if code == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED:
        return ReachError(text, CHANNEL_HINT, lasting=True)
    if code == libvirt.VIR_ERR_NO_SUPPORT:
        return ReachError(text, "libvirt knows no guest agent for this kind of machine", lasting=True)
    if code in {libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN}:
        return NotRunningError(text, "only a running guest can be reached")
    return ReachError(text, AGENT_HINT)


def _answered(text: str) -> ReachError:
    """Translate what an agent itself has answered: the node, and not the way to it, is why."""
    if SET_TIME in text:
        return NotSteppedError(text, SET_TIME_HINT, lasting=True)
    if any(word in text for word in DENIED):
        return ConfinedError(f"the node forbids its guest agent to run programs: {text}")
    return NoProgramError(text)


def _unconnected(uri: str | None, error: Any) -> HypervisorError | UsageError:
    text = f"cannot connect to libvirt at {uri or 'its default address'}: {error.get_error_message() or error}"
    unclear = error.get_error_code() in {libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_CONNECT}
    if unclear or error.get_error_domain() == libvirt.VIR_FROM_URI:
        return UsageError(text, "an address looks like qemu:///system or qemu+ssh://host/system")
    return HypervisorError(text, "check that libvirt runs there, or choose another with --connect")


def _start_event_loop() -> None:
    """Start what keepalive needs, once; and keep libvirt from printing its errors, which are raised as well."""
    with _loop_lock:
        if not _loop:
            libvirt.registerErrorHandler(UNHEARD, None)
            libvirt.virEventRegisterDefaultImpl()
            _loop.append(threading.Thread(target=_run_event_loop, name="libvirt events", daemon=True))
            _loop[0].start()


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
