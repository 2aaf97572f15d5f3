"""What is paused and cordoned by clockstep, for whoever comes after a kill."""

from collections.abc import Collection
from typing import Protocol

from clockstep.model import Cordon, Guest, Pause


class Cordons(Protocol):
    """Which Nodes of Kubernetes are cordoned by clockstep, kept where a killed run does not take it along."""

    def mark(self, operation: str, at_ns: int) -> str:
        """Return the mark of what this process cordons for an operation."""

    def is_over(self, mark: str) -> bool:
        """Whether a mark is of a process of this host that has ended; False of every other one."""

    def notes(self) -> list[Cordon]:
        """Return all that is written down."""

    def note(self, cordon: Cordon) -> None:
        """Write down a cordon, before it is made; raises JournalError where that cannot be done."""

    def strike(self, cordon: Cordon) -> None:
        """Forget a cordon, after the Node was uncordoned."""


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

    @property
    def cordons(self) -> Cordons:
        """Return where it is kept which Nodes are cordoned."""
