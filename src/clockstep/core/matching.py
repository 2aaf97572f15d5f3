"""Which machine is which Node of a Kubernetes cluster: by the UUID that a machine's firmware shows. Pure.

A kubelet reports it as `status.nodeInfo.systemUUID`, and some firmware shows the first three fields of a UUID in the
other byte order (SMBIOS 2.6 and newer, 7.2.1). So a UUID and itself in that order are one here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from clockstep.model import Guest, KubeNode

ALL_ONES = 2**128 - 1


@dataclass(frozen=True, slots=True)
class Matching:
    """Which machine is which Node, by the machine's key, and what is left over.

    `doubtful` are Nodes that are matched to none, because it is open which machine they are: two of them have one UUID,
    or two machines have it that are not one machine by two connections.
    """

    by_key: Mapping[tuple[str, str], KubeNode]
    machineless: tuple[KubeNode, ...] = ()
    doubtful: tuple[KubeNode, ...] = ()

    def node_of(self, guest: Guest) -> KubeNode | None:
        """Return the Node that a machine is; None if it is none."""
        return self.by_key.get(guest.key)


def match(guests: Iterable[Guest], nodes: Sequence[KubeNode]) -> Matching:
    """Return which machine is which Node. One that several connections list is the same Node by each of them."""
    of_nodes = [(identity(node.system_uuid), node) for node in nodes]
    of_guests = {guest.key: identity(guest.uuid) for guest in guests}
    spelled = {(key, uuid.lower()) for (_, uuid), key in of_guests.items()}
    doubted = _repeated(key for key, _ in of_nodes) | _repeated(key for key, _ in spelled)
    known = {key: node for key, node in of_nodes if key and key not in doubted}
    return Matching(
        {one: known[key] for one, key in of_guests.items() if key in known},
        tuple(node for key, node in of_nodes if not key or key not in doubted.union(of_guests.values())),
        tuple(node for key, node in of_nodes if key in doubted),
    )


def identity(uuid: str) -> str:
    """Return what a UUID has in common with itself in the other byte order; empty for what identifies nothing.

    That is what is no UUID, and zeros or ones, which firmware shows that has none (SMBIOS 7.2.1).
    """
    try:
        found = UUID(uuid)
    except ValueError:
        return ""
    if found.int in {0, ALL_ONES}:
        return ""
    return min(found.hex, UUID(bytes=found.bytes_le).hex)


def _repeated(keys: Iterable[str]) -> set[str]:
    return {key for key, count in Counter(keys).items() if key and count > 1}
