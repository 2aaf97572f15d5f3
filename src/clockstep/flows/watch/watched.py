"""What the watcher holds of each machine, and what it goes by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from clockstep.core.events import State
from clockstep.errors import ClockstepError
from clockstep.model import Guest, Policy
from clockstep.ports import Reach


@dataclass
class Watched:
    """A machine: its state by the table, and what is open to it.

    `guarded_ns` is when it was last seen to have a guard, since the last event, and `unguarded` whether it was reported
    that it takes none.
    """

    state: State
    reach: Reach | None = None
    guarded_ns: int | None = None
    unguarded: bool = False

    @property
    def guest(self) -> Guest:
        """The machine as it was listed last."""
        return self.state.guest

    @property
    def busy(self) -> bool:
        """Whether work on it is under way."""
        return self.state.work is not None


@dataclass
class Orders:
    """What a watcher goes by; it may be given others while it watches.

    Guests that are `chosen` are corrected; all others that run are looked at, if it `observes_all`, and left alone.
    Nothing is stepped while the host's clock is not one that it `trusts`. With `guards`, each that is chosen is kept
    with one. `synchronised` says whether the host's clock is, now. `matched` returns which of the names that say what
    is chosen mean one of these machines. Orders that are not `complete` do not know what all names mean; they are read
    again until they do.
    """

    chosen: Callable[[Guest], bool]
    policy: Policy
    trusts: Callable[[], bool] = lambda: True
    guards: bool = False
    observes_all: bool = False
    synchronised: Callable[[], bool] = lambda: True
    matched: Callable[[Sequence[Guest]], frozenset[str]] = lambda _guests: frozenset()
    complete: bool = True

    def observed(self, guest: Guest) -> bool:
        """Whether sweeps look at a guest."""
        return self.observes_all or self.chosen(guest)


@dataclass(frozen=True)
class Loaded:
    """What came of reading the configuration again; `asked` is whether somebody wanted that."""

    found: Orders | ClockstepError
    asked: bool


class Control(Protocol):
    """What whoever runs the watcher asks of it."""

    def is_over(self) -> bool:
        """Whether the watch is over."""

    def wants_reload(self) -> bool:
        """Whether the configuration is to be read again; each wish is returned once."""


class Manager(Protocol):
    """The service manager that started the watcher, and restarts one that hangs."""

    def alive(self) -> None:
        """Take a sign of life, about twice a second."""

    def reloading(self) -> None:
        """Take that the configuration is being read again."""

    def reloaded(self, said: str) -> None:
        """Take what came of that."""


class NoManager:
    """Nobody."""

    def alive(self) -> None:
        """Do nothing."""

    def reloading(self) -> None:
        """Do nothing."""

    def reloaded(self, said: str) -> None:
        """Do nothing."""


def drop(watched: Watched) -> None:
    """Let go of the way to a guest, also while another thread does or opens another one."""
    reach, watched.reach = watched.reach, None
    if reach:
        reach.close()
