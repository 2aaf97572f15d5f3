"""Looking at nodes, and bringing them right, all side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from clockstep.errors import ClockstepError, NotRunningError
from clockstep.fleet import side_by_side
from clockstep.heal import Company, heal, observe, unreached
from clockstep.model import Cause, Episode, Guest, Pause, Policy
from clockstep.ports import Clock, Node, Reach, World
from clockstep.units import SECOND_NS, show_moment

ASKED = Cause("asked for")
LOOKED = Cause("looked at")
GRACE_NS = 7 * SECOND_NS
"""What a loop may overrun its own deadline by, waiting for an agent's last answer, before it is left behind."""

Begin = Callable[[Guest], int | None]
"""Brings a guest to where the loop can begin, and returns since when its clock has run wrong, if that is known."""


def status(world: World, guests: Sequence[Guest], policy: Policy) -> tuple[Episode, ...]:
    """Look at every guest once and change nothing; one that does not answer by the deadline is unreachable."""
    return next(watch(world, guests, policy))


def watch(world: World, guests: Sequence[Guest], policy: Policy) -> Iterator[tuple[Episode, ...]]:
    """Look at every guest each time that it is asked for, over ways that stay open meanwhile."""
    with nodes(world) as node:

        def job(guest: Guest) -> Episode:
            refuse_paused(guest, world.journal.pauses())
            return observe(node(guest), LOOKED, policy, world.clock)

        while True:
            states = {guest.key: guest.state for guest in world.hypervisor.guests()}
            now = [msgspec.structs.replace(guest, state=states.get(guest.key, "gone")) for guest in guests]
            results = side_by_side(now, job, policy.deadline_ns)
            yield _episodes(results, dict.fromkeys(results, LOOKED), world.clock)


Proven = Callable[[Guest, Node], bool]
"""Takes a guest whose clock has just been proven right, and the way to it; False where it wants to be told again."""


def step(
    world: World,
    causes: Mapping[Guest, Cause],
    policy: Policy,
    begin: Begin = lambda _guest: None,
    proven: Proven = lambda _guest, _node: True,
) -> tuple[Episode, ...]:
    """Run the loop on every guest, each for its own cause and under its lock."""
    until_ns = world.clock.monotonic_ns() + policy.deadline_ns
    company = Company()

    with nodes(world) as node:

        def job(guest: Guest) -> Episode:
            with world.locks.hold([guest], policy.deadline_ns):
                cause = msgspec.structs.replace(causes[guest], since_ns=begin(guest))
                left = msgspec.structs.replace(policy, deadline_ns=until_ns - world.clock.monotonic_ns())
                way = node(guest)
                return heal(way, cause, left, world.clock, world.tell, company, lambda: proven(guest, way))

        results = side_by_side(list(causes), job, policy.deadline_ns + GRACE_NS)
    return _episodes(results, {guest.name: cause for guest, cause in causes.items()}, world.clock)


@contextmanager
def nodes(world: World) -> Iterator[Callable[[Guest], Node]]:
    """Give out the nodes, and close the ways to them in the end, under whoever still hangs in one."""
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


def refuse_paused(guest: Guest, pauses: Mapping[str, Pause]) -> None:
    """Raise NotRunningError for a guest that clockstep itself has paused and not resumed, with the way on."""
    pause = pauses.get(guest.uuid)
    if guest.state != "paused" or pause is None:
        return
    again = {"snapshot": "run clockstep snapshot create again, or", "revert": "run clockstep revert again, or"}
    hint = f"{again.get(pause.operation, 'run')} clockstep resume{'' if pause.released else ' --mixed'}"
    raise NotRunningError(f"paused by clockstep at {show_moment(pause.at_ns)}, for {pause.text}", hint)


def _episodes(
    results: Mapping[str, Episode | ClockstepError], causes: Mapping[str, Cause], clock: Clock
) -> tuple[Episode, ...]:
    return tuple(
        unreached(name, causes[name], result, clock) if isinstance(result, ClockstepError) else result
        for name, result in results.items()
    )
