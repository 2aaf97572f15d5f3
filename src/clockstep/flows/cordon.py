"""Cordoning Nodes for as long as their machines are worked on: what clockstep cordons, it uncordons, also after a kill.

A Node bears the mark of whoever cordoned it, and before that is done it is written down here. A snapshot of the control
plane may have both the cordon and the mark; then they come back with a revert, and whoever reverts undoes them.
"""

import threading
from collections.abc import Container, Mapping, Sequence

from clockstep.errors import KubernetesError, cut
from clockstep.loop.fleet import failures, side_by_side
from clockstep.model import Cordon, Guest, KubeNode
from clockstep.ports import Cordons, KubeCordons, World
from clockstep.units import SECOND_NS

CORDON_NS = 30 * SECOND_NS
"""What it may take to cordon all of a run, or to uncordon them."""
LATER = "clockstep kubernetes uncordon undoes it later"


class Cordoning:
    """The Nodes that one run cordons; `mark` is what they bear meanwhile.

    A call that is under way when the run is interrupted would outlive it. So each machine has a lock: uncordoning waits
    for what is under way, and forbids what has not begun.
    """

    def __init__(self, world: World, operation: str) -> None:
        assert world.kubernetes
        self._world, self._kubernetes, self._notes = world, world.kubernetes, world.journal.cordons
        self.mark = world.journal.cordons.mark(operation, world.reference.now().at_ns)
        self._locks: dict[Guest, threading.Lock] = {}
        self._made: dict[Guest, Cordon] = {}
        self._over = False

    def cordon_all(self, members: Mapping[Guest, KubeNode]) -> None:
        """Cordon the Nodes of machines. Raises ClockstepError if one cannot be, with none left cordoned."""
        self._locks = {guest: threading.Lock() for guest in members}
        results = side_by_side(list(members), lambda guest: self._cordon(guest, members[guest]), CORDON_NS)
        if failed := failures(results):
            self.uncordon_all()
            guest, error = next(iter(failed.items()))
            text = f"the Node of {guest.name} cannot be cordoned: {error.message}"
            raise KubernetesError(text, "; or ".join(filter(None, ("nothing was changed; omit --cordon", error.hint))))

    def uncordon_all(self) -> tuple[str, ...]:
        """Uncordon what this run has cordoned; return the Nodes that it could not uncordon, whose notes stay."""
        self._over = True
        failed = failures(side_by_side(list(self._locks), self._uncordon, CORDON_NS))
        for guest, error in failed.items():
            self._world.tell(guest.name, f"its Node stays cordoned: {error.message}; {LATER}")
        return tuple(self._made[guest].name for guest in failed if guest in self._made)

    def _cordon(self, guest: Guest, node: KubeNode) -> None:
        with self._locks[guest]:
            if node.unschedulable or self._over:
                return
            cordon = Cordon(node.name, node.uid, self.mark)
            self._notes.note(cordon)
            self._made[guest] = cordon
            if self._kubernetes.cordon(node.name, self.mark):
                self._world.tell(guest.name, "its Node is cordoned")

    def _uncordon(self, guest: Guest) -> None:
        with self._locks[guest]:
            if guest not in self._made:
                return
            if undone(self._kubernetes, self._notes, self._made[guest]):
                self._world.tell(guest.name, "its Node is uncordoned")
            del self._made[guest]


def undone(kubernetes: KubeCordons, notes: Cordons, cordon: Cordon) -> bool:
    """Undo a cordon if its Node still bears its mark, and forget it; return whether it did. Raises KubernetesError."""
    try:
        was = kubernetes.uncordon(cordon.name, cordon.mark)
    except KubernetesError as error:
        if not error.not_found:
            raise
        was = False  # the Node is gone, and its cordon with it
    notes.strike(cordon)
    return was


def left_behind(nodes: Sequence[KubeNode], notes: Cordons, members: Container[str] = (), own: str = "") -> list[Cordon]:
    """Return the cordons of runs that have ended: those that are noted here, and those whose mark says so.

    On the Nodes of `members`, which were just reverted, any mark is one: it has come back with the snapshot. `own` is
    the mark of this run, which ends by itself.
    """
    by_uid = {(node.name, node.uid): node for node in nodes}
    noted = [one for one in notes.notes() if (one.name, one.uid) in by_uid and notes.is_over(one.mark)]
    stale = [one for one in marked(nodes) if one.mark != own and (one.name in members or notes.is_over(one.mark))]
    return list(dict.fromkeys((*noted, *stale)))


def marked(nodes: Sequence[KubeNode]) -> list[Cordon]:
    """Return all cordons of clockstep's that Nodes bear, whoever made them."""
    return [Cordon(node.name, node.uid, node.cordoned_by) for node in nodes if node.cordoned_by]


def clear(world: World, nodes: Sequence[KubeNode], members: Container[str] = (), own: str = "") -> None:
    """Undo what `left_behind` returns, as far as that can be done now, and say so."""
    until_ns = world.clock.monotonic_ns() + CORDON_NS
    for cordon in left_behind(nodes, world.journal.cordons, members, own) if nodes else ():
        if world.kubernetes is None or world.clock.monotonic_ns() >= until_ns:
            return
        try:
            if undone(world.kubernetes, world.journal.cordons, cordon):
                world.tell("", f"uncordoned {cordon.name}, which was left cordoned by: {cut(cordon.mark)}")
        except KubernetesError as error:
            world.tell("", f"{cordon.name} stays cordoned: {error.message}; {LATER}")
