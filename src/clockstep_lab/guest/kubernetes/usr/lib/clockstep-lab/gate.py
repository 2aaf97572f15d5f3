"""A webhook and an aggregated API, whose certificate lives in this process.

    gate.py AUTHORITY NAME    AUTHORITY has ca.pem and ca.key; LIFE_S is how long a certificate is valid, and
                              RENEWED_AFTER_S when another one takes its place, 0 for never

Like the timers of Go's programs, the one here counts what the machine runs: it stands still with the machine.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8443
GROUP_VERSION = "lab.test/v1"
KIND = {"name": "gates", "singularName": "", "namespaced": False, "kind": "Gate", "verbs": ["get"]}
CONFIG = """\
[req]
distinguished_name = any
[any]
[ca]
default_ca = gate
[gate]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
copy_extensions = copy
policy = any
unique_subject = no
"""


class Certificates:
    """Certificates of one name by one authority, the last of which a TLS context shows."""

    def __init__(self, authority: str, name: str, context: ssl.SSLContext) -> None:
        self._authority, self._name, self._context = authority, name, context
        self._folder = Path(tempfile.mkdtemp())
        (self._folder / "openssl.cnf").write_text(CONFIG)
        (self._folder / "index").touch()

    def renew(self, life_s: int, again_s: int) -> None:
        """Show a new one, valid from a minute ago for so long; again after so many seconds, or never."""
        begins, ends = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + s)) for s in (-60, life_s))
        kind = ["-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-subj", f"/CN={self._name}", "-addext", f"subjectAltName=DNS:{self._name}"]
        self._openssl("req", *kind, *names, "-keyout", "key", "-out", "request")
        by = ["-cert", f"{self._authority}/ca.pem", "-keyfile", f"{self._authority}/ca.key"]
        dates = ["-startdate", begins, "-enddate", ends]
        self._openssl("ca", "-batch", "-notext", *by, *dates, "-in", "request", "-out", "certificate")
        self._context.load_cert_chain(self._folder / "certificate", self._folder / "key")
        if again_s:
            timer = threading.Timer(again_s, self.renew, (life_s, again_s))
            timer.daemon = True
            timer.start()

    def _openssl(self, what: str, *words: str) -> None:
        subprocess.run(["openssl", what, "-config", "openssl.cnf", *words], cwd=self._folder, check=True)


class Gate(BaseHTTPRequestHandler):
    """Admits everything, and has one kind of object."""

    timeout = 10

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"uid": review["request"]["uid"], "allowed": True}
        self._answer({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": said})

    def do_GET(self) -> None:
        if self.path.split("?")[0] == f"/apis/{GROUP_VERSION}":
            listed = {"groupVersion": GROUP_VERSION, "resources": [KIND]}
            self._answer({"apiVersion": "v1", "kind": "APIResourceList", **listed})
        else:
            self.send_error(404)

    def _answer(self, record: dict[str, object]) -> None:
        content = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority, name = sys.argv[1:]
    Certificates(authority, name, context).renew(int(os.environ["LIFE_S"]), int(os.environ["RENEWED_AFTER_S"]))
    server = ThreadingHTTPServer(("", PORT), Gate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


main()
