"""Several hypervisors as one, for a run over several connections: what is done with a guest goes to its own."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from clockstep.model import Guest, Happening, Snapshot
from clockstep.ports import Hypervisor, Reach


class Several:
    """Hypervisors by their addresses. A guest whose name another connection has too is called NAME@ADDRESS."""

    def __init__(self, parts: Mapping[str, Hypervisor]) -> None:
        self._parts = parts

    def guests(self) -> list[Guest]:
        """Return the guests of all, by name, each with its connection."""
        listed = [
            msgspec.structs.replace(guest, connection=address)
            for address, part in self._parts.items()
            for guest in part.guests()
        ]
        count = Counter(guest.name for guest in listed)
        named = [qualified(guest) if count[guest.name] > 1 else guest for guest in listed]
        return sorted(named, key=lambda guest: guest.name)

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the guest's snapshots, oldest first."""
        return self._part(guest).snapshots(own(guest))

    def state(self, guest: Guest) -> str:
        """Return how the guest stands now."""
        return self._part(guest).state(own(guest))

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the snapshot that the guest was taken or put back last."""
        return self._part(guest).current(own(guest))

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


def _tell_of(address: str, tell: Callable[[Happening], None], happening: Happening) -> None:
    tell(msgspec.structs.replace(happening, connection=address))


def qualified(guest: Guest) -> Guest:
    """Return the guest with its connection in its name."""
    return msgspec.structs.replace(guest, name=f"{guest.name}@{guest.connection}")


def own(guest: Guest) -> Guest:
    """Return the guest as its own hypervisor calls it."""
    return msgspec.structs.replace(guest, name=guest.name.removesuffix(f"@{guest.connection}"))
