"""Episodes of the watcher that are kept in the history."""

from collections.abc import Sequence

from clockstep.model import Entry, Episode
from clockstep.ports import Listed, Tell
from clockstep.state.history import FileHistory


class HistorySink:
    """Keeps each Episode that is new; why one could not be kept is told once."""

    def __init__(self, history: FileHistory, tell: Tell) -> None:
        self._history = history
        self._tell = tell
        self._said = ""

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed: nothing to keep."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Keep an Episode that is new."""
        if not new:
            return
        trouble = self._history.add([Entry("watch", episode)])
        if trouble and trouble != self._said:
            self._tell("", trouble)
        self._said = trouble

    def ended(self) -> None:
        """Take that the watch is over."""
