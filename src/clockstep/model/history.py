"""Episodes that were kept."""

from dataclasses import dataclass

from clockstep.model.aftermath import Repair
from clockstep.model.clock import Episode
from clockstep.model.workloads import Freeze


@dataclass(frozen=True, slots=True)
class Entry:
    """An Episode that was kept: `by` is the command that it is of, such as `revert`, or `watch` for the watcher.

    `freeze` is what became of the node's workloads meanwhile; None if they were not frozen.
    """

    by: str
    episode: Episode
    freeze: Freeze | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What `history` prints, oldest first; `skipped` is how many lines of its files could not be read.

    `repairs` are those of the aftermath, twice if they were proven: as they were begun, and as they ended.
    """

    entries: tuple[Entry, ...]
    skipped: int = 0
    repairs: tuple[Repair, ...] = ()
    schema_version: int = 2
