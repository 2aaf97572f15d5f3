"""What is seen of a cluster's damage from inside its nodes: files with certificates, and what Services show there."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from clockstep.core.aftermath.objects import service_of
from clockstep.core.aftermath.serving import endpoints
from clockstep.core.matching import match
from clockstep.errors import ClockstepError, ReachError
from clockstep.flows.aftermath import Inside
from clockstep.flows.step import Nodes
from clockstep.loop.fleet import side_by_side
from clockstep.model import Guest, NodeCertificates
from clockstep.model.damage import Input, Seen, Served, Unread
from clockstep.ports import Reach, World
from clockstep.workloads.certificates import certificates
from clockstep.workloads.served import Address, served
from clockstep.workloads.tokens import tokens

T = TypeVar("T")

OF_NODES = (Input.FILES, Input.TOKENS, Input.SERVED)
TRIES = 3
"""From how many nodes Services are dialled until one can."""


def unseen(why: str) -> Inside:
    """Return what is seen where no node can be reached: nothing, and why."""

    def look(wanted: Collection[Input], seen: Seen) -> Seen:
        missing = {one: Unread(why) for one in OF_NODES if one in wanted}
        return replace(seen, unread={**seen.unread, **missing})

    return look


def inside(world: World, guests: Sequence[Guest], node: Nodes, within_ns: int) -> Inside:
    """Return how to look from these machines; each is given so long."""
    if not guests:
        return unseen("no machine of this cluster is known here: name some, or connect to their hypervisor")

    def look(wanted: Collection[Input], seen: Seen) -> Seen:
        known = match(world.hypervisor.guests(), seen.nodes)
        seen = replace(seen, machines=frozenset(one.name for one in known.by_key.values()))
        names = {guest: of.name if (of := known.node_of(guest)) else guest.name for guest in guests}
        if Input.FILES in wanted:
            found, unread = _of_each(guests, names, partial(asked, certificates), within_ns)
            files = tuple(NodeCertificates(name, one) for name, one in found.items())
            seen = _some(replace(seen, files=files, unread_files=unread), Input.FILES, found, unread)
        if Input.TOKENS in wanted:
            read, unread = _of_each(guests, names, partial(asked, tokens), within_ns)
            seen = replace(seen, tokens=tuple(one for of in read.values() for one in of), unread_tokens=unread)
            seen = _some(seen, Input.TOKENS, read, unread)
        if Input.SERVED in wanted:
            seen = _served(world, [one for one in guests if known.node_of(one)] or guests, node, within_ns, seen)
        return seen

    def asked(read: Callable[[Reach, int], T], guest: Guest) -> T:
        return read(node(guest).reach, world.clock.monotonic_ns() + within_ns)

    return look


def _of_each(
    guests: Sequence[Guest], names: Mapping[Guest, str], read: Callable[[Guest], T], within_ns: int
) -> tuple[dict[str, T], dict[str, str]]:
    """Return what is read of each node, by its name, and why of some it is not."""
    found = side_by_side(guests, read, within_ns)
    unread = {names[guest]: one.message for guest, one in found.items() if isinstance(one, ClockstepError)}
    return {names[guest]: one for guest, one in found.items() if not isinstance(one, ClockstepError)}, unread


def _some(seen: Seen, read: Input, found: Mapping[str, object], unread: Mapping[str, str]) -> Seen:
    """Return what is seen; if of no node anything was, why."""
    return seen if found else _without(seen, read, "; ".join(f"{name}: {why}" for name, why in unread.items()))


def _served(world: World, guests: Sequence[Guest], node: Nodes, within_ns: int, seen: Seen) -> Seen:
    """Add what Services show to the first node that can dial them."""
    for needed in (Input.WEBHOOKS, Input.SERVICES):
        if why := seen.unread.get(needed):
            return _without(seen, Input.SERVED, why.why)
    addresses, missing = list(_addresses(seen)), list(_addressless(seen))
    troubles: Mapping[str, str] = {}
    for guest in guests[:TRIES]:
        try:
            shown = served(node(guest).reach, addresses, world.clock.monotonic_ns() + within_ns)
        except ReachError as error:
            troubles = {**troubles, guest.name: error.message}
        else:
            return replace(seen, served=(*shown, *missing))
    return _without(seen, Input.SERVED, "; ".join(f"{name}: {why}" for name, why in troubles.items()))


def _addresses(seen: Seen) -> Iterator[Address]:
    for one in endpoints(seen):
        found = service_of(seen, one.service) if one.service else None
        if found and found.address:
            yield Address(found.ref, found.address, one.port)


def _addressless(seen: Seen) -> Iterator[Served]:
    for one in endpoints(seen):
        if one.service and not ((found := service_of(seen, one.service)) and found.address):
            why = "the Service has no address in the cluster" if found else "there is no such Service"
            yield Served(one.service, one.port, trouble=why)


def _without(seen: Seen, missing: Input, why: str) -> Seen:
    return replace(seen, unread={**seen.unread, missing: Unread(why)})
