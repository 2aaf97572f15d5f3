"""Which certificates a revert brings back that are no longer valid, or not yet. Pure.

A snapshot keeps the certificates that its node had. After a revert the clock is of today, and they are of then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clockstep.model import Certificate, Guest, NodeCertificates, Snapshot
from clockstep.units import DAY_NS, show_duration

MOST, LONGEST = 48, 128
"""How many certificates of a node are recorded, the kubelet's first, and how long their names and paths may be."""
GUESSED_NS = 30 * DAY_NS
"""From which age on a snapshot without a record may have some that lapsed: a kubelet renews its own, and cert-manager
others, when as little as that is left."""


def limited(certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return certificates that somebody else may have written, bounded in number and length."""
    return tuple(replace(one, path=one.path[:LONGEST], subject=one.subject[:LONGEST]) for one in certificates[:MOST])


def is_valid(certificate: Certificate, at_ns: int) -> bool:
    """Whether a certificate is valid at that moment; RFC 5280 counts both ends in."""
    end_ns = certificate.not_after_ns
    return certificate.not_before_ns <= at_ns and (end_ns is None or at_ns <= end_ns)


def lapsed(snapshots: Mapping[Guest, Snapshot], at_ns: int) -> tuple[NodeCertificates, ...]:
    """Return the recorded certificates that are not valid at that moment, of the nodes that have any."""
    found = {
        guest.name: tuple(one for one in snapshot.certificates or () if not is_valid(one, at_ns))
        for guest, snapshot in snapshots.items()
    }
    return tuple(NodeCertificates(node, lapsed) for node, lapsed in found.items() if lapsed)


def guessed(snapshots: Mapping[Guest, Snapshot], at_ns: int) -> list[str]:
    """Return what the age alone lets one guess, in a sentence, of snapshots whose certificates were not recorded."""
    unknown = {
        guest.name: age_ns
        for guest, snapshot in snapshots.items()
        if snapshot.certificates is None and (age_ns := at_ns - snapshot.created_ns) >= GUESSED_NS
    }
    if not unknown:
        return []
    age = show_duration(max(unknown.values()))
    return [f"{', '.join(unknown)}: certificates were not recorded; after {age} some may have expired (a guess by age)"]
