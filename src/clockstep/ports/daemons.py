"""A time daemon that runs in a node."""

from collections.abc import Callable
from typing import NamedTuple

from clockstep.model import Claim


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
