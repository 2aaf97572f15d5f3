"""The Kubernetes cluster whose Nodes the watched machines are: it learns what their clocks do."""

from collections.abc import Callable, Sequence

from clockstep.model import Episode
from clockstep.ports import Listed
from clockstep.sinks.reporter import Reporter


class KubernetesSink:
    """Gives each Episode to a reporter, by the machine's UUID; one that is listed no more is reported as gone."""

    def __init__(self, reporter: Reporter, tolerance_ns: Callable[[], int]) -> None:
        self._reporter = reporter
        self._tolerance_ns = tolerance_ns
        self._listed: dict[str, Listed] = {}
        self._uuids: dict[str, str] = {}

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed; of one that does not answer, what it listed before counts."""
        self._listed.update({one.connection: one for one in listed if one.error is None})
        before = set(self._uuids.values())
        self._uuids = {guest.name: guest.uuid for one in self._listed.values() for guest in one.guests}
        for uuid in before.difference(self._uuids.values()):
            self._reporter.gone(uuid)

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode, to be reported."""
        if uuid := self._uuids.get(episode.node):
            self._reporter.seen(uuid, episode, self._tolerance_ns(), new=new)

    def ended(self) -> None:
        """Have written what is not yet."""
        self._reporter.end()
