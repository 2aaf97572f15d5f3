"""Giving nodes an agent of their own: its one file and its unit are carried there, started, and proven from outside.

One script does it in a node, whether a host runs it there or the node's own `service install`. It keeps what was there,
so what was cut short is continued or undone by the next run.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

from clockstep.core.agent_unit import CONTENT, MARK, PROGRAM, UNIT, UNIT_FILE
from clockstep.core.own_agent import Found, lacks, parse, plan_of, planned_agent, read_state, wanted_unit
from clockstep.core.setup import SetupNode, SetupOutcome, SetupPlan, SetupReport
from clockstep.daemons import PROGRAMS
from clockstep.daemons.inside import OTHERS
from clockstep.errors import ReachError
from clockstep.flows.setup import ASKING_NS, PROOF_NS, locked, on_all, patiently, proof, run_in
from clockstep.flows.step import GRACE_NS, LOOKED
from clockstep.guest import program
from clockstep.loop.look import observe
from clockstep.model import Episode, Guest, Policy
from clockstep.ports import NO_PROGRAM, Node, Output, World
from clockstep.units import MINUTE_NS

FOLDER = "/var/lib/clockstep-agent"
SCRIPT = program(
    "own_agent/setup.sh",
    PROGRAM=PROGRAM,
    UNIT_FILE=UNIT_FILE,
    UNIT=UNIT,
    FOLDER=FOLDER,
    MARK=MARK,
    CONTENT=CONTENT,
    PROGRAMS=" ".join(PROGRAMS),
    OTHERS=" ".join(OTHERS),
)
WORKING_NS = 5 * MINUTE_NS
"""How long it may take to start the agent, and to go back to an earlier one."""
PIECE = 32 * 1024
"""Bytes that are brought at once: an emulated guest's agent takes more than a second to read 200 KB of JSON, and after
two seconds it counts as away.
"""
DONE = "done"
OUTCOMES = {"refused": SetupOutcome.REFUSED, "failed": SetupOutcome.FAILED}
"""What a result means; any other is that it was not undone."""

Run = Callable[[Sequence[str], bytes, int], Output]
"""Runs a command to its end with an input, within so many nanoseconds."""


def look(world: World, guests: Sequence[Guest], policy: Policy, file: bytes) -> SetupReport:
    """Return what would be changed in each node for this file of the agent; nothing is."""

    def job(_guest: Guest, node: Node) -> SetupNode:
        return _planned(node, patiently(world, node, lambda: found_by(_runs(world, node))), file)

    return on_all(world, guests, _within_ns(policy), job)


def apply(world: World, guests: Sequence[Guest], policy: Policy, file: bytes) -> SetupReport:
    """Give each node its agent and prove it; one that does not prove itself is removed, or the earlier one is back."""

    job = locked(world, policy, lambda node: _applied(world, node, policy, file))
    return on_all(world, guests, _within_ns(policy), job)


def undo(world: World, guests: Sequence[Guest], policy: Policy) -> SetupReport:
    """Remove from each node its agent and all that came with it."""

    return on_all(world, guests, _within_ns(policy), locked(world, policy, lambda node: _undone(world, node, policy)))


def found_by(run: Run) -> Found:
    """Return what is there. Raises ReachError where that cannot be had."""
    output = _script(run, "look")
    if output.code == NO_PROGRAM:
        raise ReachError("it has no shell, as Talos", "run clockstep watch on its host instead", lasting=True)
    found = parse(output.out)
    if found is None:
        said = output.err.strip() or f"exit code {output.code}"
        raise ReachError(f"its system could not be identified: {said}", "check the node", lasting=True)
    return found


def install_by(run: Run, found: Found, file: bytes) -> str:
    """Bring the agent's file and its unit there, and start it; return the result, which is `done` where it runs."""
    files = {"program": file, "unit": wanted_unit(found).encode()}
    for name, content in files.items():
        pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
        for number, piece in enumerate(pieces, 1):
            words = ("keep", name, str(number), str(len(pieces)))
            said = _result(_script(run, *words, stdin=piece), cut_off="refused")
            if said != "kept":
                return said
    sums = (hashlib.sha256(content).hexdigest() for content in files.values())
    return _result(_script(run, "apply", found.python, *sums, within_ns=WORKING_NS))


def remove_by(run: Run) -> str:
    """Remove the agent there, and return the result."""
    return _result(_script(run, "undo", within_ns=WORKING_NS))


def _runs(world: World, node: Node) -> Run:
    return partial(run_in, world, node)


def _script(run: Run, *words: str, stdin: bytes = b"", within_ns: int = ASKING_NS) -> Output:
    return run(["/bin/sh", "-c", SCRIPT, "own-agent", *words], stdin, within_ns)


def _result(output: Output, cut_off: str = "broken") -> str:
    """Return the result of a verb. One that was cut off may have changed anything, unless `cut_off` says otherwise."""
    if said := output.out.strip().splitlines():
        return said[-1]
    return f"{cut_off} it ended without a result ({output.err.strip() or f'exit code {output.code}'}): run it again"


def _planned(node: Node, found: Found, file: bytes) -> SetupNode:
    return planned_agent(node.name, plan_of(found, file))


def _applied(world: World, node: Node, policy: Policy, file: bytes) -> SetupNode:
    run = _runs(world, node)
    found = patiently(world, node, lambda: found_by(run))
    before = _planned(node, found, file)
    if before.plan is None or before.outcome is SetupOutcome.REFUSED:
        return before
    if before.outcome is SetupOutcome.WOULD_CHANGE:
        world.tell(node.name, "bringing the agent and starting it")
        kind, _, why = install_by(run, found, file).partition(" ")
        if kind != DONE:
            return SetupNode(node.name, OUTCOMES.get(kind, SetupOutcome.NOT_PUT_BACK), why, before.plan)
    return _proven(world, node, policy, before.plan)


def _proven(world: World, node: Node, policy: Policy, plan: SetupPlan) -> SetupNode:
    """Look until the agent's word and looks from outside agree that all is well; then what was changed may stay."""
    run = _runs(world, node)

    def lacking(episode: Episode) -> str:
        try:
            return lacks(read_state(_script(run, "status").out), episode, policy)
        except ReachError as error:
            return error.message

    until_ns = world.clock.monotonic_ns() + min(policy.deadline_ns, PROOF_NS)
    episode, why = proof(world, node, policy, until_ns, lacking)
    if not why:
        return SetupNode(node.name, SetupOutcome.SET_UP if plan.changes else SetupOutcome.UNCHANGED, "", plan, episode)
    if not plan.changes:
        return SetupNode(node.name, SetupOutcome.UNCHANGED, f"set up, but not verified: {why}", plan, episode)
    result = _result(_script(run, "back", within_ns=WORKING_NS))
    if result == DONE:
        return SetupNode(node.name, SetupOutcome.FAILED, f"not verified in time: {why}", plan, episode)
    text = f"not verified in time: {why}; undoing it: {result.partition(' ')[2]}"
    return SetupNode(node.name, SetupOutcome.NOT_PUT_BACK, text, plan, episode)


def _undone(world: World, node: Node, policy: Policy) -> SetupNode:
    run = _runs(world, node)
    found = patiently(world, node, lambda: found_by(run))
    if not found.applied:
        theirs = f"; {found.foreign} is not clockstep's, and stays" if found.foreign else ""
        return SetupNode(node.name, SetupOutcome.UNCHANGED, f"clockstep has set no agent up here{theirs}")
    kind, _, why = remove_by(run).partition(" ")
    if kind != DONE:
        return SetupNode(node.name, OUTCOMES.get(kind, SetupOutcome.NOT_PUT_BACK), why)
    return SetupNode(
        node.name, SetupOutcome.PUT_BACK, episode=observe(node, LOOKED, policy, world.clock, world.reference)
    )


def _within_ns(policy: Policy) -> int:
    return policy.deadline_ns + 2 * WORKING_NS + GRACE_NS
