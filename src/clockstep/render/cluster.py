"""What the commands that end with a working cluster say of it: what has lapsed, and how its nodes are."""

from collections.abc import Sequence

from clockstep.errors import visible
from clockstep.model import Certificate, ClusterNode, ClusterOutcome, ClusterState, Freshness, NodeCertificates
from clockstep.render.words import WORDS
from clockstep.units import show_duration, show_moment

MOST = 4
"""How many certificates of a node a line names; JSON has all."""


def lapse_lines(lapsed: Sequence[NodeCertificates]) -> list[str]:
    """Say of each node which certificates of its snapshot are not valid now."""
    return [f"{one.node}: certificates in the snapshot that are not valid now: {_lapsed(one)}" for one in lapsed]


def _lapsed(one: NodeCertificates) -> str:
    named = ", ".join(map(_certificate, one.certificates[:MOST]))
    more = len(one.certificates) - MOST
    return f"{named} and {more} more (-o json lists all)" if more > 0 else named


def _certificate(one: Certificate) -> str:
    until = "" if one.not_after_ns is None else f" to {show_moment(one.not_after_ns)}"
    return visible(f"{one.subject or 'one'} in {one.path} ({show_moment(one.not_before_ns)}{until})")


def cluster_lines(state: ClusterState | None) -> list[str]:
    """Say what the Kubernetes cluster was at last, which Nodes do not work, and what stays cordoned."""
    if state is None:
        return []
    troubled = [one for one in state.nodes if one.state not in {Freshness.FRESH, Freshness.NO_NODE}]
    cordoned = [f"{name} stays cordoned: run clockstep kubernetes uncordon" for name in state.cordoned]
    return [*_outcome(state), *(f"{one.node}: {_node(one)}" for one in troubled), *cordoned]


def _outcome(state: ClusterState) -> list[str]:
    waited = show_duration(state.waited_ns)
    where = WORDS[state.control_plane]
    match state.outcome:
        case ClusterOutcome.NOT_WAITED:
            return []
        case ClusterOutcome.WORKS:
            fresh = [one for one in state.nodes if one.state is Freshness.FRESH]
            return [f"the Kubernetes cluster works: {len(fresh)} Nodes checked, after {waited}; {where}"]
        case ClusterOutcome.UNKNOWN:
            why = f"{state.trouble.text} ({state.trouble.remedy})" if state.trouble else "no answer"
            return [f"whether the Kubernetes cluster works is not known, after {waited}: {why}; {where}"]
        case outcome:
            return [f"the Kubernetes cluster {WORDS[outcome]}, after {waited}; {where}"]


def _node(one: ClusterNode) -> str:
    age_ns = one.lease_age_ns or 0
    return WORDS[one.state].format(age=show_duration(abs(age_ns)), ready=one.ready or "missing")
