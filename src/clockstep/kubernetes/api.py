"""The API server of a Kubernetes cluster, with all roles of `ports/kubernetes.py`."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from clockstep.errors import KubernetesError, cut, visible
from clockstep.kubernetes.nodes import CORDONED, Lease, read_condition, read_lease, read_node, read_version
from clockstep.kubernetes.times import text_of
from clockstep.model import CLOCK_PROBLEM, KubeAccess, KubeCondition, KubeEvent, KubeNode

if TYPE_CHECKING:
    from clockstep.kubernetes.client import Connection
    from clockstep.kubernetes.requests import Requests

WITHIN_S = 10.0
"""How long the requests of one call may take together, once it is logged in."""
TRIES = 5
"""How often a change is tried that others' changes of the same Node come between."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""An RFC 1123 subdomain, which the name of every Node is."""
LONGEST_NAME = 253
COMPONENT = "clockstep"
FORBIDDEN, CONFLICT = 403, 409
INSTALL = "pip install 'clockstep[kubernetes]'"
T = TypeVar("T")


class KubernetesApi:
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

    def condition(self, node: str) -> KubeCondition | None:
        """Return the Node's condition ClockProblem."""
        return read_condition(self._node(node), CLOCK_PROBLEM)

    def set_condition(self, node: str, condition: KubeCondition) -> None:
        """Write the condition ClockProblem."""
        written = {
            "type": CLOCK_PROBLEM,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastHeartbeatTime": _time(condition.heartbeat_ns),
            "lastTransitionTime": _time(condition.changed_ns),
        }
        self._change_conditions(node, written)

    def remove_condition(self, node: str) -> None:
        """Remove the condition ClockProblem."""
        self._change_conditions(node, {"type": CLOCK_PROBLEM, "$patch": "delete"})

    def _change_conditions(self, node: str, condition: Mapping[str, Any]) -> None:
        name = _checked(node)
        self._ask(f"patch nodes/status {name}", lambda requests: requests.change_conditions(name, condition))

    def record(self, event: KubeEvent) -> None:
        """Record an Event on a Node; one that was recorded already, by a call whose answer was lost, is left."""
        if event.count > 1 and self._recorded_again(event):
            return
        made = _event(event)
        try:
            self._ask("create events in default", lambda requests: requests.create_event(made))
        except KubernetesError as error:
            if error.status != CONFLICT:
                raise

    def _recorded_again(self, event: KubeEvent) -> bool:
        """Say of an Event that it has happened again; False if the server has forgotten it, as after an hour."""
        change = {"message": cut(visible(event.message)), "lastTimestamp": text_of(event.at_ns), "count": event.count}
        try:
            self._ask("patch events in default", lambda requests: requests.change_event(_event_name(event), change))
        except KubernetesError as error:
            if not error.not_found:
                raise
            return False
        return True

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
        name = _checked(node)
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

    def _node(self, node: str) -> Mapping[str, Any]:
        name = _checked(node)
        return self._ask(f"get node {name}", lambda requests: requests.node(name))

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


def _checked(node: str) -> str:
    """Return a Node's name, which becomes part of an address. Raises KubernetesError for what is none."""
    if not NAME.fullmatch(node):
        raise KubernetesError(f"{node!r} cannot be the name of a Node", lasting=True)
    return node


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else text_of(at_ns)


def _event(event: KubeEvent) -> dict[str, Any]:
    """Return an Event as kubelets make them: in `default`, and with the Node's name for its UID.

    That is where kubectl describe node looks (client-go's reference of a Node in pkg/kubelet).
    """
    return {
        "metadata": {"name": _event_name(event)},
        "involvedObject": {"kind": "Node", "name": event.node, "uid": event.node},
        "type": event.type,
        "reason": event.reason,
        "message": cut(visible(event.message)),
        "source": {"component": COMPONENT},
        "firstTimestamp": text_of(event.first_ns),
        "lastTimestamp": text_of(event.at_ns),
        "count": event.count,
    }


def _event_name(event: KubeEvent) -> str:
    """Return a name that one and the same Event always has."""
    unique = f".{event.reason.lower()}.{event.first_ns:x}"
    return f"{event.node[: LONGEST_NAME - len(unique)].rstrip('-.')}{unique}"
