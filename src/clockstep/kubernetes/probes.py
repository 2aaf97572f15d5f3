"""Calling webhooks through the API server, by requests that change nothing: what it makes of their certificates counts.

After cert-manager's cmapichecker (pkg/util/cmapichecker): an object is created with dryRun=All, which webhooks are sent
only if they declare that they have no side effects then. What is not created is one small object in `default`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from clockstep.errors import KubernetesError
from clockstep.kubernetes.fields import labels, mapping, mappings, text, texts
from clockstep.kubernetes.requests import Requests
from clockstep.kubernetes.resources import namespaced
from clockstep.model.damage import Endpoint, Probe
from clockstep.waiting import begun

NAMESPACE = "default"
MOST = 64
"""How many webhooks are called, all at once."""
ANSWERED = re.compile(r'admission webhook "([^"]*)" denied the request')
FAILED = re.compile(r'failed calling webhook "([^"]*)"')
FORBIDDEN = 403
CONTAINERS = {"containers": [{"name": "probe", "image": "probe"}]}
POD = {"metadata": {"labels": {"app": "clockstep-probe"}}, "spec": CONTAINERS}
SELECTED = {"selector": {"matchLabels": {"app": "clockstep-probe"}}, "template": POD}
ISSUER = {"secretName": "clockstep-probe", "dnsNames": ["clockstep.invalid"], "issuerRef": {"name": "none"}}
SAMPLES: Mapping[str, tuple[tuple[str, str, str], dict[str, Any]]] = {
    "configmaps": (("", "v1", "ConfigMap"), {}),
    "pods": (("", "v1", "Pod"), {"spec": CONTAINERS}),
    "services": (("", "v1", "Service"), {"spec": {"ports": [{"port": 1}]}}),
    "serviceaccounts": (("", "v1", "ServiceAccount"), {}),
    "deployments": (("apps", "v1", "Deployment"), {"spec": {"replicas": 0, **SELECTED}}),
    "certificates": (("cert-manager.io", "v1", "Certificate"), {"spec": ISSUER}),
    "issuers": (("cert-manager.io", "v1", "Issuer"), {"spec": {"selfSigned": {}}}),
}
"""Objects that are valid and small, by their plural: group, version and kind, and what they are beside a name."""
Ask = Callable[[str, Callable[[Requests], Any]], Any]


def sample_for(webhook: Mapping[str, Any]) -> tuple[str, dict[str, str], str]:
    """Return which object would be sent to a webhook, with its labels, or why there is none."""
    if text(webhook.get("sideEffects")) not in {"None", "NoneOnDryRun"}:
        return "", {}, "it has side effects"
    if webhook.get("failurePolicy") == "Ignore":
        return "", {}, "the API server ignores its failures"
    if webhook.get("matchConditions"):
        return "", {}, "it has conditions of its own"
    own = mapping(webhook.get("objectSelector"))
    wanted = labels(own.get("matchLabels"))
    if not (_selects(own, wanted) and _selects(mapping(webhook.get("namespaceSelector")), OF_NAMESPACE)):
        return "", {}, "its selectors leave out what may be created for it"
    found = next(_kinds(webhook), "")
    return found, wanted, "" if found else "it is sent nothing that may be created for it"


OF_NAMESPACE = {"kubernetes.io/metadata.name": NAMESPACE}


def _kinds(webhook: Mapping[str, Any]) -> Iterator[str]:
    for rule in mappings(webhook.get("rules")):
        asked = {key: set(texts(rule.get(key))) for key in ("operations", "apiGroups", "apiVersions", "resources")}
        if not asked["operations"] & {"CREATE", "*"} or rule.get("scope") == "Cluster":
            continue
        for plural, ((group, version, _), _) in SAMPLES.items():
            if (
                asked["apiGroups"] & {group, "*"}
                and asked["apiVersions"] & {version, "*"}
                and asked["resources"] & {plural, "*", "*/*"}
            ):
                yield plural


def _selects(selector: Mapping[str, Any], has: Mapping[str, str]) -> bool:
    """Whether a label selector selects what has these labels (LabelSelector of meta/v1)."""
    if any(has.get(key) != value for key, value in labels(selector.get("matchLabels")).items()):
        return False
    return all(_holds(one, has) for one in mappings(selector.get("matchExpressions")))


def _holds(expression: Mapping[str, Any], has: Mapping[str, str]) -> bool:
    key, values = text(expression.get("key")), texts(expression.get("values"))
    match expression.get("operator"):
        case "In":
            return has.get(key) in values
        case "NotIn":
            return has.get(key) not in values
        case "Exists":
            return key in has
        case "DoesNotExist":
            return key not in has
        case _:
            return False


def probes(ask: Ask, webhooks: Sequence[Endpoint]) -> tuple[Probe, ...]:
    """Call those webhooks that may be called, and return what came of each. Raises no KubernetesError."""
    called = [one for one in webhooks if one.sample][:MOST]
    begins = {(one.ref, one.name): begun(partial(_called, ask, one)) for one in called}
    return tuple(
        begins[one.ref, one.name].result()
        if (one.ref, one.name) in begins
        else Probe(one.ref, one.name, skipped=one.unprobed or f"only {MOST} are called")
        for one in webhooks
    )


def _called(ask: Ask, webhook: Endpoint) -> Probe:
    try:
        ask(f"create {webhook.sample} in {NAMESPACE}, as a dry run", partial(_create, webhook))
    except KubernetesError as error:
        return _failed(webhook, error)
    return Probe(webhook.ref, webhook.name)


def _create(webhook: Endpoint, requests: Requests) -> None:
    (group, version, kind), body = SAMPLES[webhook.sample]
    metadata: Any = {"generateName": "clockstep-probe-", "namespace": NAMESPACE, "labels": dict(webhook.sample_labels)}
    resource = namespaced(group, version, kind)
    requests.create_nothing(resource(metadata=metadata, **body), NAMESPACE)


def _failed(webhook: Endpoint, error: KubernetesError) -> Probe:
    """Return what a refusal says of a webhook: it may be another one's."""
    named = FAILED.search(error.message) or ANSWERED.search(error.message)
    if named is None or named[1] != webhook.name:
        return Probe(webhook.ref, webhook.name, skipped=error.message)
    denied = ANSWERED.search(error.message)
    return Probe(webhook.ref, webhook.name, trouble="" if denied else error.message)
