"""A webhook and an aggregated API, whose certificate lives in this process.

gate.py AUTHORITY NAME    AUTHORITY has ca.pem and ca.key, and in the file `life` for how many seconds a
                          certificate is valid, which is made once
"""

import json
import ssl
import subprocess
import sys
import tempfile
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


def certified(authority: Path, name: str) -> ssl.SSLContext:
    """A TLS context that shows a new certificate of this name, valid from a minute ago."""
    folder, life_s = Path(tempfile.mkdtemp()), int((authority / "life").read_text())
    (folder / "openssl.cnf").write_text(CONFIG)
    (folder / "index").touch()

    def openssl(what: str, *words: str) -> None:
        subprocess.run(["openssl", what, "-config", "openssl.cnf", *words], cwd=folder, check=True)

    kind = ["-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    openssl("req", *kind, *names, "-keyout", "key", "-out", "request")
    by = ["-cert", f"{authority}/ca.pem", "-keyfile", f"{authority}/ca.key"]
    begins, ends = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + s)) for s in (-60, life_s))
    openssl("ca", "-batch", "-notext", *by, "-startdate", begins, "-enddate", ends, "-in", "request", "-out", "made")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "made", folder / "key")
    return context


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
    authority, name = sys.argv[1:]
    server = ThreadingHTTPServer(("", PORT), Gate)
    context = certified(Path(authority), name)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


main()
