"""Whether a Kubernetes cluster works after its nodes' clocks were corrected. Pure.

That a Node is Ready proves nothing: Nodes with leases 190 s old were seen to stay Ready. What proves it:

- Its lease was renewed after its clock was proven. The kubelet does that every 10 s, by the node's own clock, which is
  within the tolerance of the reference by then. So a renewal counts that is later by more than the tolerance, and is
  not ahead of the reference. Where nothing had to be done to a clock, one within the length of the lease before counts.
- Ready is True, and was not written by a clock that was ahead. The kubelet writes it when it changes, and otherwise
  every five minutes (nodeStatusReportFrequency), so one that has been True all the time may be older than the proof.
  One that was seen to be anything else after the proof counts only if it was written since.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from clockstep.core.matching import Matching, identity, match
from clockstep.core.summary import was_corrected
from clockstep.model import (
    ClusterNode,
    ClusterOutcome,
    ControlPlane,
    Episode,
    Freshness,
    Guest,
    KubeNode,
    Verdict,
)
from clockstep.units import SECOND_NS

LEASE_NS = 40 * SECOND_NS
"""For how long a renewal counts if the lease does not say: the kubelet's default, nodeLeaseDurationSeconds."""
CONTROL_PLANE = {"control-plane", "etcd", "master"}
"""The roles of what keeps the cluster's state; k3s and RKE2 have the second."""
SETTLED = {Freshness.FRESH, Freshness.CLOCK_UNPROVEN, Freshness.DOUBTFUL, Freshness.NO_NODE}
"""What no waiting changes."""


class Proof(NamedTuple):
    """When a node's clock was proven, by the reference, and how far it may be off it; whether it was off before."""

    at_ns: int
    within_ns: int
    corrected: bool = True


def proof_of(episode: Episode, tolerance_ns: int) -> Proof | None:
    """Return when a clock was proven, or somewhat later; None if it was not."""
    if episode.verdict is not Verdict.GOOD or episode.proven_ns is None:
        return None
    return Proof(episode.started_at_ns + episode.proven_ns, tolerance_ns, was_corrected(episode))


def judge(node: KubeNode, proof: Proof, now_ns: int, *, away: bool = False) -> Freshness:
    """Return what a Node proves at this moment; `away` is whether Ready was seen not to be True since the proof."""
    return _lease(node, proof, now_ns) or _ready(node, proof, now_ns, away=away) or Freshness.FRESH


def _lease(node: KubeNode, proof: Proof, now_ns: int) -> Freshness | None:
    """Return what is wrong with the lease."""
    if node.renewed_ns is None:
        return Freshness.LEASE_UNKNOWN
    if node.renewed_ns > now_ns + proof.within_ns:
        return Freshness.LEASE_AHEAD
    before_ns = 0 if proof.corrected else node.lease_ns or LEASE_NS
    return None if node.renewed_ns > proof.at_ns - before_ns + proof.within_ns else Freshness.LEASE_OLD


def _ready(node: KubeNode, proof: Proof, now_ns: int, *, away: bool) -> Freshness | None:
    """Return what is wrong with Ready, which is written with the second alone."""
    if not is_ready(node):
        return Freshness.NOT_READY
    written_ns = node.ready.heartbeat_ns if node.ready else None
    if written_ns is not None and written_ns > now_ns + proof.within_ns:
        return Freshness.READY_AHEAD
    since_ns = (proof.at_ns - proof.within_ns) // SECOND_NS * SECOND_NS
    return Freshness.READY_OLD if away and (written_ns is None or written_ns < since_ns) else None


def is_ready(node: KubeNode) -> bool:
    """Whether a Node's condition Ready is True."""
    return ready_text(node) == "True"


def ready_text(node: KubeNode) -> str:
    """Return the status of a Node's condition Ready; empty if it has none."""
    return node.ready.status if node.ready else ""


class Looks:
    """What the Nodes of machines prove, look by look; `proofs` are of their clocks, None of one that is not proven."""

    def __init__(self, proofs: Mapping[Guest, Proof | None]) -> None:
        self._proofs = proofs
        self._away: set[Guest] = set()
        self._fresh_ns: dict[Guest, int] = {}
        self.listed: Sequence[KubeNode] = ()
        """All Nodes of the cluster at the last look."""
        self.nodes: tuple[ClusterNode, ...] = ()
        """The machines as they were then."""

    def take(self, listed: Sequence[KubeNode], now_ns: int) -> None:
        """Take in all Nodes of the cluster as they are at this moment of the reference."""
        matching = match(self._proofs, listed)
        self.listed = listed
        self.nodes = tuple(self._seen(guest, matching, now_ns) for guest in self._proofs)

    @property
    def names(self) -> list[str]:
        """The names of these machines' Nodes."""
        return [one.name for one in self.nodes if one.name]

    @property
    def are_settled(self) -> bool:
        """Whether waiting changes nothing any more."""
        return all(one.state in SETTLED for one in self.nodes)

    @property
    def outcome(self) -> ClusterOutcome:
        """What these machines' Nodes prove of the cluster: one that is no Node proves nothing."""
        states = {one.state for one in self.nodes} - {Freshness.NO_NODE}
        if not states:
            return ClusterOutcome.UNMATCHED
        return ClusterOutcome.WORKS if states == {Freshness.FRESH} else ClusterOutcome.LATE

    def _seen(self, guest: Guest, matching: Matching, now_ns: int) -> ClusterNode:
        node, proof = matching.node_of(guest), self._proofs[guest]
        if node is None:
            return ClusterNode(guest.name, unmatched(guest, matching))
        age_ns = None if node.renewed_ns is None else now_ns - node.renewed_ns
        seen = ClusterNode(guest.name, Freshness.CLOCK_UNPROVEN, node.name, ready_text(node), age_ns)
        if proof is None:
            return seen
        if not is_ready(node):
            self._away.add(guest)
        state = judge(node, proof, now_ns, away=guest in self._away)
        if state is Freshness.FRESH:
            self._fresh_ns.setdefault(guest, now_ns - proof.at_ns)
        return replace(seen, state=state, fresh_ns=self._fresh_ns.get(guest))


def unmatched(guest: Guest, matching: Matching) -> Freshness:
    """Return why a machine has no Node: the cluster has none with its UUID, or it is open which one it is."""
    doubted = {identity(node.system_uuid) for node in matching.doubtful}
    return Freshness.DOUBTFUL if identity(guest.uuid) in doubted else Freshness.NO_NODE


def control_plane(nodes: Iterable[KubeNode], members: Collection[str]) -> ControlPlane:
    """Return where the control plane is, `members` being the names of the Nodes that are worked on."""
    having = {node.name for node in nodes if CONTROL_PLANE.intersection(node.roles)}
    within = having.intersection(members)
    if not members:
        return ControlPlane.UNKNOWN
    if not within:
        return ControlPlane.OUTSIDE
    return ControlPlane.INSIDE if within == having else ControlPlane.PARTLY
