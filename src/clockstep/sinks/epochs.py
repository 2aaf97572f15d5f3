"""Proposes the aftermath after a step so large that certificates may have lapsed: on the Node, and on a line."""

from collections.abc import Callable, Sequence

from clockstep.core.epoch import LEAST_NS, LONGEST_NS, Epoch, entered, proposal, shortest_life, stepped
from clockstep.errors import ClockstepError
from clockstep.model import Certificate, Episode, Guest
from clockstep.ports import Listed, Tell, World
from clockstep.units import SECOND_NS
from clockstep.workloads.certificates import certificates

WITHIN_NS = 10 * SECOND_NS
"""How long a node may take to say which certificates it has."""


class EpochSink:
    """Looks at each correction that is large, with the node's certificates, and proposes once in each epoch and Node.

    `machine` finds a machine by its name, and `propose` takes its UUID and a sentence. It takes its time, so it belongs
    behind a queue.
    """

    def __init__(
        self, world: World, machine: Callable[[str], Guest | None], propose: Callable[[str, str], None], tell: Tell
    ) -> None:
        self._world, self._machine, self._propose, self._tell = world, machine, propose, tell
        self._life_ns = LONGEST_NS
        self._epoch: Epoch | None = None

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed, which others keep."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode."""
        by_ns, guest = stepped(episode), self._machine(episode.node)
        if not new or guest is None or abs(by_ns) < LEAST_NS:
            return
        found = self._certificates(guest)
        self._life_ns = min(self._life_ns, shortest_life(found))
        text = proposal(by_ns, self._life_ns, found, self._world.reference.now().at_ns)
        if not text:
            return
        self._epoch, first = entered(self._epoch, guest.uuid, self._world.clock.monotonic_ns())
        self._propose(guest.uuid, text)
        if first:
            self._tell("", f"{episode.node}: {text}")

    def ended(self) -> None:
        """Take that the watch is over."""

    def _certificates(self, guest: Guest) -> tuple[Certificate, ...]:
        """Return a node's certificates, as far as it says which; none is no failure."""
        try:
            reach = self._world.hypervisor.reach(guest)
            try:
                return certificates(reach, self._world.clock.monotonic_ns() + WITHIN_NS)
            finally:
                reach.close()
        except ClockstepError:
            return ()
