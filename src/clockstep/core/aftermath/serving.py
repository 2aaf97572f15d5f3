"""What webhooks and APIServices serve has lapsed, or is not yet valid, so the API server does not call them.

The certificate lives in a process whose renewal timer stood still with the machine (cert-manager #6341, cri-o #8033,
distroless #1281, gatekeeper #2477, istio #17718). A restart of the workload behind the Service makes or reads a new one
(cert-manager website #2181).
"""

from collections.abc import Iterator
from dataclasses import replace

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import rollout_restart
from clockstep.core.aftermath.objects import behind, called, dates, lapse, restart, since
from clockstep.core.certificates import is_valid
from clockstep.model import Act, Broken, Certificate, KubeRef
from clockstep.model.damage import Endpoint, Input, KubePod, Probe, Seen
from clockstep.units import SECOND_NS

CODE = "CS-SERVING"
REFUSED = ("certificate has expired or is not yet valid", "x509: certificate signed by unknown authority")
"""As Go's crypto/x509 says it."""
CERT_MANAGER = "cert-manager"
ENDED = "is after"
"""In the same words, of a certificate that has expired."""
RISK = "calls of it fail while its pods start"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Services, or webhooks by URL, whose certificate the API server refuses: each one once."""
    callers = {(one.ref, one.name): one for one in seen.webhooks}
    found: dict[KubeRef, Broken] = {}
    for served in seen.served:
        if served.certificate and not is_valid(served.certificate, seen.now_ns):
            text = f"the certificate that it serves {_what(served.certificate, seen.now_ns)}"
            began_ns = since(served.certificate, seen.now_ns)
            broken = _broken(seen, served.service, text, dates(served.certificate), began_ns)
            found[served.service] = _lasting(seen, broken) if began_ns else broken
    for probe in seen.probes:
        caller = callers.get((probe.ref, probe.name))
        if caller and _is_refused(probe):
            on = caller.service or caller.ref
            text = f"the API server refuses the certificate of the webhook {caller.name}"
            broken = _broken(seen, on, text, probe.trouble, None)
            found.setdefault(on, _lasting(seen, broken) if ENDED in probe.trouble else broken)
    yield from found.values()


def _is_refused(probe: Probe) -> bool:
    """Whether the API server has refused the webhook's certificate."""
    return any(word in probe.trouble for word in REFUSED)


def _lasting(seen: Seen, broken: Broken) -> Broken:
    """Say of a certificate that has expired whether what serves it may take another one by itself."""
    pods = behind(seen, broken.on)
    return replace(broken, lasting=bool(pods) and not any(_renews(seen, pod) for pod in pods))


def _renews(seen: Seen, pod: KubePod) -> bool:
    """Whether a pod may: one of cert-manager makes a new one (from 1.21 on), and one that mounts a TLS Secret may read
    what that has by then. Where Secrets could not be read, any that it mounts may be one.
    """
    if CERT_MANAGER in {*pod.labels.values(), pod.ref.namespace}:
        return True
    secrets = {KubeRef("Secret", name, pod.ref.namespace) for name in pod.secrets}
    return bool(secrets) if Input.SECRETS in seen.unread else any(one.ref in secrets for one in seen.secrets)


def _what(certificate: Certificate, now_ns: int) -> str:
    said = lapse(certificate, now_ns)
    return said if said.startswith("expired") else f"is {said}"


def _broken(seen: Seen, on: KubeRef, text: str, evidence: str, began_ns: int | None) -> Broken:
    whose = sorted({str(one.ref) for one in called(seen) if one.service == on})
    by = f"{text}; called by {', '.join(whose[:3])}" if whose else text
    if on.kind != "Service":
        return Broken(
            CODE, on, by, evidence, "renew the certificate of the server that its URL names", since_ns=began_ns
        )
    act = restart(seen, Broken(CODE, on, by, evidence, "", since_ns=began_ns), behind(seen, on))
    cure = rollout_restart(act.on) if isinstance(act, Act) else f"restart what stands behind it ({act})"
    return Broken(CODE, on, by, evidence, cure, RISK, began_ns)


def gaps(seen: Seen) -> Iterator[str]:
    """Say which were neither dialled nor called. An APIService that is available was called.

    A call that failed otherwise says nothing of the certificate: the pod of one that was restarted may not listen yet.
    """
    dialled = {(one.service, one.port): one.trouble for one in seen.served if not one.certificate}
    shown = {(one.service, one.port) for one in seen.served if one.certificate}
    answered = {(one.ref, one.name) for one in seen.probes if _is_refused(one) or not (one.skipped or one.trouble)}
    skipped = {(one.ref, one.name): one.skipped or one.trouble for one in seen.probes}
    for one in (*seen.webhooks, *(one for one in seen.apiservices if not one.available)):
        if (one.service, one.port) not in shown and (one.ref, one.name) not in answered:
            why = dialled.get((one.service or one.ref, one.port)) or skipped.get((one.ref, one.name))
            yield f"{one.name}: {why or 'neither dialled from a node nor called'}"


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Restart the workload behind the Service."""
    if broken.on.kind != "Service":
        return "it is called by a URL: what serves that is not of this cluster, or not known"
    return restart(seen, broken, behind(seen, broken.on))


def endpoints(seen: Seen) -> Iterator[Endpoint]:
    """Give those that are called through a Service, each Service and port once: what is to be dialled."""
    known: set[tuple[KubeRef, int]] = set()
    for one in called(seen):
        if one.service and (one.service, one.port) not in known:
            known.add((one.service, one.port))
            yield one


CHECK = Check(
    CODE,
    "Certificates that webhooks and APIServices serve",
    find,
    (Input.WEBHOOKS, Input.SERVICES, Input.PODS, Input.WORKLOADS),
    also=(Input.APISERVICES,),
    any_of=(Input.SERVED, Input.PROBES),
    for_cure=(Input.SECRETS,),
    after=("CS-CLOCK", "CS-CONTROL-PLANE"),
    patience_ns=90 * SECOND_NS,
    gaps=gaps,
)
REMEDY = Remedy(CODE, plan)
