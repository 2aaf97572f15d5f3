"""By what a node notices that its clock may be off: one file each.

A marker that a signal compares with is kept in the process's memory alone: that goes back with the machine at a revert,
so the change is seen each time. A file, or a host's memory, might not go back with it.
"""

from typing import Protocol

from clockstep.model import Happening


class Signal(Protocol):
    """One source of happenings. Nothing it meets is raised: `trouble` says why it sees nothing, empty if it does."""

    name: str
    sees: str
    blind: str
    """What it notices and what it cannot, for `agent --explain`."""
    trouble: str

    def wakes(self) -> int | None:
        """Return the file whose readiness (poll(2), POLLIN) ends the wait for the next tick; None for none."""

    def check(self, now_ns: int) -> Happening | None:
        """Return what has happened since the last call, if anything; `now_ns` is of the monotonic clock."""

    def close(self) -> None:
        """Let go of what is held open."""
