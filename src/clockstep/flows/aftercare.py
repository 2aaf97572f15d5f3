"""The Kubernetes cluster in one run: its Nodes are cordoned meanwhile, and it is waited for after the clocks.

Nothing of it is waited for before the clocks are corrected, but for a cordon that was asked for. What is wrong with it
is said, and ends nothing: the clocks are what a run is about.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import replace
from typing import Self

from clockstep.core.cluster import Looks, control_plane, proof_of
from clockstep.core.matching import match
from clockstep.errors import ClockstepError, DeadlineError, InternalError, KubernetesError, UsageError
from clockstep.flows.cordon import LATER, Cordoning, clear
from clockstep.loop.episodes import troubled
from clockstep.model import (
    ClusterOutcome,
    ClusterPolicy,
    ClusterState,
    ControlPlane,
    Episode,
    Freshness,
    Guest,
    KubeNode,
)
from clockstep.ports import KubeNodes, Kubernetes, World
from clockstep.units import SECOND_NS, show_duration
from clockstep.waiting import begun

POLL_NS = SECOND_NS // 2
"""How often the Nodes are listed; less often where that takes longer."""
LASTING_NS = 10 * SECOND_NS
"""For how long no error counts as lasting: an API server that has just come back refuses what it will allow, until it
has read who may do what."""
ENOUGH_NS = 5 * SECOND_NS
"""An API server that does not answer in that time is in trouble."""
FIRST_NS = 20 * SECOND_NS
"""How long listing the Nodes may take before a cordon, with a program that is asked for credentials."""
NO_AFTERCARE = ClusterPolicy(wait=False)
OMIT = "nothing was changed; omit --cordon"


class Listing:
    """One listing of the Nodes, begun now, on a thread that is left behind if it hangs."""

    def __init__(self, kubernetes: KubeNodes) -> None:
        self._answer: Future[list[KubeNode]] = begun(kubernetes.nodes)

    def within(self, left_ns: int) -> list[KubeNode]:
        """Return the Nodes; raises KubernetesError, DeadlineError if there is no answer by then, and InternalError."""
        try:
            return self._answer.result(max(0, left_ns) / SECOND_NS)
        except ClockstepError:
            raise
        except Exception as error:
            if isinstance(error, LateError) and not self._answer.done():
                text = f"the API server did not answer within {show_duration(max(0, left_ns))}"
                raise DeadlineError(text, "check that it runs, and the network on the way to it") from error
            raise InternalError(error) from error


class Cluster:
    """The cluster in one run over machines; whatever ends the run, what it has cordoned is uncordoned.

    `operation` is what its mark on Nodes says that it is; `reverting` is whether it brings back what a snapshot has.
    """

    def __init__(
        self, world: World, guests: Sequence[Guest], policy: ClusterPolicy, operation: str, *, reverting: bool = False
    ) -> None:
        self._world, self._guests, self._policy = world, guests, policy
        self._operation, self._reverting = operation, reverting
        self._before: Listing | None = None
        self._cordoning: Cordoning | None = None
        self._looks = Looks({})
        self._corrected = False
        self.state: ClusterState | None = None
        """What the cluster was at last; None if it was not to be waited for, and nothing is left to say."""

    def __enter__(self) -> Self:
        """Begin to ask which Nodes there are: it says where the control plane is if it does not answer afterwards."""
        if self._world.kubernetes and (self._policy.wait or self._policy.cordon):
            self._before = Listing(self._world.kubernetes)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_raised: object) -> None:
        """Uncordon what this run has cordoned, and at its proper end what others have left cordoned."""
        left = self._cordoning.uncordon_all() if self._cordoning else ()
        if kind is None:
            self._clear()
        if left:
            self.state = replace(self.state or ClusterState(ClusterOutcome.NOT_WAITED), cordoned=left)

    def cordon(self) -> None:
        """Cordon the Nodes of the machines, if that was asked for.

        Raises ClockstepError, with nothing left cordoned, if one cannot be, and if no machine is a Node.
        """
        if not self._policy.cordon:
            return
        if self._before is None:
            raise UsageError("no Kubernetes cluster is named, so nothing can be cordoned", OMIT)
        try:
            matching = match(self._guests, self._before.within(FIRST_NS))
        except ClockstepError as error:
            text = f"the Nodes cannot be cordoned: {error.message}"
            raise KubernetesError(text, "; or ".join(filter(None, (OMIT, error.hint)))) from error
        members = {guest: node for guest in self._guests if (node := matching.node_of(guest))}
        if not members:
            raise UsageError("none of these machines is a Node of the Kubernetes cluster, so none is cordoned", OMIT)
        self._cordoning = Cordoning(self._world, self._operation)
        self._cordoning.cordon_all(members)

    def _clear(self) -> None:
        """Uncordon what others have left cordoned; a run that cordons and does not wait asks for that which it is."""
        listed = self._looks.listed
        if not listed and self._corrected and self._cordoning and self._world.kubernetes:
            try:
                listed = Listing(self._world.kubernetes).within(FIRST_NS)
            except ClockstepError as error:
                self._world.tell("", f"whether Nodes stay cordoned is unknown: {error.message}; {LATER}")
        members = [node.name for node in match(self._guests, listed).by_key.values()] if self._reverting else ()
        clear(self._world, listed, members, self._cordoning.mark if self._cordoning else "")

    def wait(self, episodes: Sequence[Episode], tolerance_ns: int) -> None:
        """Wait until the Nodes of all proven clocks are fresh, by the deadline; `state` says what that came to."""
        self._corrected = bool(episodes)
        if not (self._world.kubernetes and self._policy.wait and episodes):
            return
        by_name = {episode.node: episode for episode in episodes}
        self._looks = Looks(
            {guest: proof_of(by_name[guest.name], tolerance_ns) for guest in self._guests if guest.name in by_name}
        )
        began_ns = self._world.clock.monotonic_ns()
        try:
            trouble = self._look_until(self._world.kubernetes, began_ns, began_ns + self._policy.deadline_ns)
        except BaseException:
            self._world.tell("", "all clocks were done; only the wait for the Kubernetes cluster was interrupted")
            raise
        self.state = ClusterState(
            ClusterOutcome.UNKNOWN if trouble else self._looks.outcome,
            self._control_plane(),
            self._looks.nodes,
            self._world.clock.monotonic_ns() - began_ns,
            troubled(trouble) if trouble else None,
        )

    def _look_until(self, kubernetes: Kubernetes, began_ns: int, until_ns: int) -> ClockstepError | None:
        """Look again and again, until waiting is of no use or the time is over; return what went wrong last."""
        clock, said, trouble = self._world.clock, "", None
        while (asked_ns := clock.monotonic_ns()) < until_ns:
            trouble = self._look(kubernetes, until_ns - asked_ns, trouble)
            now_ns = clock.monotonic_ns()
            if now_ns >= until_ns or self._is_over(trouble, now_ns - began_ns):
                break
            if (text := self._text(trouble)) != said:
                self._world.tell("", text)
                said = text
            clock.sleep_ns(min(max(POLL_NS, now_ns - asked_ns), until_ns - now_ns))
        return trouble

    def _look(self, kubernetes: Kubernetes, left_ns: int, before: ClockstepError | None) -> ClockstepError | None:
        """Look at the Nodes once, and return what went wrong; a last look without the time for an answer is none."""
        try:
            nodes = Listing(kubernetes).within(left_ns)
        except DeadlineError as error:
            return before if left_ns < ENOUGH_NS and (before or self._looks.nodes) else error
        except ClockstepError as error:
            return error
        self._looks.take(nodes, self._world.reference.now().at_ns)
        refused = next((node.lease_trouble for node in nodes if node.lease_trouble), "")
        return KubernetesError(refused, "use an account that may list leases", lasting=True) if refused else None

    def _is_over(self, trouble: ClockstepError | None, waited_ns: int) -> bool:
        """Whether there is nothing more to wait for."""
        if isinstance(trouble, KubernetesError):
            return trouble.lasting and waited_ns >= LASTING_NS
        return self._looks.are_settled if trouble is None else isinstance(trouble, InternalError)

    def _text(self, trouble: ClockstepError | None) -> str:
        if trouble:
            return f"waiting for the Kubernetes cluster: {trouble.message}"
        having = [one for one in self._looks.nodes if one.name]
        fresh = [one for one in having if one.state is Freshness.FRESH]
        return f"waiting for the Kubernetes cluster: {len(fresh)} of {len(having)} Nodes work"

    def _control_plane(self) -> ControlPlane:
        """Return where the control plane is: by the last look or, without one, by what was asked before."""
        if self._looks.nodes:
            return control_plane(self._looks.listed, self._looks.names)
        try:
            listed = self._before.within(SECOND_NS) if self._before else []
        except ClockstepError:
            return ControlPlane.UNKNOWN
        return control_plane(listed, [node.name for node in match(self._guests, listed).by_key.values()])
