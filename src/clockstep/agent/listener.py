"""Metrics and health over HTTP, on loopback alone: nobody gives the agent commands.

A few lines on socketserver: http.server would take 3 MB more of each node's memory, for what a scrape does not need.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from clockstep.errors import UsageError

LOOPBACK = "127.0.0.1"
TAKES_S = 5
"""How long one request may take in all: whoever opens a connection and says nothing, or little, holds up nobody."""
AT_ONCE = 16
"""How many connections are taken at once: each is a thread and a file, which the agent itself needs to read clocks."""
LONGEST = 1 << 16
"""Bytes of a request."""
STATUS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def parse_address(address: str) -> tuple[str, int]:
    """Return the host and port of `[HOST:]PORT`. Raises UsageError for what is none, or not of loopback."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        if not (port.isascii() and port.isdigit() and int(port) < 2**16 and ipaddress.ip_address(host).is_loopback):
            raise ValueError
    except ValueError as error:
        text = f"{address!r} is not an address of loopback for metrics"
        raise UsageError(text, "use PORT or HOST:PORT, such as 127.0.0.1:9123") from error
    return host, int(port)


class Listener:
    """Serves `/metrics` and `/healthz` until it is closed."""

    def __init__(self, address: str, metrics: Callable[[], str], healthy: Callable[[], bool]) -> None:
        host, port = parse_address(address)
        try:
            self._server = _Server((host, port), metrics, healthy)
        except OSError as error:
            text = f"metrics cannot be served at {address}: {error}"
            raise UsageError(text, "name another port with --metrics") from error
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_address[1]}/metrics"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(StreamRequestHandler):
    """One connection, one request."""

    server: "_Server"

    def handle(self) -> None:
        """Read a request to its empty line, and answer it."""
        with suppress(OSError, ValueError):
            words = self._read().partition(b"\n")[0].decode("ascii").split()
            if len(words) == 3 and words[0] == "GET":
                self.wfile.write(_answer(*self.server.page(words[1])))

    def _read(self) -> bytes:
        """Return what was said until an empty line, or the end. Raises TimeoutError, and ValueError for too much."""
        until_s, said = time.monotonic() + TAKES_S, b""
        while not any(end in said for end in (b"\n\r\n", b"\n\n")):
            self.connection.settimeout(max(0.001, until_s - time.monotonic()))
            if not (more := self.connection.recv(4096)):
                break
            said += more
            if len(said) > LONGEST:
                raise ValueError("longer than any request")
        self.connection.settimeout(TAKES_S)
        return said


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, at: tuple[str, int], metrics: Callable[[], str], healthy: Callable[[], bool]) -> None:
        self.address_family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        self._metrics, self._healthy = metrics, healthy
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(at, _Handler)

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 - socketserver's
        """Take no more connections than a few; what is not taken is closed."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one, on its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def page(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a page."""
        match path:
            case "/metrics":
                return 200, self._metrics()
            case "/healthz":
                return (200, "ok\n") if self._healthy() else (503, "the loop stands still\n")
            case _:
                return 404, "see /metrics and /healthz\n"


def _answer(status: int, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
