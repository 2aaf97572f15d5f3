"""Several hypervisors as one, for a run over several connections: what is done with a guest goes to its own."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial

from clockstep.errors import ClockstepError, HypervisorError
from clockstep.model import Around, Bridge, Channel, Guest, Happening, Snapshot
from clockstep.ports import Hypervisor, Listed, Reach
from clockstep.units import SECOND_NS

NOTHING: Mapping[str, str] = {}
PATIENCE_NS = 60 * SECOND_NS
"""For how long a command waits for a list of guests; keepalive has ended a dead connection long before."""


class Several:
    """Hypervisors by their addresses, and the names of their guests: Vagrant's (`called`, by UUID) if no other has it.

    A guest whose own name another connection has too is called NAME@ADDRESS.
    """

    def __init__(self, parts: Mapping[str, Hypervisor], called: Mapping[str, str] = NOTHING) -> None:
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
        return [listed._replace(guests=named(listed.guests, everyone, self._called)) for listed in surveyed]

    def _answer(self, address: str) -> Listed:
        if not self._asked[address].done():
            text = f"libvirt at {address or 'its default address'} does not answer"
            return Listed(address, error=HypervisorError(text, "see that it runs there"))
        try:
            guests = self._asked.pop(address).result()
        except ClockstepError as error:
            return Listed(address, error=error)
        self._last[address] = [replace(guest, connection=address) for guest in guests]
        return Listed(address, self._last[address])

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the guest's snapshots, oldest first."""
        return self._part(guest).snapshots(own(guest))

    def state(self, guest: Guest) -> str:
        """Return how the guest stands now."""
        return self._part(guest).state(own(guest))

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the snapshot that the guest was taken or put back last."""
        return self._part(guest).current(own(guest))

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return how the guest is defined."""
        return self._part(guest).definition(own(guest), secret=secret)

    def define(self, guest: Guest, definition: str) -> None:
        """Define the guest anew."""
        self._part(guest).define(own(guest), definition)

    def add_channel(self, guest: Guest) -> Channel:
        """Give the guest a channel for an agent."""
        return self._part(guest).add_channel(own(guest))

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Take away what of a channel was added."""
        self._part(guest).remove_channel(own(guest), added)

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return the hypervisor's own networks that the guest is on."""
        return self._part(guest).bridges(own(guest))

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Have the bridge of a network take part in the spanning tree protocol, or not."""
        return self._part(guest).set_spanning(own(guest), bridge, spanning=spanning)

    def around(self, guest: Guest) -> Around:
        """Return what the guest is given for keeping time."""
        return self._part(guest).around(own(guest))

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return what stands against a snapshot of the guest, or against its revert to `target`."""
        return self._part(guest).objections(own(guest), target)

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take a snapshot of a paused guest, memory included."""
        self._part(guest).snapshot(own(guest), snapshot)

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""
        self._part(guest).forget(own(guest), name)

    def revert(self, guest: Guest, name: str) -> None:
        """Put the guest back to a snapshot and leave it paused."""
        self._part(guest).revert(own(guest), name)

    def pause(self, guest: Guest) -> None:
        """Stop a running guest's processors."""
        self._part(guest).pause(own(guest))

    def resume(self, guest: Guest) -> None:
        """Let a paused guest run on."""
        self._part(guest).resume(own(guest))

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the guest's inside."""
        return self._part(guest).reach(own(guest))

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any guest of any part."""
        for address, part in self._parts.items():
            part.subscribe(partial(_tell_of, address, tell))

    def _part(self, guest: Guest) -> Hypervisor:
        return self._parts[guest.connection]


def begun(job: Callable[[], list[Guest]]) -> "Future[list[Guest]]":
    """Return what a thread that begins now will answer; nothing waits for a thread that never does."""
    future: Future[list[Guest]] = Future()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 - raised where the answer is taken
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


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
