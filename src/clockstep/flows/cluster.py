"""Looking at the Nodes of a Kubernetes cluster beside other work: asked for before it, and waited for after it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from functools import partial
from typing import NamedTuple

from clockstep.core.standing import standing
from clockstep.errors import ClockstepError, InternalError, KubernetesError
from clockstep.loop.episodes import troubled
from clockstep.model import Guest, KubeNode, KubeReport, KubeState
from clockstep.ports import Kubernetes, Reference, World
from clockstep.units import SECOND_NS, show_duration
from clockstep.waiting import begun, said_if_slow

SERVER = "the API server of the Kubernetes cluster"


class ClusterView(NamedTuple):
    """What a cluster says of nodes, by their names, and what is left over; None if none was asked."""

    states: Mapping[str, KubeState]
    report: KubeReport | None


class ClusterLook:
    """Looks at a cluster again and again, if there is one; `within_ns` is how long an answer may take."""

    def __init__(self, world: World, within_ns: int) -> None:
        self._world = world
        self._within_ns = within_ns
        self._asked: Future[tuple[list[KubeNode], int]] | None = None
        self._until_ns = 0
        self._patient = True

    def begin(self) -> None:
        """Ask the cluster, unless an answer is still to come."""
        if self._world.kubernetes and self._asked is None:
            self._asked = begun(partial(_nodes, self._world.kubernetes, self._world.reference))
            within_ns = self._within_ns if self._patient else 0
            self._until_ns = self._world.clock.monotonic_ns() + within_ns

    def view(self, chosen: Sequence[Guest]) -> ClusterView:
        """Return what it says of these machines, or why it says nothing.

        It is waited for until the time is over. Once it has failed, it is not waited for until it answers again.
        """
        if self._asked is None:
            return ClusterView({}, None)
        try:
            nodes, now_ns = self._answer(self._asked)
        except ClockstepError as error:
            self._patient = False
            return ClusterView({}, KubeReport(trouble=troubled(error)))
        self._patient = True
        return ClusterView(*standing(self._world.hypervisor.guests(), chosen, nodes, now_ns))

    def _answer(self, asked: "Future[tuple[list[KubeNode], int]]") -> tuple[list[KubeNode], int]:
        left_ns = max(0, self._until_ns - self._world.clock.monotonic_ns())
        with said_if_slow(self._world.tell, "", f"waiting for {SERVER}"):
            try:
                answer = asked.result(left_ns / SECOND_NS)
            except LateError as error:
                text = (
                    f"the API server of the Kubernetes cluster did not answer within {show_duration(self._within_ns)}"
                )
                raise KubernetesError(text, "the clocks do not depend on it") from error
            finally:
                if asked.done():
                    self._asked = None
        return answer


def _nodes(kubernetes: Kubernetes, reference: Reference) -> tuple[list[KubeNode], int]:
    """Return the Nodes, and when they were read."""
    try:
        return kubernetes.nodes(), reference.now().at_ns
    except ClockstepError:
        raise
    except Exception as bug:
        raise InternalError(bug) from bug
