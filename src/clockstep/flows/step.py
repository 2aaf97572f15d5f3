"""Looking at nodes, and bringing them right, all side by side."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from clockstep.errors import ClockstepError, DeadlineError, NotRunningError
from clockstep.loop.fleet import side_by_side
from clockstep.loop.heal import Company, heal, observe, unreached
from clockstep.model import Cause, Episode, Guest, Pause, Policy
from clockstep.ports import Clock, Node, Reach, World
from clockstep.units import SECOND_NS, show_moment
from clockstep.waiting import said_if_slow

ASKED = Cause("asked")
LOOKED = Cause("looked")
GRACE_NS = 7 * SECOND_NS
"""What a loop may overrun its own deadline by, waiting for an agent's last answer, before it is left behind."""
BEGIN_NS = 40 * SECOND_NS
"""How long it may take to bring a guest to where the loop can begin: libvirtd may be away for half a minute."""

MANY = 50

Begin = Callable[[Guest], int | None]
"""Brings a guest to where the loop can begin, and returns since when its clock has run wrong, if that is known."""


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
                return observe(way, LOOKED, policy, world.clock)

        while True:
            states = {guest.key: guest.state for guest in world.hypervisor.guests()}
            now = [replace(guest, state=states.get(guest.key, "gone")) for guest in guests]
            results = side_by_side(now, job, policy.deadline_ns)
            yield _episodes(results, dict.fromkeys(results, LOOKED), world.clock)


Nodes = Callable[[Guest], Node]
"""Gives the node of a guest, with the way to it."""

Proven = Callable[[Guest, Node], bool]
"""Takes a guest whose clock has just been proven right, and the way to it; False where it wants to be told again."""


def step(
    world: World,
    causes: Mapping[Guest, Cause],
    policy: Policy,
    begin: Begin | None = None,
    proven: Proven = lambda _guest, _node: True,
    ways: Nodes | None = None,
) -> tuple[Episode, ...]:
    """Run the loop on every guest, each for its own cause and under its lock; by these `ways`, if they are open yet.

    The deadline counts from when it was begun, where that is known, and otherwise from now.
    """
    company, policy = Company(), fitting(policy, len(causes))

    with nullcontext(ways) if ways else nodes(world, list(causes)) as node:
        called_ns, over = world.clock.monotonic_ns(), threading.Event()

        def job(guest: Guest) -> Episode:
            with world.locks.hold([guest], policy.deadline_ns):
                since_ns = begin(guest) if begin else None
                if over.is_set():  # whoever was left behind so far is not to be a second loop beside another
                    raise DeadlineError("it could be begun on too late")
                cause = replace(causes[guest], since_ns=since_ns)
                until_ns = (called_ns if since_ns is None else since_ns) + policy.deadline_ns
                left = replace(policy, deadline_ns=until_ns - world.clock.monotonic_ns())
                way = node(guest)
                return heal(way, cause, left, world.clock, world.tell, company, lambda: proven(guest, way))

        within_ns = policy.deadline_ns + GRACE_NS + (BEGIN_NS if begin else 0)
        try:
            done = "{} of {} nodes done".format
            results = side_by_side(list(causes), job, within_ns, lambda n: world.tell("", done(n, len(causes))))
        finally:
            over.set()
    return _episodes(results, causes, world.clock)


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
        raise NotRunningError(f"it is {guest.state}", "only a running machine has a clock that can be read")


def refuse_paused(guest: Guest, pauses: Mapping[str, Pause]) -> None:
    """Raise NotRunningError for a guest that clockstep itself has paused and not resumed, with the way on."""
    pause = pauses.get(guest.uuid)
    if guest.state != "paused" or pause is None:
        return
    again = {"snapshot": "run clockstep snapshot create again, or", "revert": "run clockstep revert again, or"}
    hint = f"{again.get(pause.operation, 'run')} clockstep resume{'' if pause.released else ' --mixed'}"
    raise NotRunningError(f"paused by clockstep at {show_moment(pause.at_ns)}, for {pause.text}", hint)


def _episodes(
    results: Mapping[Guest, Episode | ClockstepError], causes: Mapping[Guest, Cause], clock: Clock
) -> tuple[Episode, ...]:
    return tuple(
        unreached(guest.name, causes[guest], result, clock) if isinstance(result, ClockstepError) else result
        for guest, result in results.items()
    )
