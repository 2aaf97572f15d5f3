"""Conditions and Events of Nodes, as an API server takes them: the role KubeReports, by whatever client. The standard
library alone.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from clockstep.errors import KubernetesError, cut, visible
from clockstep.kubernetes.nodes import read_condition
from clockstep.kubernetes.times import text_of
from clockstep.model import CLOCK_PROBLEM, KubeCondition, KubeEvent

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""An RFC 1123 subdomain, which the name of every Node is."""
LONGEST_NAME = 253
COMPONENT = "clockstep"
CONFLICT = 409
T = TypeVar("T")


class ReportRequests(Protocol):
    """The requests of one account that reports are made of; objects are plain mappings, as JSON has them."""

    def node(self, name: str) -> Mapping[str, Any]:
        """Return a Node."""

    def change_conditions(self, name: str, condition: Mapping[str, Any]) -> None:
        """Change one of a Node's conditions; they are merged by their type."""

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event in `default`."""

    def change_event(self, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an Event in `default`."""


class Reports(ABC):
    """Writes the condition ClockProblem, and Events. Raises KubernetesError."""

    @abstractmethod
    def _ask(self, what: str, job: Callable[[ReportRequests], T]) -> T:
        """Return what a job comes to that asks for `what`. Raises KubernetesError."""

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
        name = checked(node)
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

    def _node(self, node: str) -> Mapping[str, Any]:
        name = checked(node)
        return self._ask(f"get node {name}", lambda requests: requests.node(name))


def checked(node: str) -> str:
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
