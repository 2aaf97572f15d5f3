"""What of the history is shown. Pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from clockstep.model import Entry, History, Repair


def merged(
    read: Iterable[tuple[Sequence[Entry], int]], names: Sequence[str], repairs: Sequence[Repair] = ()
) -> History:
    """Return what several histories have of the nodes with these names or globs, oldest first; of all without any."""
    parts = list(read)
    entries = [
        entry
        for found, _ in parts
        for entry in found
        if not names or any(fnmatchcase(entry.episode.node, name) for name in names)
    ]
    entries.sort(key=lambda entry: entry.episode.started_at_ns)
    return History(tuple(entries), sum(skipped for _, skipped in parts), tuple(repairs))
