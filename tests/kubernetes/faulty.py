"""An HTTPS server that answers whatever a test wants: for faults that no real API server can be brought to."""

import datetime
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = datetime.timedelta(days=1)
Answer = Callable[["Handler"], None]


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab-ca")])
        made = self._builder(self.name, self.key.public_key(), now() - DAY, now() + DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file = self.folder / "ca.crt"
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        host: str = "localhost",
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
        password: bytes = b"",
    ) -> tuple[Path, Path]:
        """Return the files of a certificate and its key; it is valid from and to so long from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key.public_key(), now() + begins, now() + ends)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        certificate, of_key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        of_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
            )
        )
        return certificate, of_key

    def _builder(
        self, subject: x509.Name, key: Any, begins: datetime.datetime, ends: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )


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

    def __init__(self, answer: Answer, files: tuple[Path, Path] | None, trusted: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
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
