"""One account at one API server: every call is bounded in time, and raises a KubernetesError.

lightkube makes the requests, and `transport.py` bounds them. Whatever hangs below all that, as a lookup of a name, is
left behind with its thread.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as LateError
from functools import partial
from typing import TypeVar

import httpx2
import msgspec
from lightkube import Client, SingleConfig
from lightkube.config.models import Cluster, Context, User

from clockstep.errors import KubernetesError
from clockstep.kubernetes import credentials
from clockstep.kubernetes.contexts import HINT, Target
from clockstep.kubernetes.credentials import Credentials, from_plugin
from clockstep.kubernetes.kubeconfig import target
from clockstep.kubernetes.proxy import proxy_of
from clockstep.kubernetes.refusals import too_late
from clockstep.kubernetes.requests import Requests
from clockstep.kubernetes.tls import context_of
from clockstep.kubernetes.transport import UNTIL_S, BoundedTransport
from clockstep.kubernetes.troubles import RAISED, translated
from clockstep.model import KubeAccess
from clockstep.waiting import begun

EACH_S = 5.0
"""How long each wait may take: for a connection, or for the next bytes."""
LOGIN_S = credentials.WITHIN_S + 2.0
LATE_S = 0.5
UNAUTHORIZED = 401
KNOWN = {"exec", "token", "tokenFile", "username", "password"}
"""How a user may be known, besides by a certificate."""
UNKNOWN = {"auth-provider": "Kubernetes 1.26 removed it; use its exec plugin", "as": "name a user without it"}
T = TypeVar("T")


class Connection:
    """A connection that is made at the first call, and again where the credentials have expired or are refused."""

    def __init__(self, access: KubeAccess, environ: Mapping[str, str], within_s: float) -> None:
        self._access = access
        self._environ = environ
        self._within_s = within_s
        self._lock = threading.Lock()
        self._requests: Requests | None = None
        self._given = Credentials()
        self._server = ""

    def ask(self, what: str, job: Callable[[Requests], T]) -> T:
        """Return what a job comes to that asks for `what`, as `list nodes`. Raises KubernetesError."""
        try:
            return self._once(what, job)
        except KubernetesError as error:
            if error.status != UNAUTHORIZED:
                raise
        self._requests = None  # the token may have been replaced since
        return self._once(what, job)

    def _once(self, what: str, job: Callable[[Requests], T]) -> T:
        requests = self._within(LOGIN_S, "log in", self._connected)
        return self._within(self._within_s, what, partial(job, requests))

    def _within(self, within_s: float, what: str, job: Callable[[], T]) -> T:
        """Do a job on a thread that is left behind when its time is over."""
        until_s = time.monotonic() + within_s

        def work() -> T:
            UNTIL_S.set(until_s)
            return job()

        try:
            return begun(work).result(within_s + LATE_S)
        except LateError as error:
            raise too_late(what, self._server) from error
        except RAISED as error:
            raise translated(error, what, self._server) from error

    def _connected(self) -> Requests:
        with self._lock:
            if self._requests is None or self._given.expired(time.time_ns()):
                self._requests = self._connect()
            return self._requests

    def _connect(self) -> Requests:
        """Return a new way to ask, by the kubeconfig as it is now."""
        found = target(self._access, self._environ)
        self._server = found.server
        _refuse_unknown(found)
        if found.user.get("exec"):
            self._given = from_plugin(found, self._environ)
            found = found.known_by(self._given.user)
        proxy = _usable(found.cluster.get("proxy-url") or proxy_of(found.server, self._environ))
        context = context_of(found.cluster, found.user)
        transport = BoundedTransport(context, proxy, found.cluster.get("tls-server-name"))
        timeout = httpx2.Timeout(EACH_S)
        return Requests(Client(_config(found), timeout=timeout, trust_env=False, transport=transport))


def _refuse_unknown(found: Target) -> None:
    """Raise KubernetesError for what lightkube would pass over, and what has no address."""
    if not found.server.startswith(("https://", "http://")):
        raise KubernetesError(f"the context {found.context!r} has no address of an API server", HINT, lasting=True)
    for key, hint in UNKNOWN.items():
        if found.user.get(key):
            raise KubernetesError(f"the user of the context {found.context!r} has {key!r}", hint, lasting=True)


def _usable(proxy: object) -> str | None:
    """Return a proxy. Raises KubernetesError for one of a kind that is not known here."""
    if proxy is None or (isinstance(proxy, str) and proxy.lower().startswith(("http://", "https://"))):
        return proxy
    hint = "use one by http:// or https://, or an address of the API server that needs none"
    raise KubernetesError(f"the proxy {proxy!r} is of a kind that clockstep does not know", hint, lasting=True)


def _config(found: Target) -> SingleConfig:
    """Return what lightkube goes by; certificates are the transport's."""
    try:
        user = msgspec.convert({key: found.user[key] for key in KNOWN & found.user.keys()}, User)
    except msgspec.ValidationError as error:
        text = f"the user of the context {found.context!r} cannot be read: {error}"
        raise KubernetesError(text, HINT, lasting=True) from error
    return SingleConfig(found.context, Context(cluster=found.context), Cluster(server=found.server), user)
