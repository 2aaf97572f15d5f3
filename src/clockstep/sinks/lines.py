"""A line for each Episode that is new."""

from collections.abc import Callable, Sequence

from clockstep.model import Episode
from clockstep.ports import Listed


class EpisodeLines:
    """Gives lines to `out`; `line` makes one of an Episode."""

    def __init__(self, out: Callable[[str], None], line: Callable[[Episode], str]) -> None:
        self._out = out
        self._line = line

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed: nothing to print."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Print an Episode that is new."""
        if new:
            self._out(self._line(episode))

    def ended(self) -> None:
        """Take that the watch is over."""
