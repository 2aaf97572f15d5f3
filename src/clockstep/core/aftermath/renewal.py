"""Certificates of cert-manager that are past their renewal.

Until 1.21 the renewal waited on a timer that stands still with the machine (cert-manager #5861, #6341, #7864; fixed by
#8464, which looks each minute by the wall clock). Issuing is set as `cmctl renew` sets it.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import named
from clockstep.model import Act, Broken, Deed
from clockstep.model.damage import Input, Renewal, Seen
from clockstep.units import SECOND_NS, show_duration, show_moment

CODE = "CS-CERTIFICATE"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Certificates that should have been renewed by now."""
    for one in seen.certificates:
        due_ns = one.renewal_ns if one.renewal_ns is not None else one.not_after_ns
        if due_ns is not None and due_ns < seen.now_ns:
            yield _overdue(one, due_ns, seen.now_ns)


def _overdue(one: Renewal, due_ns: int, now_ns: int) -> Broken:
    lapsed = one.not_after_ns is not None and one.not_after_ns < now_ns
    state = ", and it has expired" if lapsed else ""
    text = f"its renewal was due {show_duration(now_ns - due_ns)} ago{state}"
    until = f", notAfter {show_moment(one.not_after_ns)}" if one.not_after_ns is not None else ""
    failed = f"; {one.failed}" if one.failed else ""
    evidence = f"renewalTime {show_moment(due_ns)}{until}{failed}"
    cure = f"cmctl renew {named(one.ref)}"
    risk = "whoever mounts its Secret gets a new certificate"
    return Broken(CODE, one.ref, text, evidence, cure, risk, due_ns)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Have it issued again, unless that is under way."""
    one = next((one for one in seen.certificates if one.ref == broken.on), None)
    if one is None:
        return "it is gone"
    if one.issuing and one.failed:
        return f"it is being issued, and {one.failed}"
    return Act(Deed.RENEW, one.ref, CODE, begun=one.issuing)


CHECK = Check(
    CODE, "Certificates of cert-manager", find, (Input.CERTIFICATES,), after=("CS-CLOCK",), patience_ns=90 * SECOND_NS
)
REMEDY = Remedy(CODE, plan)
