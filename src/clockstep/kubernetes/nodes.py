"""Nodes and Leases, from the objects that an API server gives: whatever they have in them is bounded."""

from collections.abc import Iterator, Mapping
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.kubernetes.times import moment_ns
from clockstep.model import CLOCK_PROBLEM, KubeCondition, KubeNode
from clockstep.units import SECOND_NS

CORDONED = "clockstep.io/cordoned"
"""The annotation with the mark of whoever cordoned a Node."""
ROLE = "node-role.kubernetes.io/"
OLD_ROLE = "kubernetes.io/role"
LONGEST, LONGEST_TEXT = 253, 1024
"""Characters of a name, and of a text that is one line."""
MOST = 200
"""How many conditions, labels and addresses are read of a Node."""
Lease = tuple[int | None, int | None]
"""When it was renewed, and for how long that counts; in nanoseconds, None if that cannot be read."""
UNKNOWN: Lease = (None, None)
NONE: Mapping[str, Lease] = {}


def read_node(found: Mapping[str, Any], leases: Mapping[str, Lease] = NONE, lease_trouble: str = "") -> KubeNode:
    """Return a Node, as far as it can be read, with its lease; one without a name has an empty one."""
    metadata, status = _mapping(found.get("metadata")), _mapping(found.get("status"))
    name = _text(metadata.get("name"), LONGEST)
    renewed_ns, lease_ns = leases.get(name, UNKNOWN)
    labels = tuple(_labels(_mapping(metadata.get("labels"))))
    return KubeNode(
        name=name,
        uid=_text(metadata.get("uid"), LONGEST),
        system_uuid=_text(_mapping(status.get("nodeInfo")).get("systemUUID"), LONGEST).lower(),
        ready=read_condition(found, "Ready"),
        roles=tuple(_roles(labels)),
        labels=labels,
        addresses=tuple(_text(one.get("address"), LONGEST) for one in _mappings(status.get("addresses"))),
        version=_text(_mapping(status.get("nodeInfo")).get("kubeletVersion"), LONGEST),
        unschedulable=_mapping(found.get("spec")).get("unschedulable") is True,
        cordoned_by=_text(_mapping(metadata.get("annotations")).get(CORDONED), LONGEST_TEXT),
        renewed_ns=renewed_ns,
        lease_ns=lease_ns,
        problem=read_condition(found, CLOCK_PROBLEM),
        lease_trouble=lease_trouble,
    )


def read_condition(node: Mapping[str, Any], kind: str) -> KubeCondition | None:
    """Return a Node's condition of this type; None if it has none."""
    for one in _mappings(_mapping(node.get("status")).get("conditions")):
        if one.get("type") == kind:
            return KubeCondition(
                _text(one.get("status"), LONGEST),
                _text(one.get("reason"), LONGEST_TEXT),
                _text(one.get("message"), LONGEST_TEXT),
                _moment(one.get("lastHeartbeatTime")),
                _moment(one.get("lastTransitionTime")),
            )
    return None


def read_lease(found: Mapping[str, Any]) -> tuple[str, Lease]:
    """Return a Lease with its name, which is its Node's."""
    spec, seconds = _mapping(found.get("spec")), _mapping(found.get("spec")).get("leaseDurationSeconds")
    lasts_ns = understood(lambda text: bounded(int(text) * SECOND_NS), str(seconds))
    return _text(_mapping(found.get("metadata")).get("name"), LONGEST), (_moment(spec.get("renewTime")), lasts_ns)


def _labels(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, (key, value) in zip(range(MOST), sorted(found.items()), strict=False):
        yield _text(key, 2 * LONGEST), _text(value, LONGEST)


def _roles(labels: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Give the roles of a Node as kubectl prints them: by two kinds of labels."""
    for key, value in labels:
        if key.startswith(ROLE) and key != ROLE:
            yield key.removeprefix(ROLE)
        elif key == OLD_ROLE and value:
            yield value


def _moment(found: object) -> int | None:
    return understood(moment_ns, found) if isinstance(found, str) else None


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _mappings(found: object) -> list[Mapping[str, Any]]:
    return [one for one in found[:MOST] if isinstance(one, dict)] if isinstance(found, list) else []


def _text(found: object, longest: int) -> str:
    return found[:longest] if isinstance(found, str) else ""
