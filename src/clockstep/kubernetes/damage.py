"""Objects of a cluster as the checks of the aftermath need them: bounded, and no more of them than that."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.kubernetes.certificates import bundle
from clockstep.kubernetes.fields import LONGEST_TEXT, labels, mapping, mappings, moment, text
from clockstep.kubernetes.probes import sample_for
from clockstep.model import KubeRef
from clockstep.model.damage import (
    Ceph,
    Claim,
    CronJob,
    Endpoint,
    KubeHappening,
    KubeJob,
    KubeLease,
    KubePod,
    KubeService,
    KubeWorkload,
    Renewal,
    StorageClass,
    Waiting,
)
from clockstep.units import SECOND_NS

Object = dict[str, Any]
RESTARTED = "clockstep.io/restarted-at"
"""The annotation of a pod template that clockstep has restarted, with the moment in nanoseconds since 1970."""
MIRROR = "kubernetes.io/config.mirror"
HTTPS = 443


def ref_of(found: Object, kind: str) -> KubeRef:
    """Return the name of an object of this kind."""
    metadata = mapping(found.get("metadata"))
    return KubeRef(kind, text(metadata.get("name")), text(metadata.get("namespace")))


def _owner(found: Object) -> KubeRef | None:
    metadata = mapping(found.get("metadata"))
    for one in mappings(metadata.get("ownerReferences")):
        if one.get("controller") is True:
            return KubeRef(text(one.get("kind")), text(one.get("name")), text(metadata.get("namespace")))
    return None


def pod(found: Object, ref: KubeRef) -> KubePod | None:
    """Return a pod; None of one that has ended."""
    metadata, spec, status = (mapping(found.get(key)) for key in ("metadata", "spec", "status"))
    if text(status.get("phase")) in {"Succeeded", "Failed"}:
        return None
    states = [one for kind in ("containerStatuses", "initContainerStatuses") for one in mappings(status.get(kind))]
    started = [at for one in states if (at := moment(_state(one, "running").get("startedAt")))]
    return KubePod(
        ref,
        text(metadata.get("uid")),
        text(spec.get("nodeName")),
        labels(metadata.get("labels")),
        _owner(found),
        MIRROR in mapping(metadata.get("annotations")),
        _condition(found, "Ready").get("status") == "True",
        bool(metadata.get("deletionTimestamp")),
        moment(metadata.get("creationTimestamp")),
        max(started, default=None),
        tuple(_waiting(states)),
        tuple(_mounted(spec)),
    )


def _state(status: Any, kind: str) -> Any:
    return mapping(mapping(status.get("state")).get(kind))


def _waiting(states: list[Any]) -> Iterator[Waiting]:
    for one in states:
        if why := _state(one, "waiting"):
            yield Waiting(text(one.get("name")), text(why.get("reason")), text(why.get("message"), LONGEST_TEXT))


def _mounted(spec: Any) -> Iterator[str]:
    """Give the names of the Secrets that a pod mounts, alone or in a projected volume."""
    for volume in mappings(spec.get("volumes")):
        if name := text(mapping(volume.get("secret")).get("secretName")):
            yield name
        for source in mappings(mapping(volume.get("projected")).get("sources")):
            if name := text(mapping(source.get("secret")).get("name")):
                yield name


def _condition(found: Object, kind: str) -> Any:
    conditions = mappings(mapping(found.get("status")).get("conditions"))
    return next((one for one in conditions if one.get("type") == kind), {})


def workload(found: Object, ref: KubeRef) -> KubeWorkload:
    """Return a Deployment, StatefulSet or DaemonSet."""
    spec, status = mapping(found.get("spec")), mapping(found.get("status"))
    template = mapping(mapping(spec.get("template")).get("metadata"))
    at = text(mapping(template.get("annotations")).get(RESTARTED))
    return KubeWorkload(
        ref,
        _owner(found),
        spec.get("paused") is True,
        _settled(mapping(found.get("metadata")).get("generation"), spec, status),
        understood(lambda said: bounded(int(said)), at),
        text(mapping(found.get("metadata")).get("uid")),
    )


def _settled(generation: object, spec: Any, status: Any) -> bool:
    """Whether all pods are of the present template and ready, as `kubectl rollout status` sees it."""
    wanted = status.get("desiredNumberScheduled", spec.get("replicas", 1))
    updated = status.get("updatedReplicas", status.get("updatedNumberScheduled", 0))
    ready = status.get("readyReplicas", status.get("numberReady", 0))
    return bool(status.get("observedGeneration", generation) == generation and updated == ready == wanted)


def service(found: Object, ref: KubeRef) -> KubeService:
    """Return a Service; one without an address in the cluster has none."""
    spec = mapping(found.get("spec"))
    address = text(spec.get("clusterIP"))
    return KubeService(ref, labels(spec.get("selector")), "" if address == "None" else address)


def webhooks(found: Object, ref: KubeRef) -> Iterator[Endpoint]:
    """Give the webhooks of a configuration."""
    for one in mappings(found.get("webhooks")):
        config = mapping(one.get("clientConfig"))
        called, port = _service(config.get("service"))
        url = "" if called else text(config.get("url"), LONGEST_TEXT).partition("?")[0]  # it may have a token in it
        sample, wanted, why = sample_for(one)
        made = Endpoint(ref, text(one.get("name")), called, port, url, _authorities(config))
        yield replace(made, sample=sample, sample_labels=wanted, unprobed=why)


def apiservice(found: Object, ref: KubeRef) -> Endpoint | None:
    """Return an APIService; None of one that the API server answers itself."""
    spec, said = mapping(found.get("spec")), _condition(found, "Available")
    called, port = _service(spec.get("service"))
    if called is None:
        return None
    message = ": ".join(filter(None, (text(said.get("reason")), text(said.get("message"), LONGEST_TEXT))))
    available, changed_ns = said.get("status") == "True", moment(said.get("lastTransitionTime"))
    return Endpoint(ref, ref.name, called, port, "", _authorities(spec), available, message, changed_ns)


def _service(found: object) -> tuple[KubeRef | None, int]:
    named = mapping(found)
    name, port = text(named.get("name")), named.get("port")
    ref = KubeRef("Service", name, text(named.get("namespace"))) if name else None
    return ref, port if isinstance(port, int) and 0 < port < 1 << 16 else HTTPS


def _authorities(config: Any) -> tuple[Any, ...]:
    return tuple(one for one, _ in bundle(config.get("caBundle"), "caBundle"))


def renewal(found: Object, ref: KubeRef) -> Renewal:
    """Return a Certificate of cert-manager."""
    status, issuing = mapping(found.get("status")), _condition(found, "Issuing")
    failed = f"last failed at {text(status.get('lastFailureTime'))}" if status.get("lastFailureTime") else ""
    return Renewal(
        ref,
        text(mapping(found.get("spec")).get("secretName")),
        moment(status.get("renewalTime")),
        moment(status.get("notAfter")),
        issuing.get("status") == "True",
        failed,
    )


def lease(found: Object, ref: KubeRef) -> KubeLease:
    """Return a Lease by which somebody leads."""
    spec = mapping(found.get("spec"))
    return KubeLease(ref, text(spec.get("holderIdentity")), moment(spec.get("renewTime")))


def cron_job(found: Object, ref: KubeRef) -> CronJob:
    """Return a CronJob."""
    suspended = mapping(found.get("spec")).get("suspend") is True
    return CronJob(ref, moment(mapping(found.get("status")).get("lastScheduleTime")), suspended)


def job(found: Object, ref: KubeRef) -> KubeJob | None:
    """Return a Job with a deadline that runs, or was ended by it; None of any other."""
    spec, status = mapping(found.get("spec")), mapping(found.get("status"))
    started_ns, seconds = moment(status.get("startTime")), spec.get("activeDeadlineSeconds")
    lasts_ns = understood(lambda said: bounded(int(said) * SECOND_NS), str(seconds))
    if started_ns is None or lasts_ns is None or _condition(found, "Complete").get("status") == "True":
        return None
    failed = _condition(found, "Failed")
    if failed.get("status") != "True":
        return None if spec.get("suspend") is True else KubeJob(ref, started_ns, lasts_ns, None, _owner(found))
    failed_ns = moment(failed.get("lastTransitionTime"))
    if failed.get("reason") != "DeadlineExceeded" or failed_ns is None:
        return None
    return KubeJob(ref, started_ns, lasts_ns, failed_ns, _owner(found))


SELECTED = "volume.kubernetes.io/selected-node"
"""The annotation by which the scheduler tells a provisioner that a pod needs the volume, and where."""


def claim(found: Object, ref: KubeRef) -> Claim | None:
    """Return a claim that a volume is to be made for; None of one that has one, or names one that it waits for."""
    metadata, spec = mapping(found.get("metadata")), mapping(found.get("spec"))
    if text(mapping(found.get("status")).get("phase")) != "Pending" or metadata.get("deletionTimestamp"):
        return None
    if spec.get("volumeName"):
        return None
    placed = bool(mapping(metadata.get("annotations")).get(SELECTED))
    return Claim(ref, text(spec.get("storageClassName")), placed, moment(metadata.get("creationTimestamp")))


def storage_class(found: Object, ref: KubeRef) -> StorageClass:
    """Return a StorageClass."""
    return StorageClass(
        ref, text(found.get("provisioner")), waits=found.get("volumeBindingMode") == "WaitForFirstConsumer"
    )


def ceph(found: Object, ref: KubeRef) -> Ceph:
    """Return a CephCluster's health."""
    status = mapping(mapping(found.get("status")).get("ceph"))
    details = {
        text(name): text(mapping(one).get("message"), LONGEST_TEXT)
        for name, one in list(mapping(status.get("details")).items())[:MOST_DETAILS]
    }
    return Ceph(ref, text(status.get("health")), details, moment(status.get("lastChecked")))


MOST_DETAILS = 50


def happening(found: Object, _ref: KubeRef) -> KubeHappening:
    """Return an Event; of one that repeats, when it did last."""
    on, series = mapping(found.get("involvedObject")), mapping(found.get("series"))
    last = next(filter(None, (found.get("lastTimestamp"), series.get("lastObservedTime"), found.get("eventTime"))), "")
    return KubeHappening(
        KubeRef(text(on.get("kind")), text(on.get("name")), text(on.get("namespace"))),
        text(found.get("reason")),
        text(found.get("message"), LONGEST_TEXT),
        moment(last),
    )
