"""What is paused by clockstep, for whoever comes after a kill."""

from collections.abc import Collection
from typing import Protocol

from clockstep.model import Guest, Pause


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
