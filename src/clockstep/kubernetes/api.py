"""The API server of a Kubernetes cluster, with all roles of `ports/kubernetes.py`."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from clockstep.errors import KubernetesError
from clockstep.kubernetes.nodes import CORDONED, Lease, read_lease, read_node, read_version
from clockstep.kubernetes.reports import CONFLICT, Reports, checked
from clockstep.model import KubeAccess, KubeNode

if TYPE_CHECKING:
    from clockstep.kubernetes.client import Connection
    from clockstep.kubernetes.requests import Requests

WITHIN_S = 10.0
"""How long the requests of one call may take together, once it is logged in."""
TRIES = 5
"""How often a change is tried that others' changes of the same Node come between."""
FORBIDDEN = 403
INSTALL = "pip install 'clockstep[kubernetes]'"
T = TypeVar("T")


class KubernetesApi(Reports):
    """A Kubernetes cluster by its API server. Having one reads no file, sends nothing and starts no program."""

    def __init__(self, access: KubeAccess, environ: Mapping[str, str], within_s: float = WITHIN_S) -> None:
        self._access = access
        self._environ = environ
        self._within_s = within_s
        self._lock = threading.Lock()
        self._made: Connection | None = None

    def nodes(self) -> list[KubeNode]:
        """Return all Nodes with their leases, by name; why leases could not be read is in each of them."""
        leases, trouble = self._leases()

        def read(requests: "Requests") -> list[KubeNode]:
            found = (read_node(one, leases, trouble) for one in requests.nodes())
            return sorted((node for node in found if node.name), key=lambda node: node.name)

        return self._ask("list nodes", read)

    def _leases(self) -> tuple[Mapping[str, Lease], str]:
        """Return the leases by the names of their Nodes, or why this account may not read them."""
        try:
            read = self._ask(
                "list leases in kube-node-lease", lambda requests: dict(map(read_lease, requests.leases()))
            )
        except KubernetesError as error:
            if error.status != FORBIDDEN and not error.not_found:
                raise
            return {}, error.message
        return read, ""

    def cordon(self, node: str, mark: str) -> bool:
        """Cordon a Node that is not; its mark is an annotation."""
        change = {"metadata": {"annotations": {CORDONED: mark}}, "spec": {"unschedulable": True}}
        return self._change(node, change, lambda found: not found.unschedulable)

    def uncordon(self, node: str, mark: str) -> bool:
        """Uncordon a Node with that mark."""
        change = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}
        return self._change(node, change, lambda found: found.cordoned_by == mark)

    def _change(self, node: str, change: Mapping[str, Any], fits: Callable[[KubeNode], bool]) -> bool:
        """Change a Node that fits, as it was looked at: what has changed since is looked at again."""
        name = checked(node)
        for left in reversed(range(TRIES)):
            found = self._node(name)
            if not fits(read_node(found)):
                return False
            metadata = {**change["metadata"], "resourceVersion": read_version(found)}
            try:
                self._ask(f"patch node {name}", partial(_change_node, name, {**change, "metadata": metadata}))
            except KubernetesError as error:
                if error.status != CONFLICT or not left:
                    raise
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def _ask(self, what: str, job: "Callable[[Requests], T]") -> T:
        return self._connection().ask(what, job)

    def _connection(self) -> "Connection":
        """Return the connection; the client is imported with the first one, which takes as long as many a look."""
        with self._lock:
            if self._made is None:
                with client_needed():
                    from clockstep.kubernetes.client import Connection
                self._made = Connection(self._access, self._environ, self._within_s)
            return self._made


@contextmanager
def client_needed() -> Iterator[None]:
    """Import what is in the extra alone. Raises KubernetesError if that is not installed."""
    try:
        yield
    except ImportError as error:
        raise KubernetesError(f"no client for Kubernetes: {error}", INSTALL, lasting=True) from error


def _change_node(name: str, change: Mapping[str, Any], requests: "Requests") -> None:
    requests.change_node(name, change)
