"""What is read of a cluster for the aftermath: whatever is in its objects, it is bounded, and costs only itself."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clockstep.core.aftermath.every import CHECKS
from clockstep.kubernetes import damage
from clockstep.kubernetes import gather as gathering
from clockstep.kubernetes.certificates import MOST_AUTHORITIES, bundle, secret, signing_request
from clockstep.kubernetes.fields import LONGEST_TEXT, MOST
from clockstep.kubernetes.gather import KINDS
from clockstep.kubernetes.probes import SAMPLES, sample_for
from clockstep.model import KubeRef
from clockstep.model.damage import Input, Seen, Unread
from pki import pem

KEYS = (
    "metadata status spec name namespace uid labels annotations ownerReferences controller kind conditions type phase "
    "reason message lastTransitionTime containerStatuses state waiting running startedAt volumes secret secretName "
    "projected sources paused template replicas selector clusterIP webhooks clientConfig service port url caBundle "
    "rules operations apiGroups resources namespaceSelector matchLabels matchExpressions sideEffects data request "
    "usages groups renewalTime notAfter holderIdentity renewTime lastScheduleTime ceph details health involvedObject "
    "lastTimestamp activeDeadlineSeconds startTime suspend storageClassName provisioner volumeBindingMode"
).split()
ODD = [
    "True",
    "9" * 5000,
    "2026-11-30T12:00:00Z",
    "0001-01-01T00:00:00Z",
    "MIIB",
    "-----BEGIN CERTIFICATE-----",
    "None",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)
OBJECT = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)
NOT_DEFAULT = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["default"]}


def refuse_unbounded(found: Any) -> None:
    """Fail for a text, a number or a list in a record that is longer than any may be."""
    if isinstance(found, str):
        assert len(found) <= LONGEST_TEXT
    elif isinstance(found, int):
        assert abs(found) < 2**63
    elif isinstance(found, tuple | dict):
        assert len(found) <= 2 * MOST
        for one in found.items() if isinstance(found, dict) else found:
            refuse_unbounded(one)
    elif is_dataclass(found):
        for one in fields(found):
            refuse_unbounded(getattr(found, one.name))


@given(OBJECT)
@example({"webhooks": [{"sideEffects": []}]})
@example({"status": {"phase": {}}})
def test_any_object_is_a_record_that_is_bounded_and_that_every_check_can_look_at(found: dict[str, Any]) -> None:
    records: dict[str, tuple[Any, ...]] = {}
    for one, kinds in KINDS.items():
        read = [kind.reader(found, damage.ref_of(found, kind.name)) for kind in kinds]
        made = [inner for record in read for inner in (record if hasattr(record, "__next__") else [record]) if inner]
        refuse_unbounded(tuple(made))
        records[one.value.replace("-", "_")] = tuple(made)
    changes: Any = records
    seen = Seen(1_800_000_000 * 10**9, **changes)
    for check in CHECKS:
        for broken in check.find(seen):
            assert broken.code == check.code


@pytest.mark.parametrize(
    ("spec", "phase", "waits"),
    [
        ({"storageClassName": "block"}, "Pending", True),
        ({"storageClassName": "block", "volumeName": "mine"}, "Pending", False),
        ({"storageClassName": "block", "volumeName": "pvc-1"}, "Bound", False),
    ],
)
def test_a_claim_waits_for_a_provisioner_unless_it_names_its_volume(
    spec: dict[str, Any], phase: str, waits: bool
) -> None:
    ref = KubeRef("PersistentVolumeClaim", "data", "shop")
    assert bool(damage.claim({"spec": spec, "status": {"phase": phase}}, ref)) == waits


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


GOOD = pem("webhook", 1_700_000_000, 1_800_000_000)


@pytest.mark.parametrize(
    "text", ["", "!", "\ud800", encoded(b"\xff" * 100), encoded("x" * 10**6), encoded(GOOD[:200]), encoded("A" * 3)]
)
def test_a_secret_that_is_garbage_has_no_certificate(text: str) -> None:
    assert secret({"data": {"tls.crt": text}}, KubeRef("Secret", "x", "y")) is None


def test_of_a_secret_only_the_certificate_is_read() -> None:
    data = {"tls.crt": encoded(GOOD), "tls.key": encoded("the key"), "other": encoded("x")}
    kept = secret({"data": data}, KubeRef("Secret", "x", "y"))
    assert kept and kept.certificate.subject == "webhook"
    assert "the key" not in repr(kept) and encoded("the key") not in repr(kept)


def test_a_bundle_of_very_many_is_cut() -> None:
    assert len(bundle(encoded(GOOD * (MOST_AUTHORITIES + 3)), "x")) == MOST_AUTHORITIES


@pytest.mark.parametrize("text", ["", "!", encoded("garbage"), encoded(GOOD), "A" * 300_000])
def test_a_request_that_cannot_be_read_says_so_and_is_no_error(text: str) -> None:
    found = signing_request({"spec": {"request": text}}, KubeRef("CertificateSigningRequest", "x"))
    assert found and found.trouble and not found.signed


@pytest.mark.parametrize(
    ("changes", "sample"),
    [
        ({}, "configmaps"),
        (
            {"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]},
            "configmaps",
        ),
        ({"rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}, ""),
        ({"sideEffects": "Some"}, ""),
        ({"sideEffects": None}, ""),
        ({"failurePolicy": "Ignore"}, ""),
        ({"matchConditions": [{"name": "x", "expression": "false"}]}, ""),
        ({"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}, ""),
        ({"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}, "configmaps"),
        ({"namespaceSelector": {"matchExpressions": [NOT_DEFAULT]}}, ""),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, "configmaps"),
        ({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}, ""),
    ],
)
def test_a_webhook_is_called_only_where_it_would_be_and_by_what_changes_nothing(
    changes: dict[str, Any], sample: str
) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    found, labels, why = sample_for({"sideEffects": "None", "rules": [rule], **changes})
    assert (found, bool(why)) == (sample, not sample)
    assert not found or found in SAMPLES
    assert labels == changes.get("objectSelector", {}).get("matchLabels", {})


@pytest.mark.parametrize(("most", "unread"), [(3, {}), (2, {Input.PODS: Unread("there are more than 2 pods")})])
def test_of_more_objects_than_are_read_nothing_is_called_clean(
    monkeypatch: pytest.MonkeyPatch, most: int, unread: dict[Input, Unread]
) -> None:
    class Pods:
        def all(self, resource: object, fields: object) -> Iterator[dict[str, Any]]:
            return ({"metadata": {"name": f"pod-{number}", "namespace": "shop"}} for number in range(3))

    def ask(_what: str, job: Callable[[Any], Any]) -> Any:
        return job(Pods())

    monkeypatch.setattr(gathering, "MOST", most)
    found = gathering.gather(ask, [Input.PODS])
    assert found.unread == unread
    assert len(found.fields.get("pods", ())) == (0 if unread else 3)
