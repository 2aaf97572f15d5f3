"""A TLS server on loopback with a certificate made this very second: a clock that is behind can't accept it."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from .run import run
from .seed import HOST_NAME

GREETING = b"hello over TLS\n"


class Server:
    """Answers every GET with a short greeting, for as long as the `with` block lasts."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.pem"
        key = folder / "tls.key"
        names = f"subjectAltName=DNS:{HOST_NAME}"
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        where: list[str | Path] = ["-keyout", key, "-out", self.certificate]
        run(["openssl", "req", *kind, "-subj", f"/CN={HOST_NAME}", "-addext", names, *where])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server = _Quiet(("127.0.0.1", 0), _Greeting)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Where a guest finds it."""
        return f"https://{HOST_NAME}:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that refuses the certificate is what this server is for."""


class _Greeting(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
