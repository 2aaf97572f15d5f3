"""How a cluster of real kubelets comes up in a lab: restored from its kept moment, or booted, and then kept.

The kubelets do not run in the moment. They start when their node's clock is right: then they say what machine they are
on, and get new tokens for their pods, at once. The pods run on meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import libvirt

from clockstep_lab import guests
from clockstep_lab.cache import filling, forget_unused, lock_of, used
from clockstep_lab.domain import Machine, hand_socket
from clockstep_lab.errors import LabError
from clockstep_lab.hand import tell
from clockstep_lab.moments import BOOTED, State, settle, store
from clockstep_lab.saved import UnusableError
from clockstep_lab.starting import Starter
from clockstep_lab.threads import side_by_side
from clockstep_lab.tls import Authority

from . import gate, workloads
from .age import make_older
from .api import ApiError
from .control_plane import ControlPlane
from .moment import ClusterMoment, forget_plane, keep_plane, restore_plane
from .node import told_of
from .readiness import Working

KUBELET_S = 60
NO_RESOLVER = {"etc/resolv.conf": ("", 0o644)}
"""containerd copies the file into each pod, and a guest has none."""
Put = Callable[[Starter], list[Machine]]
"""Has a starter put guests to their kept moments."""


@dataclass(frozen=True)
class ClusterStarter:
    """Starts the cluster of a lab with these nodes; `starter` starts guests that know nothing of it yet."""

    starter: Starter
    names: tuple[str, ...]
    state: State = BOOTED

    @cached_property
    def kept(self) -> ClusterMoment:
        """Where its moment is kept, or would be."""
        return ClusterMoment(self.starter.image, self.starter.kvm, self.state, self.names)

    def restored(self) -> list[Machine]:
        """Restore all from the kept moment, made first where it is lacking. Raises LabError.

        A moment that is of no use is said and forgotten, and all nodes are booted.
        """
        if not self.kept.is_kept():
            self._keep()

        def put(starter: Starter) -> list[Machine]:
            return starter.tried(self.kept, self.names)

        try:
            return self._back(put)
        except UnusableError as error:
            self.starter.say(f"the saved state of the cluster is unusable: {error}")
            self.kept.forget()
            self.starter.remove(self.names)
            return self.booted()

    def rewind(self, machines: Sequence[Machine]) -> None:
        """Put a cluster back to its kept moment. Raises LabError."""

        def put(starter: Starter) -> list[Machine]:
            starter.put_back(self.kept, machines)
            return list(machines)

        try:
            self._back(put)
        except UnusableError as error:
            raise LabError(f"the cluster cannot be restored to its saved state: {error}") from error

    def booted(self) -> list[Machine]:
        """Boot all nodes for a new cluster, and have pods run on them. Raises LabError."""
        began_ns = time.time_ns()
        ControlPlane(self.starter.folder, self.starter.say).stop()
        forget_plane(self._home)
        plane = ControlPlane(self.starter.folder, self.starter.say)
        self.starter.say("starting a new control plane")
        plane.start()
        try:
            workloads.apply(plane.admin, Authority(plane.home / "pki/gate", "gate"))
        except (ApiError, OSError) as error:
            raise LabError(f"the new cluster takes no pods: {error}") from error
        machines = self._told_of(plane).booted(self.names)
        self._open_gate(plane, machines)
        self._await(plane, machines, began_ns)
        return machines

    def _back(self, put: Put) -> list[Machine]:
        """Put control plane and nodes to the kept moment and wait until all of it works."""
        began_ns = time.time_ns()
        ControlPlane(self.starter.folder, self.starter.say).stop()
        restore_plane(self.kept.whole, self._home)
        plane = ControlPlane(self.starter.folder, self.starter.say)
        with ThreadPoolExecutor(1) as beside:
            started = beside.submit(plane.start)
            machines = put(self._told_of(plane))
            side_by_side(self._start_kubelet, machines)  # which takes longer than the servers do
            started.result()
        if len(machines) < len(self.names):
            raise UnusableError("not all nodes could be restored")
        self._open_gate(plane, machines)
        self._await(plane, machines, began_ns)
        used(self.kept.whole)
        return machines

    def _keep(self) -> None:
        """Make the moment, if nobody else has meanwhile; nothing of it runs then. Raises LabError."""
        with lock_of(self.kept.kind, self.starter.say):
            if self.kept.is_kept():
                return
            self.starter.say("keeping a cluster, so that the next start is faster")
            machines = self.booted()
            forget_unused(self.kept.kind)
            try:
                with filling(self.kept.whole) as part:
                    self._store(machines, part)
            except (libvirt.libvirtError, ApiError, OSError) as error:
                raise LabError(f"the cluster could not be kept: {error}") from error
            self.starter.remove(self.names)

    def _store(self, machines: Sequence[Machine], part: Path) -> None:
        """Stop all at one moment, the nodes before what they talk to, and put it into a folder."""
        plane = ControlPlane(self.starter.folder, self.starter.say)
        side_by_side(self._stop_kubelet, machines)
        if self.state.older_s:
            make_older(plane, self.starter.folder, machines, self.state.older_s)
        side_by_side(lambda machine: settle(self.starter.folder, machine.name, self.state), machines)
        with closing(guests.connect(self.starter.uri)) as connection:
            for machine in machines:
                connection.lookupByName(machine.name).suspend()
            plane.stop()
            keep_plane(self._home, part)
            for machine in machines:
                (part / machine.name).mkdir()
                store(connection, self.starter.folder, machine.name, self.starter.image, part / machine.name)

    def _stop_kubelet(self, machine: Machine) -> None:
        tell(hand_socket(self.starter.folder, machine.name), "systemctl stop kubelet", KUBELET_S)

    def _start_kubelet(self, machine: Machine) -> None:
        tell(hand_socket(self.starter.folder, machine.name), "systemctl start kubelet", KUBELET_S)

    def _open_gate(self, plane: ControlPlane, machines: Sequence[Machine]) -> None:
        """Lead the API server to the gate, whose port is another one in each lab."""
        (port,) = (machine.served_port for machine in machines if machine.name == gate.NODE)
        try:
            gate.lead_to(plane.admin, port)
        except (ApiError, OSError) as error:
            raise LabError(f"the cluster's webhook cannot be led to its pod: {error}") from error

    def _await(self, plane: ControlPlane, machines: Sequence[Machine], since_ns: int) -> None:
        self.starter.say("waiting for the kubelets and their pods")
        Working(plane.admin, self.starter.folder, machines, since_ns).wait()

    def _told_of(self, plane: ControlPlane) -> Starter:
        """The same starter for guests that are told of the cluster."""
        lab = self.starter.told
        return replace(self.starter, told=lambda machine: lab(machine) | told_of(plane, machine.name) | NO_RESOLVER)

    @property
    def _home(self) -> Path:
        return self.starter.folder / "kubernetes"
