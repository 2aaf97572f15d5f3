"""Waiting until clocks are within tolerance, without changing anything."""

from collections.abc import Sequence
from dataclasses import replace

from clockstep.core.checks import measured
from clockstep.errors import ClockstepError
from clockstep.flows.glance import glance
from clockstep.flows.step import find_ways, refuse_idle
from clockstep.loop.episodes import unreached
from clockstep.loop.fleet import side_by_side
from clockstep.model import Cause, Episode, Guest, Offset, Policy, Verdict
from clockstep.ports import Node, Reach, World
from clockstep.units import DAY_NS, MILLISECOND_NS, SECOND_NS, show_duration

AWAITED = Cause("waited-for")
BETWEEN_NS, MOST_BETWEEN_NS = 50 * MILLISECOND_NS, SECOND_NS
"""How long to wait between two rounds of readings: twice as long each time, up to the second of these."""
ROUND_NS, LAST_NS = 5 * SECOND_NS, SECOND_NS
"""How long one round may take, so that a node that hangs does not use up the time of the others, and how long the last
one may, beyond the end of the time."""


def wait(world: World, guests: Sequence[Guest], policy: Policy, timeout_ns: int) -> tuple[tuple[Episode, ...], bool]:
    """Return the last reading of each node, and whether all were within tolerance in several rounds in a row.

    Nothing is changed. A node that does not answer, or does not run, is waited for too.
    """
    until_ns, good, pause_ns = world.clock.monotonic_ns() + timeout_ns, 0, BETWEEN_NS
    find_ways(world, guests)
    ways = _Ways(world)
    try:
        while True:
            within_ns = max(LAST_NS, min(ROUND_NS, until_ns - world.clock.monotonic_ns()))
            episodes = _round(world, guests, policy, ways, within_ns)
            ready = sum(episode.verdict is Verdict.GOOD for episode in episodes)
            good = good + 1 if ready == len(episodes) else 0
            if good >= policy.looks:
                return episodes, True
            _tell(world, episodes, ready)
            between_ns = BETWEEN_NS if good else pause_ns
            if world.clock.monotonic_ns() + between_ns > until_ns:
                return episodes, False
            world.clock.sleep_ns(between_ns)
            pause_ns = min(2 * pause_ns, MOST_BETWEEN_NS)
    finally:
        ways.close()


class _Ways:
    """The ways to nodes, open from one round to the next as long as they answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[Guest, Reach] = {}

    def node(self, guest: Guest) -> Node:
        """Return a guest's node."""
        if guest not in self._open:
            self._open[guest] = self._world.hypervisor.reach(guest)
        return Node(guest.name, self._open[guest])

    def drop(self, guest: Guest) -> None:
        """Close the way to a node, under whoever still hangs in it: there may be another one the next time."""
        if reach := self._open.pop(guest, None):
            reach.close()

    def close(self) -> None:
        """Close all."""
        for guest in list(self._open):
            self.drop(guest)


def _round(world: World, guests: Sequence[Guest], policy: Policy, ways: _Ways, within_ns: int) -> tuple[Episode, ...]:
    """Return a reading of each node; a hypervisor that does not answer costs the nodes of others no time."""
    until_ns = world.clock.monotonic_ns() + within_ns
    surveyed = world.hypervisor.survey(within_ns // 2)
    silent = {one.connection: one.error for one in surveyed if one.error}
    states = {guest.key: guest.state for one in surveyed for guest in one.guests}

    def job(guest: Guest) -> Episode:
        if error := silent.get(guest.connection):
            raise error
        refuse_idle(replace(guest, state=states.get(guest.key, "gone")))
        return glance(ways.node(guest), AWAITED, policy, world.clock, world.reference)

    left_ns = max(LAST_NS, until_ns - world.clock.monotonic_ns())
    return tuple(_episode(world, ways, guest, one) for guest, one in side_by_side(guests, job, left_ns).items())


def _episode(world: World, ways: _Ways, guest: Guest, result: Episode | ClockstepError) -> Episode:
    if isinstance(result, ClockstepError):
        ways.drop(guest)
        return unreached(guest.name, AWAITED, result, world.reference)
    return result


def _tell(world: World, episodes: Sequence[Episode], ready: int) -> None:
    world.tell("", f"{ready} of {len(episodes)} within tolerance")
    for episode in episodes:
        offset = measured(episode.facts)
        reason = episode.facts.trouble[-1].text if episode.facts.trouble else "not read"
        state = "within tolerance" if episode.verdict is Verdict.GOOD else "waiting"
        world.tell(episode.node, f"{roughly(offset)}, {state}" if offset else f"{reason}, waiting")


def roughly(offset: Offset) -> str:
    """Say an offset to one digit, so that one that only drifts is not said again each second."""
    by_ns = abs(offset.value_ns)
    digit = 10 ** (len(str(by_ns)) - 1)
    shown = show_duration(by_ns if by_ns > DAY_NS else by_ns // digit * digit)
    return f"about {shown} {'behind' if offset.value_ns < 0 else 'ahead'}"
