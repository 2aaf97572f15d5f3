"""Nodes and Leases, from the objects that an API server gives: whatever they have in them is bounded."""

from collections.abc import Iterator, Mapping
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.kubernetes.fields import LONGEST, LONGEST_TEXT, MOST, mapping, mappings, moment, text
from clockstep.model import CLOCK_PROBLEM, KubeCondition, KubeNode
from clockstep.units import SECOND_NS

CORDONED = "clockstep.io/cordoned"
"""The annotation with the mark of whoever cordoned a Node."""
ROLE = "node-role.kubernetes.io/"
OLD_ROLE = "kubernetes.io/role"
Lease = tuple[int | None, int | None]
"""When it was renewed, and for how long that counts; in nanoseconds, None if that cannot be read."""
UNKNOWN: Lease = (None, None)
NONE: Mapping[str, Lease] = {}


def read_node(found: Mapping[str, Any], leases: Mapping[str, Lease] = NONE, lease_trouble: str = "") -> KubeNode:
    """Return a Node, as far as it can be read, with its lease; one without a name has an empty one."""
    metadata, status = mapping(found.get("metadata")), mapping(found.get("status"))
    name = text(metadata.get("name"), LONGEST)
    renewed_ns, lease_ns = leases.get(name, UNKNOWN)
    labels = tuple(_labels(mapping(metadata.get("labels"))))
    return KubeNode(
        name=name,
        uid=text(metadata.get("uid"), LONGEST),
        system_uuid=text(mapping(status.get("nodeInfo")).get("systemUUID"), LONGEST).lower(),
        ready=read_condition(found, "Ready"),
        roles=tuple(_roles(labels)),
        labels=labels,
        addresses=tuple(text(one.get("address"), LONGEST) for one in mappings(status.get("addresses"))),
        version=text(mapping(status.get("nodeInfo")).get("kubeletVersion"), LONGEST),
        unschedulable=mapping(found.get("spec")).get("unschedulable") is True,
        cordoned_by=text(mapping(metadata.get("annotations")).get(CORDONED), LONGEST_TEXT),
        renewed_ns=renewed_ns,
        lease_ns=lease_ns,
        problem=read_condition(found, CLOCK_PROBLEM),
        lease_trouble=lease_trouble,
    )


def read_version(found: Mapping[str, Any]) -> str:
    """Return which version of itself an object is; a change that names it is refused once there is a newer one."""
    return text(mapping(found.get("metadata")).get("resourceVersion"), LONGEST)


def read_condition(node: Mapping[str, Any], kind: str) -> KubeCondition | None:
    """Return a Node's condition of this type; None if it has none."""
    for one in mappings(mapping(node.get("status")).get("conditions")):
        if one.get("type") == kind:
            return KubeCondition(
                text(one.get("status"), LONGEST),
                text(one.get("reason"), LONGEST_TEXT),
                text(one.get("message"), LONGEST_TEXT),
                moment(one.get("lastHeartbeatTime")),
                moment(one.get("lastTransitionTime")),
            )
    return None


def read_lease(found: Mapping[str, Any]) -> tuple[str, Lease]:
    """Return a Lease with its name, which is its Node's."""
    spec, seconds = mapping(found.get("spec")), mapping(found.get("spec")).get("leaseDurationSeconds")
    lasts_ns = understood(lambda said: bounded(int(said) * SECOND_NS), str(seconds))
    return text(mapping(found.get("metadata")).get("name"), LONGEST), (moment(spec.get("renewTime")), lasts_ns)


def _labels(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, (key, value) in zip(range(MOST), sorted(found.items()), strict=False):
        yield text(key, 2 * LONGEST), text(value, LONGEST)


def _roles(labels: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Give the roles of a Node as kubectl prints them: by two kinds of labels."""
    for key, value in labels:
        if key.startswith(ROLE) and key != ROLE:
            yield key.removeprefix(ROLE)
        elif key == OLD_ROLE and value:
            yield value
