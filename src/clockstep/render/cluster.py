"""What the commands that end with a working cluster say of it: what has lapsed, and how its nodes are."""

from collections.abc import Sequence

from clockstep.errors import visible
from clockstep.model import Certificate, NodeCertificates
from clockstep.units import show_moment

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
