"""Where the watcher's Episodes go, and what it remembers across restarts."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from clockstep.model import Episode
from clockstep.ports.machines import Listed


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
