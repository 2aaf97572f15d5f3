"""A way to a node: what reads its clock, steps it and runs commands there, and how ways are chosen."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from clockstep.model import Reading

NO_PROGRAM = 127
"""What a shell answers for a program that is not there."""


class Output(NamedTuple):
    """What a command in a node answered; its code is `NO_PROGRAM` if there is no such program."""

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
        """Measure the node's clock against the host's; no better than to find it within `within_ns`."""

    def step(self, by_ns: int, token: str) -> int | None:
        """Move the node's clock by `by_ns`, its offset as just measured, once for a token.

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
    """How ssh reaches a node: the host's name, and the words before it on ssh's command line.

    `sure` is whether somebody has said that it is this node; otherwise the machine there must prove it. `again` asks
    again, if this login was kept and may not lead there any longer; it raises ReachError.
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


class Node(NamedTuple):
    """A name, and how to observe and perform on it."""

    name: str
    reach: Reach
