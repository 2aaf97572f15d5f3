"""What the commands that end with a working cluster say of it: what has lapsed, and how its nodes are."""

from collections.abc import Sequence

from clockstep.errors import visible
from clockstep.model import (
    Certificate,
    ClusterNode,
    ClusterOutcome,
    ClusterState,
    ControlPlane,
    Freshness,
    NodeCertificates,
    Trouble,
)
from clockstep.render.words import WORDS
from clockstep.units import show_duration, show_moment

MOST = 4
"""How many certificates of a node a line names; JSON has all."""
FEW = 3
"""How many nodes a question names."""


def lapse_lines(lapsed: Sequence[NodeCertificates]) -> list[str]:
    """Say of each node which certificates of its snapshot are not valid now."""
    return [f"{one.node}: certificates in the snapshot that are not valid now: {_lapsed(one)}" for one in lapsed]


def lapses_in_short(lapsed: Sequence[NodeCertificates]) -> list[str]:
    """Say the same for a question: of the first nodes, and how many more there are."""
    more = len(lapsed) - FEW
    return [*lapse_lines(lapsed[:FEW]), *([f"and such certificates of {more} more nodes"] if more > 0 else ())]


def _lapsed(one: NodeCertificates) -> str:
    named = ", ".join(map(_certificate, one.certificates[:MOST]))
    more = len(one.certificates) - MOST
    return f"{named} and {more} more (-o json lists all)" if more > 0 else named


def _certificate(one: Certificate) -> str:
    until = "" if one.not_after_ns is None else f" to {show_moment(one.not_after_ns)}"
    return visible(f"{one.subject or 'one'} in {one.path} ({show_moment(one.not_before_ns)}{until})")


def cluster_lines(state: ClusterState | None) -> list[str]:
    """Say what the Kubernetes cluster was at last, where its control plane is, and which Nodes do not work."""
    if state is None:
        return []
    where = [] if state.control_plane is ControlPlane.UNKNOWN else [WORDS[state.control_plane]]
    troubled = [one for one in state.nodes if one.state not in {Freshness.FRESH, Freshness.NO_NODE}]
    cordoned = [f"{name} stays cordoned: run clockstep kubernetes uncordon" for name in state.cordoned]
    return [_outcome(state), *where, *(f"{one.node}: {_node(one)}" for one in troubled), *cordoned]


def _outcome(state: ClusterState) -> str:
    words, waited = f"the Kubernetes cluster {WORDS[state.outcome]}", show_duration(state.waited_ns)
    match state.outcome:
        case ClusterOutcome.WORKS:
            fresh = [one for one in state.nodes if one.state is Freshness.FRESH]
            having = [one for one in state.nodes if one.name]
            return f"{words}: leases are fresh and Nodes Ready ({len(fresh)} of {len(having)}), after {waited}"
        case ClusterOutcome.LATE:
            return f"{words}, after {waited}"
        case ClusterOutcome.UNKNOWN if state.trouble:
            return f"{words} for {waited}, and the clocks do not depend on it: {_trouble(state.trouble)}"
        case _:
            return words


def _trouble(trouble: Trouble) -> str:
    return f"{trouble.text} ({trouble.remedy})" if trouble.remedy else trouble.text


def _node(one: ClusterNode) -> str:
    age_ns = one.lease_age_ns or 0
    return WORDS[one.state].format(age=show_duration(abs(age_ns)), ready=one.ready or "missing")
