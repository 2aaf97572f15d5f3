"""One account at one API server, by the standard library: each request by what the files say now, and bounded.

A request has a connection of its own, since there is one in minutes. All its waits end at one moment, however little
comes at a time; what comes is bounded in size, and JSON's reader bounds how deep it may be.
"""

import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from clockstep import __version__
from clockstep.agent.kube.access import target
from clockstep.agent.options import Reporting
from clockstep.core.foreign import understood
from clockstep.errors import KubernetesError
from clockstep.kubernetes.contexts import Target
from clockstep.kubernetes.refusals import answered, not_reached, not_understood, too_late, unreached
from clockstep.kubernetes.reports import ReportRequests, Reports
from clockstep.kubernetes.tls import context_of
from clockstep.waiting import begun

WITHIN_S = 10.0
"""How long one request may take in all."""
EACH_S = 5.0
"""How long one address of a server may take to answer, where it has several."""
MOST_BYTES = 1 << 20
"""The longest answer: a Node with 50 images takes some 40 KB. Parsed, any answer takes less than 40 MB."""
MOST_HEAD = 1 << 16
"""Beside that: the head of an answer, and what marks its pieces."""
PIECE_BYTES = 1 << 16
MOST_SAID = 1 << 14
"""Of an answer that is a refusal."""
MOST_ADDRESSES = 8
RAISED = (OSError, http.client.HTTPException, ValueError, TypeError, RecursionError)
"""What the standard library raises, on answers that make no sense too."""
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON = "application/json"
EVENTS = "/api/v1/namespaces/default/events"
Lookup = Callable[[str, int], list[Any]]
T = TypeVar("T")


class RefusedError(Exception):
    """An answer that is a refusal, with its HTTP status and what is said to it."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class TooMuchError(OSError):
    """An answer that is longer than any may be; http.client takes a ValueError for one of its own."""

    def __init__(self) -> None:
        super().__init__(f"the answer is longer than {MOST_BYTES >> 20} MiB")


def look_up(host: str, port: int) -> list[Any]:
    """Return the addresses of a host. It may take as long as the resolver likes."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class NodeReports(Reports):
    """Reports on the Node of this machine. Having them reads no file and asks nobody."""

    def __init__(
        self,
        reporting: Reporting,
        root: Path = Path("/"),
        within_s: float = WITHIN_S,
        lookup: Lookup = look_up,
    ) -> None:
        self._reporting, self._root = reporting, root
        self._within_s, self._lookup = within_s, lookup

    def _ask(self, what: str, job: Callable[[ReportRequests], T]) -> T:
        found = target(self._reporting, self._root)
        try:
            return job(_Requests(found, self._within_s, self._lookup))
        except RefusedError as error:
            raise answered(error.status, error.said, what, found.server) from error
        except RAISED as error:
            raise _translated(error, what, found.server) from error


def _translated(error: Exception, what: str, server: str) -> KubernetesError:
    if isinstance(error, TimeoutError):
        return too_late(what, server)
    if known := unreached(error, server):
        return known
    away = isinstance(error, OSError | http.client.HTTPException) and not isinstance(error, TooMuchError)
    return not_reached(error, server) if away else not_understood(error, what, server)


class _Requests:
    """The requests that reports are made of, each over a connection of its own; raises RefusedError and RAISED."""

    def __init__(self, found: Target, within_s: float, lookup: Lookup) -> None:
        self._target, self._within_s, self._lookup = found, within_s, lookup

    def node(self, name: str) -> Mapping[str, Any]:
        """Return a Node."""
        found = json.loads(self._request("GET", f"/api/v1/nodes/{quote(name)}"))
        if not isinstance(found, dict):
            raise ValueError("the answer is no object")
        return found

    def change_conditions(self, name: str, condition: Mapping[str, Any]) -> None:
        """Change one of a Node's conditions; they are merged by their type."""
        change = {"status": {"conditions": [condition]}}
        self._request("PATCH", f"/api/v1/nodes/{quote(name)}/status", change, STRATEGIC)

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event in `default`."""
        self._request("POST", EVENTS, event)

    def change_event(self, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an Event in `default`."""
        self._request("PATCH", f"{EVENTS}/{quote(name)}", change, MERGE)

    def _request(self, method: str, path: str, sent: Mapping[str, Any] | None = None, kind: str = JSON) -> bytearray:
        """Return the answer to a request; only that of GET is read, since nothing else is looked at."""
        address = urlsplit(self._target.server)
        headers = {"Accept": JSON, "User-Agent": f"clockstep-agent/{__version__}", "Connection": "close"}
        if token := self._target.user.get("token"):
            headers["Authorization"] = f"Bearer {token}"
        if sent is not None:
            headers["Content-Type"] = kind
        body = None if sent is None else json.dumps(sent).encode()
        until_s = time.monotonic() + self._within_s
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 443)
        with closing(self._connected(connection.host, connection.port, until_s)) as trusted:
            connection.sock = _Bounded(trusted, until_s)
            connection.request(method, f"{address.path.rstrip('/')}{path}", body, headers)
            with connection.getresponse() as answer:
                return _content(answer, method)

    def _connected(self, host: str, port: int, until_s: float) -> ssl.SSLSocket:
        """Return a connection to the server, whose certificate is believed."""
        context = context_of(self._target.cluster, self._target.user)
        name = str(self._target.cluster.get("tls-server-name") or host)
        addresses = begun(partial(self._lookup, host, port)).result(_left(until_s))
        with closing(_dialled(addresses[:MOST_ADDRESSES], until_s)) as plain:
            made = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
        try:
            made.settimeout(_left(until_s))
            made.do_handshake()
        except BaseException:
            made.close()
            raise
        return made


def _dialled(addresses: list[Any], until_s: float) -> socket.socket:
    """Return a connection to the first of these addresses that answers. Raises OSError."""
    refusal: OSError = ConnectionError("it has no address")
    for one in addresses:
        try:
            return _dialled_one(one, until_s)
        except OSError as error:
            refusal = error
    raise refusal


def _dialled_one(one: Any, until_s: float) -> socket.socket:
    family, kind, protocol, _, address = one
    made = socket.socket(family, kind, protocol)  # fails for IPv6 where that is switched off
    try:
        made.settimeout(min(EACH_S, _left(until_s)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def _left(until_s: float) -> float:
    """Return the seconds until a moment of the monotonic clock. Raises TimeoutError once it is over."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the time is over")
    return left_s


def _content(answer: http.client.HTTPResponse, method: str) -> bytearray:
    """Return what an answer has. Raises RefusedError, TooMuchError, and ValueError for one that is packed."""
    if not 200 <= answer.status < 300:
        raise RefusedError(answer.status, understood(_message, answer.read(MOST_SAID).decode("utf-8", "replace")) or "")
    if method != "GET":
        return bytearray()
    if (packed := answer.headers.get("content-encoding", "identity")) != "identity":
        raise ValueError(f"the answer is packed by {packed}, which nobody asked for")
    content = bytearray()
    while piece := answer.read(PIECE_BYTES):
        content += piece
        if len(content) > MOST_BYTES:
            raise TooMuchError
    return content


def _message(said: str) -> str:
    """Return the message of a Status, which is what Kubernetes answers to what it refuses."""
    return str(json.loads(said)["message"])


class _Bounded:
    """As much of a socket as http.client needs: all waits end at one moment, and so many bytes come at most."""

    def __init__(self, inner: ssl.SSLSocket, until_s: float) -> None:
        self._inner, self._until_s = inner, until_s

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._inner.settimeout(_left(self._until_s))
        self._inner.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what comes, as a file."""
        return io.BufferedReader(_Incoming(self._inner, self._until_s))

    def close(self) -> None:
        """Let http.client close what it has; whoever opened the connection closes it, once the answer is read."""


class _Incoming(io.RawIOBase):
    def __init__(self, inner: ssl.SSLSocket, until_s: float) -> None:
        self._inner, self._until_s = inner, until_s
        self._most = MOST_BYTES + MOST_HEAD + PIECE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next; nothing at the end."""
        self._inner.settimeout(_left(self._until_s))
        came = self._inner.recv_into(buffer)
        self._most -= came
        if self._most < 0:
            raise TooMuchError
        return came
