"""Which certificates servers of a cluster show, as seen from one of its nodes: the API server's proxy hides them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from clockstep.core.certificates import LONGEST
from clockstep.core.foreign import understood
from clockstep.core.sections import LAST, sections
from clockstep.core.x509 import parse, pem_blocks
from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.model import Certificate, KubeRef
from clockstep.model.damage import Served
from clockstep.ports import Reach

EACH_S, STARTS_S = 4, 15
MOST = 64
"""How many are dialled, all at once."""
DIAL = program("certificates/served.sh", EACH_S=EACH_S, STARTS_S=STARTS_S)
SECTION = "served "


class Address(NamedTuple):
    """Where a Service is called."""

    service: KubeRef
    host: str
    port: int


def served(reach: Reach, addresses: Sequence[Address], deadline_ns: int) -> tuple[Served, ...]:
    """Return what each address shows. Raises ReachError if the node cannot say.

    The name that is asked for is the API server's: `service.namespace.svc`.
    """
    words: list[str] = []
    for number, one in enumerate(addresses[:MOST]):
        words += [str(number), one.host, str(one.port), f"{one.service.name}.{one.service.namespace}.svc"]
    said = sections(reach.run(["/bin/sh", "-c", DIAL, "clockstep", *words], b"", deadline_ns).out)
    if LAST not in said:
        hint = "it needs openssl or python3, awk and timeout"
        raise ReachError("the node cannot dial the cluster's Services", hint, lasting=True)
    shown = [_certificate("\n".join(said.get(f"{SECTION}{number}", ()))) for number in range(len(addresses[:MOST]))]
    return tuple(_served(one, found) for one, found in zip(addresses, shown, strict=False))


def _served(address: Address, found: tuple[Certificate, str] | None) -> Served:
    if found is None:
        return Served(address.service, address.port, trouble=f"{address.host}:{address.port} showed no certificate")
    return Served(address.service, address.port, *found)


def _certificate(text: str) -> tuple[Certificate, str] | None:
    def parsed(pem: str) -> tuple[Certificate, str]:
        der = pem_blocks(pem)[0]
        who = parse(der)
        made = Certificate("served", who.subject[:LONGEST], who.not_before_ns, who.not_after_ns)
        return made, sha256(der).hexdigest()

    return understood(parsed, text)
