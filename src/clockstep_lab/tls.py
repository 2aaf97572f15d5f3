"""TLS of the lab's own: an authority whose certificates are valid at any time, and a server on loopback.

The server's certificate is made this very second: a clock that is behind can't accept it.
"""

import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from .run import run
from .seed import HOST_NAME

GREETING = b"hello over TLS\n"
CONFIG = """\
[req]
distinguished_name = any
[any]
[ca]
default_ca = lab
[lab]
database = {folder}/issued/index
new_certs_dir = {folder}/issued
rand_serial = yes
default_md = sha256
copy_extensions = copy
unique_subject = no
policy = any
"""
"""Of openssl-ca(1): the one way by which openssl 3.0 gives a certificate any start."""


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate is valid."""

    begins: datetime
    ends: datetime


def for_years() -> Validity:
    """From a year ago to ten years on: for a lab that is kept, and for guests whose clocks are behind."""
    now = datetime.now(UTC)
    return Validity(now - timedelta(days=365), now + timedelta(days=3650))


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, in PEM."""

    file: Path
    key: Path


class Authority:
    """A certificate authority in a folder: made there unless it is there already. Everything raises LabError."""

    def __init__(self, folder: Path, name: str = "clockstep-lab") -> None:
        self._folder, self._config = folder, folder / "openssl.cnf"
        self.certificate = self.of(name)
        (folder / "issued").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.write_text(CONFIG.format(folder=folder))  # an authority that was kept may be in another folder now
        if not self.certificate.file.exists():
            (folder / "issued/index").touch()
            use = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
            self._sign(self.certificate, [f"CN={name}"], use, for_years(), ["-selfsign"])

    def of(self, name: str) -> Certificate:
        """The files of the certificate of this name, which need not exist."""
        return Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def once(self, name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Certificate:
        """The certificate of this name, issued if there is none yet."""
        there = self.of(name)
        return there if there.file.exists() else self.issue(name, groups=groups, hosts=hosts)

    def issue(
        self,
        name: str,
        *,
        groups: Sequence[str] = (),
        hosts: Sequence[str] = (),
        validity: Validity | None = None,
    ) -> Certificate:
        """A new certificate for a client and a server; `groups` are its organisations, `hosts` names and addresses.

        It takes the place of an older one of the name. Without `validity` it is one for years.
        """
        use = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth,serverAuth"]
        if hosts:
            use.append(f"subjectAltName={','.join(map(_alternative, hosts))}")
        subject = [*(f"O={group}" for group in groups), f"CN={name}"]
        return self._sign(self.of(name), subject, use, validity or for_years(), ["-cert", self.certificate.file])

    def _sign(
        self, made: Certificate, subject: list[str], use: list[str], validity: Validity, by: list[str | Path]
    ) -> Certificate:
        request = self._folder / "issued/request"
        kind: list[str | Path] = ["-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        extensions = [word for extension in use for word in ("-addext", extension)]
        name = ["-subj", "".join(f"/{part}" for part in subject)]
        run(
            ["openssl", "req", "-config", self._config, *kind, *extensions, *name, "-keyout", made.key, "-out", request]
        )
        signing: list[str | Path] = ["-batch", "-notext", "-preserveDN", "-keyfile", self.certificate.key]
        begins, ends = (f"{at.astimezone(UTC):%Y%m%d%H%M%SZ}" for at in (validity.begins, validity.ends))
        dates = ["-startdate", begins, "-enddate", ends]
        run(["openssl", "ca", "-config", self._config, *signing, *by, *dates, "-in", request, "-out", made.file])
        return made


def _alternative(host: str) -> str:
    try:
        return f"IP:{ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


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
