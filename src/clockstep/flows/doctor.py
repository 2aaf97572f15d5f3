"""Looking for every reason why a clock is wrong, or will be after the next revert. Nothing is changed."""

from collections.abc import Callable, Sequence

from clockstep.core.diagnosis import compare_snapshots, diagnose, examine_host
from clockstep.daemons import ask_all, inside, parse_all
from clockstep.errors import ClockstepError, ExecBlockedError, ReachError
from clockstep.fleet import side_by_side
from clockstep.flows.step import GRACE_NS, LOOKED, nodes
from clockstep.heal import observe, unreached
from clockstep.model import Diagnosis, DoctorReport, Examination, Guest, Inside, Policy
from clockstep.ports import Node, Output, World

RunHere = Callable[[str], Output]
"""Runs a shell script on this machine."""


def doctor(world: World, guests: Sequence[Guest], policy: Policy, here: RunHere, host_tai_s: int) -> DoctorReport:
    """Return what is to be said of each node, of all together, and of this machine."""
    with nodes(world) as node:

        def job(guest: Guest) -> Examination:
            return examine(world, guest, node(guest), policy, host_tai_s)

        results = side_by_side(guests, job, policy.deadline_ns + GRACE_NS)
    examinations = [
        _unexamined(world, name, result) if isinstance(result, ClockstepError) else result
        for name, result in results.items()
    ]
    apart = compare_snapshots(examinations)
    of_host = examine_host(world.host, parse_all(here(ask_all()).out))
    diagnoses = tuple(Diagnosis(one.node, diagnose(one, policy)) for one in examinations)
    return DoctorReport(world.host, (*of_host, *((apart,) if apart else ())), diagnoses)


def examine(world: World, guest: Guest, node: Node, policy: Policy, host_tai_s: int) -> Examination:
    """Look at a node from outside and from inside."""
    around = world.hypervisor.around(guest)
    facts = observe(node, LOOKED, policy, world.clock).facts
    found: Inside | None = None
    blocked = False
    if facts.readings:
        try:
            until_ns = world.clock.monotonic_ns() + policy.deadline_ns
            found = inside.parse(node.reach.run(["/bin/sh", "-c", inside.ASK], b"", until_ns).out)
        except ExecBlockedError:
            blocked = True
        except ReachError:
            found = None  # the facts have that trouble too
    return Examination(guest.name, facts, around, found, blocked, host_tai_s)


def _unexamined(world: World, name: str, error: ClockstepError) -> Examination:
    return Examination(name, unreached(name, LOOKED, error, world.clock).facts)
