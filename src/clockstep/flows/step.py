"""Looking at nodes, and correcting their clocks, all side by side."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from clockstep.core.summary import summarise
from clockstep.errors import ClockstepError, DeadlineError, NotRunningError
from clockstep.flows.aftercare import NO_AFTERCARE, Cluster
from clockstep.loop.company import Company
from clockstep.loop.episodes import unreached
from clockstep.loop.fleet import side_by_side
from clockstep.loop.look import observe
from clockstep.loop.prove import prove
from clockstep.loop.run import Run, begin
from clockstep.loop.settle import settle
from clockstep.model import Cause, ClusterPolicy, Episode, Guest, Pause, Policy, Report
from clockstep.ports import Node, Reach, Reference, World
from clockstep.units import SECOND_NS, show_moment
from clockstep.waiting import said_if_slow

ASKED = Cause("asked")
LOOKED = Cause("looked")
GRACE_NS = 7 * SECOND_NS
"""What a loop may overrun its own deadline by, waiting for an agent's last answer, before it is left behind."""
BEGIN_NS = 40 * SECOND_NS
"""How long it may take to bring a guest to where the loop can begin: libvirtd may be away for half a minute."""

MANY = 50


def status(world: World, guests: Sequence[Guest], policy: Policy) -> tuple[Episode, ...]:
    """Look at every guest once and change nothing; one that does not answer by the deadline is unreachable."""
    return next(watch(world, guests, policy))


def watch(world: World, guests: Sequence[Guest], policy: Policy) -> Iterator[tuple[Episode, ...]]:
    """Look at every guest each time that it is asked for, over ways that stay open meanwhile."""
    policy = fitting(policy, len(guests))
    with nodes(world, guests) as node:

        def job(guest: Guest) -> Episode:
            refuse_paused(guest, world.journal.pauses())
            refuse_idle(guest)
            way = node(guest)
            with said_if_slow(world.tell, guest.name, f"waiting for an answer by {way.reach.source}"):
                return observe(way, LOOKED, policy, world.clock, world.reference)

        while True:
            states = {guest.key: guest.state for guest in world.hypervisor.guests()}
            now = [replace(guest, state=states.get(guest.key, "gone")) for guest in guests]
            results = side_by_side(now, job, policy.deadline_ns)
            yield _episodes(results, dict.fromkeys(results, LOOKED), world.reference)


Nodes = Callable[[Guest], Node]
"""Gives the node of a guest, with the way to it."""

Correct = Callable[[Guest, "Pass"], Episode]
"""Corrects the clock of one guest, with what all that are corrected at once have in common."""


def step(world: World, causes: Mapping[Guest, Cause], policy: Policy) -> tuple[Episode, ...]:
    """Correct the clock of every guest, each for its own cause; return what was seen and done."""

    def correct(guest: Guest, work: Pass) -> Episode:
        run = work.begin(guest)
        prove(run)
        return settle(run)

    with nodes(world, list(causes)) as node:
        return Pass(world, causes, policy, node).each(correct)


def stepped(
    world: World, guests: Sequence[Guest], policy: Policy, *, aftercare: ClusterPolicy = NO_AFTERCARE
) -> Report:
    """Correct the clocks of these guests because that was asked for, and wait for the Kubernetes cluster."""
    with Cluster(world, guests, aftercare, "step") as cluster:
        episodes = step(world, dict.fromkeys(guests, ASKED), policy)
        cluster.wait(episodes, policy.tolerance_ns)
    return Report(world.host, episodes, summarise(episodes), cluster=cluster.state)


class Pass:
    """One correction of several clocks side by side; the deadline of each counts from now, or from its own event."""

    def __init__(self, world: World, causes: Mapping[Guest, Cause], policy: Policy, node: Nodes) -> None:
        self.node = node
        self._world, self._causes, self._policy = world, causes, fitting(policy, len(causes))
        self._company, self._over = Company(), threading.Event()
        self._called_ns = world.clock.monotonic_ns()

    def each(self, correct: Correct, begin_ns: int = 0) -> tuple[Episode, ...]:
        """Correct each clock under its machine's lock; `begin_ns` is what may pass before a run begins."""

        def locked(guest: Guest) -> Episode:
            with self._world.locks.hold([guest], self._policy.deadline_ns):
                return correct(guest, self)

        guests, done = list(self._causes), "{} of {} nodes done".format
        within_ns = self._policy.deadline_ns + GRACE_NS + begin_ns
        try:
            results = side_by_side(guests, locked, within_ns, lambda n: self._world.tell("", done(n, len(guests))))
        finally:
            self._over.set()
        return _episodes(results, self._causes, self._world.reference)

    def begin(self, guest: Guest, since_ns: int | None = None) -> Run:
        """Return a run over a guest whose clock is off since then; raises DeadlineError after the end of all."""
        if self._over.is_set():  # a guest that was left behind is not to get a second run beside another one
            raise DeadlineError("the deadline passed before it was started")
        world, cause = self._world, replace(self._causes[guest], since_ns=since_ns)
        until_ns = (self._called_ns if since_ns is None else since_ns) + self._policy.deadline_ns
        left = replace(self._policy, deadline_ns=until_ns - world.clock.monotonic_ns())
        return begin(self.node(guest), cause, left, world.clock, world.reference, world.tell, self._company)


def fitting(policy: Policy, count: int) -> Policy:
    """Return the policy for so many nodes: many are measured no better than their verdicts need."""
    return replace(policy, glance=True) if count > MANY else policy


def find_ways(world: World, guests: Sequence[Guest]) -> None:
    """Have it known how these guests are reached, as far as they run; what cannot be learned fails when it is needed.

    Vagrant takes seconds to say that, which are not the node's, and says nothing of a machine that is paused.
    """

    def ask(guest: Guest) -> None:
        if world.hypervisor.state(guest) == "running":  # not as it was listed: it may have been put back since
            world.hypervisor.reach(guest).close()

    if world.asking_ns:
        side_by_side(guests, ask, world.asking_ns)


@contextmanager
def nodes(world: World, guests: Sequence[Guest]) -> Iterator[Nodes]:
    """Give out these guests' nodes, and close the ways to them in the end, under whoever still hangs in one."""
    find_ways(world, guests)
    opened: dict[tuple[str, str], Reach] = {}

    def node(guest: Guest) -> Node:
        if guest.key not in opened:
            opened[guest.key] = world.hypervisor.reach(guest)
        return Node(guest.name, opened[guest.key])

    try:
        yield node
    finally:
        for reach in list(opened.values()):
            reach.close()


def refuse_idle(guest: Guest) -> None:
    """Raise NotRunningError for a guest that does not run."""
    if guest.state != "running":
        raise NotRunningError(f"it is {guest.state}", "only a running node has a clock to measure")


def refuse_paused(guest: Guest, pauses: Mapping[str, Pause]) -> None:
    """Raise NotRunningError for a guest that clockstep itself has paused and not resumed, with the way on."""
    pause = pauses.get(guest.uuid)
    if guest.state != "paused" or pause is None:
        return
    again = {"snapshot": "run clockstep snapshot create again, or", "revert": "run clockstep revert again, or"}
    hint = f"{again.get(pause.operation, 'run')} clockstep resume{'' if pause.released else ' --mixed'}"
    raise NotRunningError(f"paused by clockstep at {show_moment(pause.at_ns)}, for {pause.text}", hint)


def _episodes(
    results: Mapping[Guest, Episode | ClockstepError], causes: Mapping[Guest, Cause], reference: Reference
) -> tuple[Episode, ...]:
    return tuple(
        unreached(guest.name, causes[guest], result, reference) if isinstance(result, ClockstepError) else result
        for guest, result in results.items()
    )
