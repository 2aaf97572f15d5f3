"""A Secret was renewed, and the process that mounts it still serves the certificate before it.

rook #10719, linkerd2 #5888, cert-manager #1340, scylla-operator #754, openshift/generic-admission-server #33: they read
it once. A kubelet writes a renewed Secret into its pods within about 90 s, so one that reloads needs no help.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.objects import behind, dates, restart
from clockstep.core.certificates import is_valid
from clockstep.model import Act, Broken
from clockstep.model.damage import Input, Seen, Served, TlsSecret
from clockstep.units import SECOND_NS

CODE = "CS-STALE"
RISK = "calls of it fail while its pods start"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Services that serve an older certificate than their pods mount; lapsed ones are CS-SERVING's."""
    for served in seen.served:
        if served.certificate and is_valid(served.certificate, seen.now_ns) and (newer := _newer(seen, served)):
            text = f"it serves an older certificate than {newer.ref} has"
            evidence = f"served: {dates(served.certificate)}; in the Secret: {dates(newer.certificate)}"
            cure = "restart the workload behind it"
            yield Broken(CODE, served.service, text, evidence, cure, RISK, newer.certificate.not_before_ns)


def _newer(seen: Seen, served: Served) -> TlsSecret | None:
    """Return the Secret with a newer certificate of the same name, if none of the mounted ones is what is served."""
    names = {(pod.ref.namespace, name) for pod in behind(seen, served.service) for name in pod.secrets}
    mounted = [one for one in seen.secrets if (one.ref.namespace, one.ref.name) in names]
    if served.certificate is None or any(one.fingerprint == served.fingerprint for one in mounted):
        return None
    subject, begin_ns = served.certificate.subject, served.certificate.not_before_ns
    newer = (one for one in mounted if one.certificate.subject == subject)
    return next((one for one in newer if begin_ns < one.certificate.not_before_ns <= seen.now_ns), None)


def gaps(seen: Seen) -> Iterator[str]:
    """Say which Services showed no certificate."""
    return (f"{one.service}: {one.trouble}" for one in seen.served if not one.certificate)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Restart the workload behind the Service."""
    return restart(seen, broken, behind(seen, broken.on))


CHECK = Check(
    CODE,
    "Renewed Secrets that are not served",
    find,
    (Input.SERVED, Input.WEBHOOKS, Input.SERVICES, Input.SECRETS, Input.PODS, Input.WORKLOADS),
    also=(Input.APISERVICES,),
    patience_ns=120 * SECOND_NS,
    gaps=gaps,
)
REMEDY = Remedy(CODE, plan)
