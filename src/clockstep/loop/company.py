"""What keeps daemons from being resynced while other clocks are off."""

import threading

from clockstep.units import SECOND_NS

PATIENCE_NS = 2 * SECOND_NS


class Company:
    """Runs at the same time. Daemons wait until all clocks are proven: resyncing one takes from the others.

    On a busy host it is programs to start in each node. A clock that stays unproven delays the others by `PATIENCE_NS`
    at most, or by a quarter of their deadline.
    """

    def __init__(self) -> None:
        self._unproven: set[int] = set()
        self._lock = threading.Lock()

    def join(self, run: object) -> None:
        """Take in a run whose clock is not proven."""
        with self._lock:
            self._unproven.add(id(run))

    def leave(self, run: object) -> None:
        """Let go of a run whose clock is proven, or that has ended."""
        with self._lock:
            self._unproven.discard(id(run))

    def has_unproven(self) -> bool:
        """Whether any clock is not proven yet."""
        return bool(self._unproven)
