"""Whether a cluster works: nodes that renewed their leases since, are Ready, pods that run, tokens that hold, a gate.

A node that says Ready proves nothing: the API server repeats what a kubelet said before.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from clockstep_lab.domain import Machine, hand_socket
from clockstep_lab.errors import LabError
from clockstep_lab.hand import tell

from . import gate
from .api import Api, ApiError
from .leases import is_true, renewal
from .workloads import NAMESPACE

WAIT_S, EVERY_S = 600, 0.2
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
VOLUMES = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/token/token"


@dataclass(frozen=True)
class Working:
    """Asks whether the cluster of a lab's machines works since a moment, in ns of CLOCK_REALTIME."""

    api: Api
    folder: Path
    machines: Sequence[Machine]
    since_ns: int

    def wait(self) -> None:
        """Wait until it does. Raises LabError with what is still missing after ten minutes."""
        until = time.monotonic() + WAIT_S
        while missing := self.missing():
            if time.monotonic() > until:
                raise LabError(f"the cluster does not work after {WAIT_S} s: {missing}")
            time.sleep(EVERY_S)

    def missing(self) -> str:
        """The first thing that is missing; nothing when it works."""
        try:
            checks = (self._node, self._pods, self._token)
            missing = next(filter(None, (check(machine) for check in checks for machine in self.machines)), "")
            return missing or gate.trouble(self.api, NAMESPACE)
        except (ApiError, OSError) as error:
            return str(error)

    def _node(self, machine: Machine) -> str:
        node = self.api.get(f"/api/v1/nodes/{machine.name}")
        if renewal(self.api, machine.name).renewed_ns < self.since_ns:
            return f"{machine.name} has not renewed its lease"
        if UUID(node["status"]["nodeInfo"]["systemUUID"]) != UUID(machine.uuid):
            return f"{machine.name} has not said who it is"
        return "" if is_true(node, "Ready") else f"{machine.name} is not Ready"

    def _pods(self, machine: Machine) -> str:
        pods = self.api.get(f"{PODS}?fieldSelector=spec.nodeName={machine.name}")["items"]
        if not pods:
            return f"{machine.name} has no pods"
        waiting = [pod["metadata"]["name"] for pod in pods if not is_true(pod, "Ready")]
        return f"pods do not run: {', '.join(waiting)}" if waiting else ""

    def _token(self, machine: Machine) -> str:
        with suppress(LabError):
            tokens = tell(hand_socket(self.folder, machine.name), f"cat {VOLUMES}", WAIT_S).split()
            if tokens and all(self._holds(token) for token in tokens):
                return ""
        return f"a pod's token on {machine.name} is not valid"

    def _holds(self, token: str) -> bool:
        review = self.api.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
        return bool(review["status"].get("authenticated"))
