"""What machines offer, by roles: a machine may lack any of them but its place in an inventory.

A virtual machine of libvirt's has all; one that only ssh leads to has `Inside` alone. Everything raises
HypervisorError, with what the hypervisor said, and UsageError for a role that the machine lacks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from clockstep.errors import ClockstepError
from clockstep.model import Around, Bridge, Channel, Guest, Happening, Snapshot
from clockstep.ports.reach import Reach


class Listed(NamedTuple):
    """The machines of one connection, or why it does not list them."""

    connection: str
    guests: Sequence[Guest] = ()
    error: ClockstepError | None = None


@runtime_checkable
class Machines(Protocol):
    """The machines of one connection."""

    def guests(self) -> list[Guest]:
        """Return all machines with their states, by name."""


@runtime_checkable
class Inventory(Machines, Protocol):
    """The machines of all connections."""

    def survey(self, within_ns: int) -> list[Listed]:
        """Return what each connection lists by then; one that does not answer holds up none of the others."""


@runtime_checkable
class Events(Protocol):
    """Where it is heard what happens to machines."""

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any machine from now on, from another thread, also over new connections."""


@runtime_checkable
class Inside(Protocol):
    """Machines that can be entered."""

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the machine's inside."""


@runtime_checkable
class Power(Protocol):
    """Machines whose processors can be stopped from outside."""

    def state(self, guest: Guest) -> str:
        """Return the machine's state now; `gone` if it is not there any more."""

    def pause(self, guest: Guest) -> None:
        """Stop a running machine's processors."""

    def resume(self, guest: Guest) -> None:
        """Resume a paused machine; one that runs already is left as it is."""


@runtime_checkable
class Snapshots(Protocol):
    """Machines that can have snapshots."""

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the machine's snapshots, oldest first."""

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the snapshot that the machine was taken or reverted to last; None if there is none."""

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return the objections to a snapshot of the machine, or to its revert to `target`, in sentences."""

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take a snapshot of a paused machine, memory included."""

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""

    def revert(self, guest: Guest, name: str) -> None:
        """Revert the machine to a snapshot and leave it paused."""


@runtime_checkable
class Definition(Protocol):
    """Machines that are defined somewhere, with their devices and networks."""

    def around(self, guest: Guest) -> Around:
        """Return what the machine is given for keeping time."""

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return how the machine is defined, as it will be at its next start; with its passwords if `secret`."""

    def define(self, guest: Guest, definition: str) -> None:
        """Replace the machine's definition, from its next start on."""

    def add_channel(self, guest: Guest) -> Channel:
        """Give the machine a channel for an agent if it has none: its definition, and the machine as it runs."""

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Remove what was added of a channel, as far as it is still there."""

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return the hypervisor's own networks that the machine is on."""

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Have the bridge of a network of the machine's take part in the spanning tree protocol, or not.

        Return why that does not count yet; then it does from the network's next start on.
        """


class Hypervisor(Inventory, Events, Inside, Power, Snapshots, Definition, Protocol):
    """What a run works with: all its connections as one, each machine with the roles that its connection has."""
