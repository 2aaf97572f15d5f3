"""Telling a service manager how it goes: sd_notify(3), which is a datagram to the socket in NOTIFY_SOCKET."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from clockstep.ports import Clock
from clockstep.units import MICROSECOND_NS


class Notifier:
    """Says nothing where nobody listens, and never raises: a service manager that is gone must not end the service."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._every_ns = watchdog_ns(environ) // 3
        self._due_ns = 0

    def ready(self, status: str) -> None:
        """Say that the start, or the reload, is over."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is read again (MONOTONIC_USEC is for Type=notify-reload)."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={self._clock.monotonic_ns() // MICROSECOND_NS}")

    def status(self, status: str) -> None:
        """Say how it goes."""
        self._say(f"STATUS={status}")

    def stopping(self) -> None:
        """Say that it ends."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog quiet; three times as often as it wants to be, and not oftener."""
        now_ns = self._clock.monotonic_ns()
        if self._every_ns and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._every_ns
            self._say("WATCHDOG=1")

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), self._address)


def watchdog_ns(environ: Mapping[str, str]) -> int:
    """Return after what silence the service manager takes this process for dead, or 0 (sd_watchdog_enabled(3))."""
    wanted, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (wanted.isascii() and wanted.isdigit()) or (pid and pid != str(os.getpid())):
        return 0
    return int(wanted) * MICROSECOND_NS
