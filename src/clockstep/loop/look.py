"""Looking at a node: its clock, and what its time daemon claims."""

from dataclasses import replace

from clockstep.core.checks import left_to_daemon, measured
from clockstep.core.plan import plan
from clockstep.daemons import ask_all, parse_all
from clockstep.errors import ReachError
from clockstep.loop.episodes import conclude, trouble_of
from clockstep.loop.run import Run, begin
from clockstep.model import Cause, Claim, Episode, Facts, Policy, Step, Trouble
from clockstep.ports import Clock, Node, Reference
from clockstep.units import SECOND_NS
from clockstep.waiting import said_if_slow

COMMAND_NS = 5 * SECOND_NS


def observe(node: Node, cause: Cause, policy: Policy, clock: Clock, reference: Reference) -> Episode:
    """Look once, daemon included, and change nothing."""
    run = begin(node, cause, policy, clock, reference)
    run.facts = read(run, ask=True)
    run.before = measured(run.facts)
    return replace(conclude(run, proof=False), planned=plan(run.facts, run.policy))


def look(run: Run, *, ask: bool = False) -> Facts:
    """Read the node as `read` does, and say so if it takes long."""
    with said_if_slow(run.tell, run.node.name, f"waiting for an answer by {run.node.reach.source}"):
        return read(run, ask=ask)


def read(run: Run, *, ask: bool) -> Facts:
    """Read the node's clock and, if `ask` or where it matters, what its daemon claims.

    A reference that was set by no more than the tolerance meanwhile, as some hypervisors do to their guests, is a
    truth still: less exact for this look, and from now on what it says now.
    """
    reading, missed = None, list[Trouble]()
    try:
        reading = run.node.reach.clock(run.policy.tolerance_ns if run.policy.glance else None)
    except ReachError as error:
        missed.append(trouble_of(run, error))
    moved_ns = run.reference.moved_since(run.anchor)
    if abs(moved_ns) > run.policy.tolerance_ns:
        return Facts(trouble=tuple(missed), reference_moved_ns=moved_ns)
    if moved_ns:
        run.anchor = run.reference.anchor()
    if reading is None:
        return Facts(trouble=tuple(missed))
    facts = Facts((replace(reading, offset=reading.offset.widened(abs(moved_ns))),))
    if not ask and not left_to_daemon(facts, run.policy):
        return facts
    claim, trouble = ask_daemon(run)
    return Facts(facts.readings, claim, trouble)


def ask_daemon(run: Run) -> tuple[Claim | None, tuple[Trouble, ...]]:
    """Return what the node's time daemon claims; None where there is none, or where it cannot be asked."""
    try:
        command = ["/bin/sh", "-c", ask_all()]
        return parse_all(run.node.reach.run(command, b"", run.clock.monotonic_ns() + COMMAND_NS).out), ()
    except ReachError as error:
        lacking = "resynced" if any(isinstance(action, Step) for action in run.done) else "asked"
        return None, (Trouble(f"the time daemon was not {lacking}: {error.message}", error.hint),)
