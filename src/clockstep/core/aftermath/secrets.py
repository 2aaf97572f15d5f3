"""TLS Secrets of webhooks and APIServices whose certificate is not valid, and which cert-manager does not renew.

Where the issuer is the operator itself, as gatekeeper's (#462) or consul-k8s's (#857), a restart of it makes a new one;
a Secret that somebody made by hand has to be made again by hand. So the Secret itself is never touched.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import behind, called, dates, lapse, since
from clockstep.core.certificates import is_valid
from clockstep.model import Broken
from clockstep.model.damage import Input, Seen, TlsSecret

CODE = "CS-SECRET"
CURE = "have its issuer renew it: restart the operator that made it, or make it again as it was made"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Secrets behind what the API server calls that are not valid now."""
    kept = {(one.ref.namespace, one.secret) for one in seen.certificates}
    for one in _mounted(seen):
        if (one.ref.namespace, one.ref.name) not in kept and not is_valid(one.certificate, seen.now_ns):
            text = f"its certificate: {lapse(one.certificate, seen.now_ns)}"
            yield Broken(
                CODE, one.ref, text, dates(one.certificate), CURE, since_ns=since(one.certificate, seen.now_ns)
            )


def _mounted(seen: Seen) -> Iterator[TlsSecret]:
    services = {one.service for one in called(seen) if one.service}
    pods = {pod.ref: pod for service in services for pod in behind(seen, service)}
    names = {(pod.ref.namespace, name) for pod in pods.values() for name in pod.secrets}
    return (one for one in seen.secrets if (one.ref.namespace, one.ref.name) in names)


CHECK = Check(
    CODE,
    "TLS Secrets of webhooks and APIServices",
    find,
    (Input.SECRETS, Input.PODS, Input.SERVICES, Input.WEBHOOKS),
    also=(Input.APISERVICES,),
)
