"""Tokens of pods that were issued in the future, or have lapsed.

A kubelet renews a token by its age, so it keeps one of the future (kubernetes #124022). The API server accepts it from
60 s before its nbf on (pkg/serviceaccount, jwt.DefaultLeeway), so a short wait needs no cure. One that has lapsed is
renewed within a minute of the step (measured: 17 to 59 s).
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import delete_pod
from clockstep.core.aftermath.objects import SYSTEM, evict
from clockstep.model import Act, Broken
from clockstep.model.damage import Input, KubePod, PodToken, Seen
from clockstep.units import MINUTE_NS, SECOND_NS, show_duration, show_moment

CODE = "CS-TOKEN"
LEEWAY_NS = MINUTE_NS
WAITED_NS = 3 * MINUTE_NS


def find(seen: Seen) -> Iterator[Broken]:
    """Give the pods with a token that is not valid now; those whose pods are gone count no more."""
    pods = {pod.uid: pod for pod in seen.pods if not pod.deleting}
    for token in seen.tokens:
        pod = pods.get(token.uid)
        if pod and (said := _early(token, seen.now_ns) or _lapsed(token, seen.now_ns)):
            text, heals_ns = said
            cure = delete_pod(pod.ref) if pod.owner else "make the pod again"
            risk = "its containers start again"
            yield Broken(CODE, pod.ref, text, _dates(token), cure, risk, None, heals_ns=heals_ns)


def _early(token: PodToken, now_ns: int) -> tuple[str, int | None] | None:
    begin_ns = max(filter(None, (token.not_before_ns, token.issued_ns)), default=None)
    if begin_ns is None or begin_ns - LEEWAY_NS <= now_ns:
        return None
    valid_ns = begin_ns - LEEWAY_NS
    return f"its token is of the future, and accepted in {show_duration(valid_ns - now_ns)}", valid_ns


def _lapsed(token: PodToken, now_ns: int) -> tuple[str, int | None] | None:
    if token.expires_ns is None or token.expires_ns > now_ns:
        return None
    return f"its token expired {show_duration(now_ns - token.expires_ns)} ago", None


def _dates(token: PodToken) -> str:
    claims = {"iat": token.issued_ns, "nbf": token.not_before_ns, "exp": token.expires_ns}
    return ", ".join(f"{name} {show_moment(at)}" for name, at in claims.items() if at is not None)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Have the pod made again, unless its token is valid in minutes."""
    if broken.heals_ns is not None and broken.heals_ns - seen.now_ns <= WAITED_NS:
        return f"it is valid in {show_duration(max(0, broken.heals_ns - seen.now_ns))}: wait"
    pod: KubePod | None = next((one for one in seen.pods if one.ref == broken.on), None)
    if broken.on.namespace == SYSTEM:
        return f"{broken.on} is in {SYSTEM}, where clockstep makes only the network's pods again, and stuck ones"
    return evict(seen, broken, pod)


CHECK = Check(
    CODE,
    "Tokens of pods",
    find,
    (Input.TOKENS, Input.PODS),
    for_cure=(Input.WORKLOADS,),
    after=("CS-CLOCK",),
    patience_ns=WAITED_NS + 30 * SECOND_NS,
    gaps=lambda seen: (f"{node}: {why}" for node, why in seen.unread_tokens.items()),
)
REMEDY = Remedy(CODE, plan)
