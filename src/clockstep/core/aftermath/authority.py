"""Webhooks and APIServices that the API server trusts by an authority which is not valid.

The caBundle was written once, or by cert-manager's cainjector (cert-manager.io, CA injector): then the authority's own
Certificate comes first, and the cainjector writes the new one.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import called, dates, lapse, since
from clockstep.core.certificates import is_valid
from clockstep.model import Broken
from clockstep.model.damage import Input, Seen
from clockstep.units import SECOND_NS

CODE = "CS-CA"
CURE = "renew the authority, then have its caBundle written: restart the cainjector or the operator that wrote it"


def find(seen: Seen) -> Iterator[Broken]:
    """Give those whose caBundle has no certificate that is valid now."""
    for one in called(seen):
        if one.authorities and not any(is_valid(authority, seen.now_ns) for authority in one.authorities):
            last = max(one.authorities, key=lambda authority: authority.not_before_ns)
            text = f"the authority of its caBundle for {one.name}: {lapse(last, seen.now_ns)}"
            yield Broken(CODE, one.ref, text, dates(last), CURE, since_ns=since(last, seen.now_ns))


CHECK = Check(
    CODE,
    "Authorities of webhooks and APIServices",
    find,
    (Input.WEBHOOKS,),
    also=(Input.APISERVICES,),
    patience_ns=90 * SECOND_NS,
)
