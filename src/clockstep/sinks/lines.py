"""A line for each Episode that is new."""

from collections.abc import Callable, Sequence

from clockstep.errors import visible
from clockstep.model import Episode
from clockstep.ports import Listed
from clockstep.render.output import json_line
from clockstep.render.text import episode_line


class EpisodeLines:
    """Gives lines to `out`, as JSON or as text."""

    def __init__(self, out: Callable[[str], None], *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed: nothing to print."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Print an Episode that is new."""
        if new:
            self._out(json_line(episode) if self._as_json else visible(episode_line(episode)))

    def ended(self) -> None:
        """Take that the watch is over."""
