"""What is read of Nodes and Leases: whatever is in them, it is a record, and bounded."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.kubernetes.fields import LONGEST_TEXT, MOST
from clockstep.kubernetes.nodes import CORDONED, read_condition, read_lease, read_node
from clockstep.kubernetes.times import moment_ns, text_of
from clockstep.model import CLOCK_PROBLEM, KubeCondition

KEYS = (
    "metadata status spec name uid labels annotations nodeInfo systemUUID kubeletVersion conditions type Ready "
    "reason message lastHeartbeatTime lastTransitionTime addresses address unschedulable renewTime leaseDurationSeconds"
).split()
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["Ready", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)
OBJECT = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)


def texts(found: object) -> list[str]:
    """All texts in a record."""
    if isinstance(found, str):
        return [found]
    if isinstance(found, tuple):
        return [text for one in found for text in texts(one)]
    if isinstance(found, KubeCondition):
        return [text for one in fields(found) for text in texts(getattr(found, one.name))]
    return []


@given(OBJECT)
def test_any_object_is_a_node_whose_texts_and_numbers_are_bounded(found: dict[str, Any]) -> None:
    node = read_node(found)
    values = [getattr(node, one.name) for one in fields(node)]
    assert all(len(text) <= LONGEST_TEXT for value in values for text in texts(value))
    assert max(len(node.labels), len(node.addresses)) <= MOST
    name, (renewed_ns, lasts_ns) = read_lease(found)
    assert isinstance(name, str)
    assert all(number is None or abs(number) < 2**63 for number in (renewed_ns, lasts_ns))


def test_a_node_is_read_with_all_that_is_shown() -> None:
    at = "2026-11-30T12:00:00Z"
    condition = {"status": "True", "reason": "R", "message": "m", "lastHeartbeatTime": at, "lastTransitionTime": at}
    labels = {"node-role.kubernetes.io/etcd": "", "node-role.kubernetes.io/": "", "kubernetes.io/role": "old", "a": "b"}
    node = read_node(
        {
            "metadata": {"name": "w", "uid": "u", "labels": labels, "annotations": {CORDONED: "mark"}},
            "spec": {"unschedulable": True},
            "status": {
                "nodeInfo": {"systemUUID": "ABC", "kubeletVersion": "v1.36.1"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "conditions": [condition | {"type": "Ready"}, condition | {"type": CLOCK_PROBLEM, "status": "Unknown"}],
            },
        },
        {"w": (5, 40)},
    )
    at_ns = moment_ns(at)
    assert node.ready == KubeCondition("True", "R", "m", at_ns, at_ns)
    assert node.problem and node.problem.status == "Unknown"
    assert node.roles == ("old", "etcd")
    assert (node.system_uuid, node.version, node.addresses) == ("abc", "v1.36.1", ("10.0.0.1",))
    assert (node.unschedulable, node.cordoned_by, node.renewed_ns, node.lease_ns) == (True, "mark", 5, 40)
    assert read_condition({}, "Ready") is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_a_time_is_read_as_kubernetes_writes_it(at: datetime) -> None:
    whole = at.replace(microsecond=0)
    expected_ns = (whole - datetime(1970, 1, 1)) // timedelta(seconds=1) * 10**9
    assert moment_ns(f"{whole:%Y-%m-%dT%H:%M:%SZ}") == expected_ns
    assert text_of(expected_ns + 999_999_999) == f"{whole:%Y-%m-%dT%H:%M:%SZ}"
    assert moment_ns(f"{at:%Y-%m-%dT%H:%M:%S.%fZ}") == expected_ns + at.microsecond * 1000
    assert moment_ns(at.replace(tzinfo=UTC).astimezone().isoformat()) == expected_ns + at.microsecond * 1000


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-30T12:00:00", "2026-13-30T12:00:00Z", "2026-11-30T12:00:00.123456789Z+"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_lease({"spec": {"renewTime": text}})[1] == (None, None)
    assert read_lease({"spec": {"renewTime": "9999-12-31T00:00:00Z"}})[1] == (None, None)
