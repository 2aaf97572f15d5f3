"""One clockstep at a time for each machine."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from clockstep.model import Guest


class Locks(Protocol):
    """What keeps two programs from acting on one machine at the same time."""

    def hold(self, guests: Sequence[Guest], within_ns: int) -> AbstractContextManager[None]:
        """Hold the locks of all these; raises BusyError where one is not free within that time."""
