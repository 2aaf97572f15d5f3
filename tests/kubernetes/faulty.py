"""An HTTPS server that answers whatever a test wants: for faults that no real API server can be brought to.

What can be provoked on a real one is tested on real ones, in test_contract.py and test_cluster.py.
"""

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from clockstep_lab.tls import Certificate

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as its server wants."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        """Note the request, and answer it."""
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.answer(self)

    do_PATCH = do_POST = do_GET  # noqa: N815 - http.server calls them so

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send an answer as a whole."""
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, found: object, status: int = 200) -> None:
        """Send JSON."""
        self.send(json.dumps(found).encode(), status)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The server, on a free port of loopback; `requests` are the paths and headers that it got."""

    daemon_threads = True

    def __init__(self, answer: Answer, certificate: Certificate, trusted: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key)
        if trusted:
            context.load_verify_locations(trusted)
            context.verify_mode = ssl.CERT_REQUIRED
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what is tested."""

    def end(self) -> None:
        """Let all answers end, and the server."""
        self.over.set()
        self.shutdown()
        self.server_close()


def kubeconfig(file: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """Write a kubeconfig with one context."""
    found = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me"}}],
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
    }
    file.write_text(yaml.safe_dump(found))
    return file
