"""Every known cause of a clock error, present or after the next revert. Nothing is changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from clockstep.core.diagnosis import diagnose
from clockstep.core.doctor import compare_snapshots, examine_host, issues
from clockstep.core.summary import diagnosed
from clockstep.daemons import ask_all, inside, parse_all
from clockstep.errors import ClockstepError, ConfinedError, ExecBlockedError, ReachError
from clockstep.flows.step import GRACE_NS, LOOKED, nodes
from clockstep.loop.episodes import unreached
from clockstep.loop.fleet import side_by_side
from clockstep.loop.look import observe
from clockstep.model import Claim, Diagnosis, DoctorReport, Examination, Guest, Policy
from clockstep.ports import Node, Output, World

RunHere = Callable[[str], Output]
"""Runs a shell script on this host."""


def doctor(
    world: World, guests: Sequence[Guest], policy: Policy, here: RunHere, host_tai_s: int, *, together: bool
) -> DoctorReport:
    """Return the issues of each node, of this host, and of nodes that belong `together`."""
    with nodes(world, guests) as node:

        def job(guest: Guest) -> Examination:
            return examine(world, guest, node(guest), policy, host_tai_s)

        results = side_by_side(guests, job, policy.deadline_ns + GRACE_NS)
    examinations = [
        _unexamined(world, guest.name, result) if isinstance(result, ClockstepError) else result
        for guest, result in results.items()
    ]
    apart = compare_snapshots(examinations) if together else None
    of_host = examine_host(world.host, _claim_here(here), inside.parse(here(inside.ASK).out))
    general = issues((*of_host, *((apart,) if apart else ())))
    diagnoses = tuple(Diagnosis(one.node, issues(diagnose(one, policy))) for one in examinations)
    return DoctorReport(world.host, general, diagnoses, diagnosed(examinations, policy))


def _claim_here(here: RunHere) -> Claim | None:
    try:
        return parse_all(here(ask_all()).out)
    except ReachError:
        return None


def examine(world: World, guest: Guest, node: Node, policy: Policy, host_tai_s: int) -> Examination:
    """Look at a node from outside and from inside."""
    until_ns = world.clock.monotonic_ns() + policy.deadline_ns
    around = world.hypervisor.around(guest)
    facts = observe(node, LOOKED, policy, world.clock, world.reference).facts
    seen = Examination(guest.name, facts, around, host_tai_s=host_tai_s)
    if not facts.readings:
        return seen
    try:
        output = node.reach.run(["/bin/sh", "-c", inside.ASK], b"", until_ns)
    except ConfinedError as error:
        return replace(seen, confined=error.message)
    except ExecBlockedError:
        return replace(seen, exec_blocked=True)
    except ReachError as error:
        return replace(seen, unasked=error.message, unasked_lasts=error.lasting)
    found = inside.parse(output.out)
    said = "" if found else f"it has no usable shell: {output.err.strip() or f'exit code {output.code}'}"
    return replace(seen, inside=found, unasked=said, unasked_lasts=True)


def _unexamined(world: World, name: str, error: ClockstepError) -> Examination:
    return Examination(name, unreached(name, LOOKED, error, world.reference).facts)
