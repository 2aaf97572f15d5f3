"""What the loop needs of the world, as protocols: real adapters and strict fakes both satisfy them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from clockstep.errors import ClockstepError
from clockstep.model import (
    Around,
    Bridge,
    Channel,
    Claim,
    Episode,
    Guest,
    Happening,
    HostClock,
    Pause,
    Reading,
    Snapshot,
)


class Clock(Protocol):
    """This machine's clocks: the truth that nodes are compared with, and the one that durations come from."""

    def realtime_ns(self) -> int:
        """Return CLOCK_REALTIME."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, which goes on while this machine sleeps."""

    def sleep_ns(self, duration_ns: int) -> None:
        """Wait."""


NO_PROGRAM = 127
"""What a shell answers for a program that is not there."""


class Output(NamedTuple):
    """What a command in a node answered; its code is `NO_PROGRAM` where there is no such program."""

    code: int
    out: str
    err: str


class Reach(Protocol):
    """A way to a node. Everything raises ReachError when the node does not answer or answers nonsense."""

    source: str
    """What a reading taken this way is called."""

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a command to its end, or until `deadline_ns` of the monotonic clock."""

    def clock(self, within_ns: int | None = None) -> Reading:
        """Measure the node's clock against this machine's; no better than to see that it is within `within_ns`."""

    def step(self, by_ns: int, token: str) -> int | None:
        """Move the node's clock by `by_ns`, which is how far it was just seen from this machine's, once for a token.

        Return what was added in nanoseconds, also where that was earlier; None where `fate` has yet to say it. Raises
        NotSteppedError where the node says that it did nothing now; any other error leaves it open.
        """

    def fate(self, token: str) -> int | None:
        """Return what was added under a token; from then on nothing more will be.

        0 where nothing was, None where that is open: what was begun was cut off. Raises ReachError where the node does
        not say, or may act yet.
        """

    def close(self) -> None:
        """Let go of what is held open, for good, also while another thread waits for an answer."""


class Login(NamedTuple):
    """How ssh reaches a node: the host's name, and what stands before it on ssh's command line.

    `sure` is whether somebody has said that it is this node; otherwise the machine there must prove it. `again` asks
    anew, where this login was kept and may not lead there any longer; it raises ReachError.
    """

    host: str
    arguments: tuple[str, ...] = ()
    sure: bool = True
    again: "Callable[[], Login] | None" = None


class Ways(NamedTuple):
    """How nodes may be reached: `ssh_config` is the file that knows them as hosts, `only` is "agent" or "ssh".

    Otherwise the guest agent is the way to a node that has a channel for it, and ssh to the others. `vagrant` returns
    Vagrant's own login to a domain of this UUID, or None, and raises ReachError where Vagrant does not say. Where
    `guards` are kept, one is looked for in every node, and not only after a revert to a snapshot of clockstep's.
    `called` are Vagrant's names of machines, by the UUIDs of their domains.
    """

    ssh_config: str | None = None
    only: str | None = None
    vagrant: Callable[[str], Login | None] = lambda _uuid: None
    guards: bool = False
    called: Mapping[str, str] = {}


class Hypervisor(Protocol):
    """What runs the nodes. Everything raises HypervisorError, with what the hypervisor said."""

    def guests(self) -> list[Guest]:
        """Return all guests with their states, by name."""

    def snapshots(self, guest: Guest) -> list[Snapshot]:
        """Return the guest's snapshots, oldest first."""

    def state(self, guest: Guest) -> str:
        """Return how the guest stands now; `gone` where it is not there any more."""

    def current(self, guest: Guest) -> Snapshot | None:
        """Return the snapshot that the guest was taken or put back last; None where there is none."""

    def around(self, guest: Guest) -> Around:
        """Return what the guest is given for keeping time."""

    def definition(self, guest: Guest, *, secret: bool = False) -> str:
        """Return how the guest is defined, as it will be at its next start; with its passwords where `secret`."""

    def define(self, guest: Guest, definition: str) -> None:
        """Define the guest anew, from its next start on."""

    def add_channel(self, guest: Guest) -> Channel:
        """Give the guest a channel for an agent where it has none: its definition, and the machine as it runs."""

    def remove_channel(self, guest: Guest, added: Channel) -> None:
        """Take away what of a channel was added, as far as it is there yet."""

    def bridges(self, guest: Guest) -> list[Bridge]:
        """Return the hypervisor's own networks that the guest is on."""

    def set_spanning(self, guest: Guest, bridge: Bridge, *, spanning: bool) -> str:
        """Have the bridge of a network of the guest's take part in the spanning tree protocol, or not.

        Return why that does not count yet; then it does from the network's next start on.
        """

    def objections(self, guest: Guest, target: Snapshot | None = None) -> list[str]:
        """Return what stands against a snapshot of the guest, or against its revert to `target`, in sentences."""

    def snapshot(self, guest: Guest, snapshot: Snapshot) -> None:
        """Take a snapshot of a paused guest, memory included."""

    def forget(self, guest: Guest, name: str) -> None:
        """Delete a snapshot."""

    def revert(self, guest: Guest, name: str) -> None:
        """Put the guest back to a snapshot and leave it paused."""

    def pause(self, guest: Guest) -> None:
        """Stop a running guest's processors."""

    def resume(self, guest: Guest) -> None:
        """Let a paused guest run on; one that runs already is left to."""

    def reach(self, guest: Guest) -> Reach:
        """Return the way to the guest's inside."""

    def subscribe(self, tell: Callable[[Happening], None]) -> None:
        """Tell what happens to any guest from now on, from a thread of the hypervisor's, also over new connections."""


class Listed(NamedTuple):
    """The guests of one connection, or why it does not tell."""

    connection: str
    guests: Sequence[Guest] = ()
    error: ClockstepError | None = None


class Hypervisors(Hypervisor, Protocol):
    """What a whole run works with: all its connections as one."""

    def survey(self, within_ns: int) -> list[Listed]:
        """Return what each connection lists by then; one that does not answer holds up none of the others."""


class Sink(Protocol):
    """Takes what the watcher sees. There may be several; one that fails harms neither the others nor the watch."""

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode. It is `new` where a clock was stepped, or its verdict is another than before."""

    def ended(self) -> None:
        """Take that the watch is over."""


class Sightings(Protocol):
    """When each machine's clock was last seen within tolerance, kept for the watcher that comes after this one."""

    def kept(self) -> dict[str, int]:
        """Return the host's wall clock at that moment by UUID, as far as it can be read."""

    def keep(self, within_ns: Mapping[str, int]) -> dict[str, int]:
        """Keep that instead, as far as there is room, and return what that is. If it cannot be written, nothing is."""


class Locks(Protocol):
    """What keeps two programs from acting on one machine at the same time."""

    def hold(self, guests: Sequence[Guest], within_ns: int) -> AbstractContextManager[None]:
        """Hold the locks of all these; raises BusyError where one is not free within that time."""


class Journal(Protocol):
    """What is paused by clockstep, kept where a killed run does not take it along."""

    def pauses(self) -> dict[str, Pause]:
        """Return all that is written down, by UUID."""

    def note(self, pause: Pause) -> None:
        """Write down a pause, before it is made; raises JournalError where that cannot be done."""

    def strike(self, uuid: str) -> None:
        """Forget a pause, after the guest was resumed."""

    def tidy(self, there: Collection[Guest], connections: Collection[str]) -> list[str]:
        """Forget what is of no use any more, and return what it was in words; `there` are all guests of these."""


class Daemon(NamedTuple):
    """A time daemon: a shell command that asks it, how its answer is read, and a shell command that resyncs it.

    `parse` returns None where the daemon is not there; `ask` succeeds only where it is. `wait` ends when it is in sync,
    or after two seconds: one program that waits in the node costs it less than being asked again and again.
    """

    name: str
    ask: str
    parse: Callable[[str], Claim | None]
    resync: str
    wait: str = ""


class Node(NamedTuple):
    """A name, and how to observe and perform on it."""

    name: str
    reach: Reach


Tell = Callable[[str, str], None]
"""Takes a node's name, or nothing for all, and a line of the story."""


class World(NamedTuple):
    """All that a flow works with: the machines, their locks and pauses, this machine's clock, and whom to tell.

    `asking_ns` is how long it may take to learn how a node is reached, before its deadline begins; 0 if nobody has to
    be asked for that.
    """

    hypervisor: Hypervisors
    clock: Clock
    host: HostClock
    locks: Locks
    journal: Journal
    tell: Tell
    asking_ns: int = 0
