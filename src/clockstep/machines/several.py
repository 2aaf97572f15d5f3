"""Several connections as one: what is done with a machine goes to its own connection, as far as that has the role."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from typing import NoReturn, Protocol, TypeVar, runtime_checkable

from clockstep.errors import ClockstepError, HypervisorError, UsageError
from clockstep.model import Around, Bridge, Channel, Guest, Happening, Snapshot
from clockstep.ports import Definition, Events, Inside, Listed, Machines, Power, Reach, Snapshots
from clockstep.units import SECOND_NS
from clockstep.waiting import begun

NOTHING: Mapping[str, str] = {}
PATIENCE_NS = 60 * SECOND_NS
"""For how long a command waits for a list of guests; keepalive has ended a dead connection long before."""
CLOSING_NS = SECOND_NS // 5
NO_HYPERVISOR = "name the node as its hypervisor lists it, with --connect"


T = TypeVar("T")


@runtime_checkable
class Closing(Protocol):
    """What holds connections open."""

    def close(self) -> None:
        """Close them."""


class Several:
    """Connections by their addresses, and the names of their guests: Vagrant's (`called`, by UUID) if no other has it.

    A guest whose own name another connection has too is called NAME@ADDRESS.
    """

    def __init__(self, parts: Mapping[str, Machines], called: Mapping[str, str] = NOTHING) -> None:
        self._parts = parts
        self._called = called
        self._asked: dict[str, Future[list[Guest]]] = {}
        self._last: dict[str, list[Guest]] = {}

    def guests(self) -> list[Guest]:
        """Return the guests of all, by name, each with its connection; raises where one does not tell."""
        surveyed = self._survey(PATIENCE_NS, late=set(self._parts))
        for error in (listed.error for listed in surveyed if listed.error):
            raise error
        return sorted((guest for listed in surveyed for guest in listed.guests), key=lambda guest: guest.name)

    def survey(self, within_ns: int) -> list[Listed]:
        """Ask all side by side. One that does not answer in time counts as silent if it has not by the next survey."""
        for address in [address for address, asked in self._asked.items() if asked.done()]:
            self._answer(address)
        return self._survey(within_ns, late=set(self._asked))

    def _survey(self, within_ns: int, late: set[str]) -> list[Listed]:
        for address in self._parts.keys() - self._asked.keys():
            self._asked[address] = begun(self._parts[address].guests)
        wait(self._asked.values(), timeout=within_ns / SECOND_NS)
        surveyed = [
            self._answer(address)
            if address in late or self._asked[address].done()
            else Listed(address, self._last.get(address, []))
            for address in self._parts
        ]
        everyone = [guest for guests in self._last.values() for guest in guests]
        by_key = {guest.key: guest for guest in named(everyone, everyone, self._called)}
        return [one._replace(guests=[by_key[guest.key] for guest in one.guests]) for one in surveyed]

    def _answer(self, address: str) -> Listed:
        if not self._asked[address].done():
            text = f"libvirt at {address or 'its default address'} does not answer"
            return Listed(address, error=HypervisorError(text, "check that it runs there"))
        try:
            guests = self._asked.pop(address).result()
        except ClockstepError as error:
            return Listed(address, error=error)
        self._last[address] = [replace(guest, connection=address) for guest in guests]
        return Listed(address, self._last[address])

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any machine of a connection that has events."""
        for address, part in self._parts.items():
            if isinstance(part, Events):
                part.subscribe(partial(_tell_of, address, tell))

    def close(self) -> None:
        """Close all connections; one whose other side does not answer is left to the end of the process."""
        closing = [begun(part.close) for part in self._parts.values() if isinstance(part, Closing)]
        wait(closing, timeout=CLOSING_NS / SECOND_NS)

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the machine's inside."""
        part = self._parts[guest.connection]
        return part.reach(own(guest)) if isinstance(part, Inside) else lacking(guest, "entered")

    def state(self, guest: Guest) -> str:
        """Return the machine's state now."""
        return self._power(guest).state(own(guest))

    def pause(self, guest: Guest) -> None:
        """Stop a running machine's processors."""
        self._power(guest).pause(own(guest))

    def resume(self, guest: Guest) -> None:
        """Resume a paused machine."""
        self._power(guest).resume(own(guest))

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the machine's snapshots, oldest first."""
        return self._snapshots(guest).snapshots(own(guest))

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the snapshot that the machine was taken or reverted to last."""
        return self._snapshots(guest).current(own(guest))

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return what stands against a snapshot of the machine, or against its revert to `target`."""
        return self._snapshots(guest).objections(own(guest), target)

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take a snapshot of a paused machine, memory included."""
        self._snapshots(guest).snapshot(own(guest), snapshot)

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""
        self._snapshots(guest).forget(own(guest), name)

    def revert(self, guest: Guest, name: str) -> None:
        """Revert the machine to a snapshot and leave it paused."""
        self._snapshots(guest).revert(own(guest), name)

    def around(self, guest: Guest) -> Around:
        """Return what the machine is given for keeping time."""
        return self._definition(guest).around(own(guest))

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return how the machine is defined."""
        return self._definition(guest).definition(own(guest), secret=secret)

    def define(self, guest: Guest, definition: str) -> None:
        """Replace the machine's definition."""
        self._definition(guest).define(own(guest), definition)

    def add_channel(self, guest: Guest) -> Channel:
        """Give the machine a channel for an agent."""
        return self._definition(guest).add_channel(own(guest))

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Remove what was added of a channel."""
        self._definition(guest).remove_channel(own(guest), added)

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return the hypervisor's own networks that the machine is on."""
        return self._definition(guest).bridges(own(guest))

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Have the bridge of a network take part in the spanning tree protocol, or not."""
        return self._definition(guest).set_spanning(own(guest), bridge, spanning=spanning)

    def _power(self, guest: Guest) -> Power:
        part = self._parts[guest.connection]
        return part if isinstance(part, Power) else lacking(guest, "paused or resumed")

    def _snapshots(self, guest: Guest) -> Snapshots:
        part = self._parts[guest.connection]
        return part if isinstance(part, Snapshots) else lacking(guest, "snapshot or reverted")

    def _definition(self, guest: Guest) -> Definition:
        part = self._parts[guest.connection]
        return part if isinstance(part, Definition) else lacking(guest, "examined or redefined")


def lacking(guest: Guest, done: str) -> NoReturn:
    """Raise UsageError for a machine that has no hypervisor here by which this could be done."""
    raise UsageError(f"{guest.name} cannot be {done}: it has no known hypervisor", NO_HYPERVISOR)


def _tell_of(address: str, tell: Callable[[Happening], None], happening: Happening) -> None:
    tell(replace(happening, connection=address))


def named(guests: Sequence[Guest], everyone: Sequence[Guest], called: Mapping[str, str]) -> list[Guest]:
    """Return the guests with names that are unique among everyone's: Vagrant's, or their own, or NAME@ADDRESS."""
    own_names = Counter(guest.name for guest in everyone)
    vagrants = Counter(called[guest.uuid] for guest in everyone if guest.uuid in called)

    def unique(guest: Guest) -> Guest:
        own_name = guest.name if own_names[guest.name] == 1 else f"{guest.name}@{guest.connection}"
        short = called.get(guest.uuid, guest.name)
        if short == guest.name or vagrants[short] > 1 or own_names[short]:
            return replace(guest, name=own_name)
        return replace(guest, name=short, domain=own_name)

    return [unique(guest) for guest in guests]


def own(guest: Guest) -> Guest:
    """Return the guest as its own hypervisor calls it."""
    return replace(guest, name=guest.recorded.removesuffix(f"@{guest.connection}"), domain="")
