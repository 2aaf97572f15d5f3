"""What is seen of a cluster's damage from inside its nodes: files with certificates, what Services show, kubelets.

And what is done there: a kubelet is restarted.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from clockstep.core.aftermath.objects import service_of
from clockstep.core.aftermath.serving import endpoints
from clockstep.core.aftermath.steps import steps_of
from clockstep.core.matching import match
from clockstep.errors import BusyError, ClockstepError, ReachError
from clockstep.flows.aftermath import Inside
from clockstep.flows.step import Nodes
from clockstep.loop.fleet import side_by_side
from clockstep.model import Act, Entry, Guest, NodeCertificates
from clockstep.model.damage import Input, Seen, Served, Unread
from clockstep.ports import Reach, World
from clockstep.workloads.certificates import certificates
from clockstep.workloads.kubelets import kubelet, restart_kubelet
from clockstep.workloads.served import Address, served
from clockstep.workloads.tokens import tokens

T = TypeVar("T")

OF_NODES = (Input.FILES, Input.TOKENS, Input.SERVED, Input.KUBELETS, Input.STEPS)
TRIES = 3
"""From how many nodes Services are dialled until one can."""


NONE_KNOWN = "no machine of this cluster is known here: name some, or connect to their hypervisor"


def unseen(why: str) -> Inside:
    """Return what is seen where no node can be reached: nothing, and why."""

    def look(wanted: Collection[Input], seen: Seen) -> Seen:
        missing = {one: Unread(why) for one in OF_NODES if one in wanted}
        return replace(seen, unread={**seen.unread, **missing})

    return look


class FromNodes:
    """The nodes that are these machines; each is given so long.

    `history` returns what was done to clocks, and raises ClockstepError.
    """

    def __init__(
        self,
        world: World,
        guests: Sequence[Guest],
        node: Nodes,
        within_ns: int,
        history: Callable[[], Sequence[Entry]] = tuple,
    ) -> None:
        self._world, self._guests, self._node, self._within_ns = world, guests, node, within_ns
        self._history = history
        self._known: dict[str, Guest] = {}

    def look(self, wanted: Collection[Input], seen: Seen) -> Seen:
        """Add what is seen from the nodes, of these inputs, or why that is missing."""
        if not self._guests:
            return unseen(NONE_KNOWN)(wanted, seen)
        known = match(self._world.hypervisor.guests(), seen.nodes)
        seen = replace(seen, machines=frozenset(one.name for one in known.by_key.values()))
        self._known = {of.name: guest for guest in self._guests if (of := known.node_of(guest))}
        names = {guest: guest.name for guest in self._guests} | {guest: name for name, guest in self._known.items()}
        if Input.FILES in wanted:
            found, unread = self._of_each(names, certificates)
            files = tuple(NodeCertificates(name, one) for name, one in found.items())
            seen = _some(replace(seen, files=files, unread_files=unread), Input.FILES, found, unread)
        if Input.KUBELETS in wanted:
            units, unread = self._of_each(names, kubelet)
            kubelets = tuple(replace(one, node=name) for name, one in units.items())
            seen = _some(replace(seen, kubelets=kubelets, unread_kubelets=unread), Input.KUBELETS, units, unread)
        if Input.TOKENS in wanted:
            read, unread = self._of_each(names, tokens)
            seen = replace(seen, tokens=tuple(one for of in read.values() for one in of), unread_tokens=unread)
            seen = _some(seen, Input.TOKENS, read, unread)
        if Input.SERVED in wanted:
            seen = self._served(seen)
        return self._stepped(seen) if Input.STEPS in wanted else seen

    def perform(self, act: Act) -> str:
        """Restart the kubelet of a node, with its machine to itself; return why it was not. Raises ReachError."""
        guest = self._known.get(act.on.name)
        if guest is None:
            return f"the machine of {act.on} is not one of these"
        try:
            with self._world.locks.hold([guest], self._within_ns):
                restart_kubelet(self._node(guest).reach, act.mark, self._until_ns())
        except BusyError as error:
            return error.message
        return ""

    def _stepped(self, seen: Seen) -> Seen:
        """Add the steps of these nodes' clocks."""
        try:
            return replace(seen, steps=steps_of(self._history(), {one.name for one in self._known.values()}))
        except ClockstepError as error:
            return _without(seen, Input.STEPS, error.message)

    def _until_ns(self) -> int:
        return self._world.clock.monotonic_ns() + self._within_ns

    def _of_each(
        self, names: Mapping[Guest, str], read: Callable[[Reach, int], T]
    ) -> tuple[dict[str, T], dict[str, str]]:
        """Return what is read of each node, by its name, and why of some it is not."""
        found = side_by_side(
            self._guests, lambda guest: read(self._node(guest).reach, self._until_ns()), self._within_ns
        )
        unread = {names[guest]: one.message for guest, one in found.items() if isinstance(one, ClockstepError)}
        return {names[guest]: one for guest, one in found.items() if not isinstance(one, ClockstepError)}, unread

    def _served(self, seen: Seen) -> Seen:
        """Add what Services show to the first node that can dial them."""
        for needed in (Input.WEBHOOKS, Input.SERVICES):
            if why := seen.unread.get(needed):
                return _without(seen, Input.SERVED, why.why)
        addresses, missing = list(_addresses(seen)), list(_addressless(seen))
        troubles: Mapping[str, str] = {}
        for guest in (list(self._known.values()) or list(self._guests))[:TRIES]:
            try:
                shown = served(self._node(guest).reach, addresses, self._until_ns())
            except ReachError as error:
                troubles = {**troubles, guest.name: error.message}
            else:
                return replace(seen, served=(*shown, *missing))
        return _without(seen, Input.SERVED, "; ".join(f"{name}: {why}" for name, why in troubles.items()))


def _some(seen: Seen, read: Input, found: Mapping[str, object], unread: Mapping[str, str]) -> Seen:
    """Return what is seen; if of no node anything was, why."""
    return seen if found else _without(seen, read, "; ".join(f"{name}: {why}" for name, why in unread.items()))


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
