"""A Kubernetes API over HTTPS with the standard library alone: what the lab asks of it, and tests hold others against.

What clockstep itself asks goes through its own client, so this one shares no code with it.
"""

import http.client
import json
import ssl
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clockstep_lab.tls import Certificate

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
ANSWER_S = 30


class ApiError(Exception):
    """The API server refused: `code` is of HTTP, `reason` and the message are the server's own."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Api:
    """An API server on loopback, and who asks it: by a token, or by a client certificate with its key, or nobody.

    Calls raise ApiError for a refusal and OSError (ssl.SSLError is one) for a server that can't be reached or believed.
    Without `authority`, a PEM file, the server's certificate is not looked at.
    """

    port: int
    authority: Path | None = None
    token: str = ""
    certificate: Certificate | None = None

    def get(self, path: str) -> Object:
        """The object or list at this path, as `/api/v1/nodes`."""
        return self.call("GET", path)

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection at this path."""
        return self.call("POST", path, body)

    def replace(self, path: str, body: Object) -> Object:
        """Write a whole object."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: Object | Sequence[Object], kind: str = MERGE) -> Object:
        """Patch an object; `kind` is the patch's media type."""
        return self.call("PATCH", path, body, kind)

    def delete(self, path: str) -> Object:
        """Delete an object."""
        return self.call("DELETE", path)

    def is_ready(self, path: str = "/readyz") -> bool:
        """Whether a server says so of itself."""
        try:
            return self.ask("GET", path)[0] == http.client.OK
        except OSError:
            return False

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Object:
        """Ask anything of the API; its answer in JSON."""
        code, answer = self.ask(method, path, body, kind)
        said: Object = json.loads(answer) if answer.startswith(b"{") else {"message": answer.decode(errors="replace")}
        if code >= http.client.BAD_REQUEST:
            raise ApiError(code, said.get("reason", ""), said.get("message", ""))
        return said

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Ask anything of the server; the code of its answer, and the answer."""
        headers = {"Content-Type": kind, "Accept": "application/json"} | self._bearer()
        sent = None if body is None else json.dumps(body)
        with closing(
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_S, context=self._tls())
        ) as server:
            try:
                server.request(method, path, sent, headers)
                answer = server.getresponse()
                return answer.status, answer.read()
            except http.client.HTTPException as error:
                raise ConnectionError(f"no answer of HTTP: {error!r}") from error

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority) if self.authority else _unverified()
        if self.certificate:
            context.load_cert_chain(self.certificate.file, self.certificate.key)
        return context


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
