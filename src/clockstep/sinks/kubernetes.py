"""The Kubernetes cluster whose Nodes the watched machines are: it learns what their clocks do."""

from collections.abc import Callable, Sequence

from clockstep.core.matching import match
from clockstep.model import Episode, Guest
from clockstep.ports import Clock, KubeNodes, Listed, Tell
from clockstep.sinks.reporter import Absent, Finder, Reporter
from clockstep.units import MINUTE_NS, SECOND_NS

AGAIN_NS, LONGEST_NS = 10 * SECOND_NS, 10 * MINUTE_NS
"""How soon Nodes are listed again for a machine that is none: at first, and when that brought nothing new for long."""


class MachineNodes(Finder):
    """Finds the Nodes of machines by their UUIDs. A machine that is none yet may be one when Nodes are listed again."""

    def __init__(self, cluster: KubeNodes, clock: Clock, tell: Tell) -> None:
        self.guests: Sequence[Guest] = ()
        self._cluster, self._clock, self._tell = cluster, clock, tell
        self._names: dict[str, str] = {}
        self._doubtful: set[str] = set()
        self._wait_ns, self._next_ns = AGAIN_NS, 0

    def node(self, machine: str) -> str:
        """Return the name of the Node that the machine with this UUID is."""
        if machine not in self._names and self._clock.monotonic_ns() >= self._next_ns:
            self._list()
        if machine not in self._names:
            raise Absent(self._next_ns)
        return self._names[machine]

    def machine(self, name: str) -> Guest | None:
        """Return the machine of this name, as it was listed last; None if there is none."""
        return next((guest for guest in self.guests if guest.name == name), None)

    def lose(self, machine: str) -> None:
        """Look for the machine among the Nodes as they are listed then: its Node may have another name by now."""
        self._names.pop(machine, None)

    def _list(self) -> None:
        """List the Nodes, the more rarely the longer that brings nothing new; a machine that is gone keeps its name."""
        guests = self.guests
        matching, there = match(guests, self._cluster.nodes()), {guest.uuid for guest in guests}
        names = {uuid: name for uuid, name in self._names.items() if uuid not in there}
        names |= {uuid: node.name for (_, uuid), node in matching.by_key.items()}
        if self._next_ns == 0:
            self._tell("", f"{len(names)} of {len(there)} machines are Nodes of the Kubernetes cluster")
        self._wait_ns = AGAIN_NS if names != self._names else min(2 * self._wait_ns, LONGEST_NS)
        self._names, self._next_ns = names, self._clock.monotonic_ns() + self._wait_ns
        for name in sorted({node.name for node in matching.doubtful} - self._doubtful):
            self._doubtful.add(name)
            self._tell("", f"{name}: which machine it is cannot be told by its UUID, so nothing is reported of it")


class KubernetesSink:
    """Gives each Episode to a reporter, by the machine's UUID; one that is listed no more is reported as gone."""

    def __init__(self, reporter: Reporter, finder: MachineNodes, tolerance_ns: Callable[[], int]) -> None:
        self._reporter = reporter
        self._finder = finder
        self._tolerance_ns = tolerance_ns
        self._listed: dict[str, Listed] = {}
        self._uuids: dict[str, str] = {}

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed; of one that does not answer, what it listed before counts."""
        self._listed.update({one.connection: one for one in listed if one.error is None})
        guests = [guest for one in self._listed.values() for guest in one.guests]
        before, self._uuids = set(self._uuids.values()), {guest.name: guest.uuid for guest in guests}
        self._finder.guests = guests
        for uuid in before.difference(self._uuids.values()):
            self._reporter.gone(uuid)

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode, to be reported."""
        if uuid := self._uuids.get(episode.node):
            self._reporter.seen(uuid, episode, self._tolerance_ns(), new=new)

    def ended(self) -> None:
        """Have written what is not yet."""
        self._reporter.end()
