"""Metrics and health over HTTP, on loopback alone: nobody gives the agent commands."""

import ipaddress
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from clockstep.errors import UsageError

LOOPBACK = "127.0.0.1"
TAKES_S = 5
"""How long one request may take: whoever opens a connection and says nothing holds up nobody."""


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
    """Serves `/metrics` and `/healthz` until the process ends."""

    def __init__(self, address: str, metrics: Callable[[], str], healthy: Callable[[], bool]) -> None:
        host, port = parse_address(address)

        class Handler(BaseHTTPRequestHandler):
            timeout = TAKES_S

            def do_GET(self) -> None:
                status, text = _page(self.path, metrics, healthy)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_arguments: object) -> None:
                """Say nothing: stderr is for the story."""

        try:
            self._server = _server(host)((host, port), Handler)
        except OSError as error:
            text = f"metrics cannot be served at {address}: {error}"
            raise UsageError(text, "name another port with --metrics") from error
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def _server(host: str) -> type[ThreadingHTTPServer]:
    import socket

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    return Server


def _page(path: str, metrics: Callable[[], str], healthy: Callable[[], bool]) -> tuple[int, str]:
    match path:
        case "/metrics":
            return 200, metrics()
        case "/healthz":
            return (200, "ok\n") if healthy() else (503, "the loop stands still\n")
        case _:
            return 404, "see /metrics and /healthz\n"
