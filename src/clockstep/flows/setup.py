"""Having nodes keep their own time: look, apply, prove by looks from outside, and put back what does not prove itself.

What is done in a node runs there apart from us and keeps how everything was, so a cut connection leaves nothing half
done.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from clockstep.core.provision import cloud_init
from clockstep.core.setup import (
    NOT_YET,
    SetupNode,
    SetupOutcome,
    SetupPlan,
    SetupReport,
    planned,
    proves,
    report,
    reported,
    shortfall,
)
from clockstep.daemons import setup as chrony
from clockstep.errors import DeadlineError, ExecBlockedError, ReachError
from clockstep.flows.step import GRACE_NS, LOOKED, nodes, refuse_paused
from clockstep.loop.fleet import side_by_side
from clockstep.loop.look import observe
from clockstep.model import Episode, Guest, Policy
from clockstep.ports import NO_PROGRAM, Node, Output, World
from clockstep.units import MINUTE_NS, SECOND_NS

T = TypeVar("T")
ASKING_NS = 40 * SECOND_NS
"""How long a command may take that only looks or starts something, on a guest that is slow or busy."""
POLL_NS = SECOND_NS
BETWEEN_LOOKS_NS = SECOND_NS // 2
PROOF_NS = 3 * MINUTE_NS
"""How long the proof may take: a chronyd that does not know its frequency yet may be off for a minute."""
LOST_NS = 60 * SECOND_NS
"""For how long a node may not answer while it works: its agent or its sshd may be restarted by what it installs."""
COMING_NS = 30 * SECOND_NS
"""For how long one that does not answer at first is asked again: it may just be starting."""
NOT_STARTED = "not-started"
OUTCOMES = {
    NOT_STARTED: SetupOutcome.REFUSED,  # what is there may be another run's, and is left alone
    chrony.REFUSED: SetupOutcome.REFUSED,
    chrony.FAILED: SetupOutcome.FAILED,
}
"""What a result in words means; any other is that it was not put back."""


class Wish(NamedTuple):
    """What is wanted beyond the usual: a device to follow whatever it is, chrony's `trust` in it, and where there is
    none to follow, servers that are asked often."""

    phc: str = ""
    trust: bool = False
    short_polls: bool = False

    @property
    def script(self) -> str:
        """The script that does it."""
        return chrony.script(self.phc, trust=self.trust, short_polls=self.short_polls)


def text(wish: Wish, form: str) -> str:
    """Return what does the same when it is provisioned: "shell" for a script, or "cloud-init" for its user data."""
    return cloud_init(wish.script, chrony.FILE) if form == "cloud-init" else wish.script


def look(world: World, guests: Sequence[Guest], policy: Policy, wish: Wish) -> SetupReport:
    """Return what would be changed in each node; nothing is."""
    return on_all(
        world, guests, _within_ns(policy), lambda _guest, node: planned(node.name, _first_plan(world, node, wish))
    )


def apply(world: World, guests: Sequence[Guest], policy: Policy, wish: Wish) -> SetupReport:
    """Set each node up and prove it; one that does not prove itself is put back."""

    job = locked(world, policy, lambda node: _applied(world, node, policy, wish))
    return on_all(world, guests, _within_ns(policy), job)


def undo(world: World, guests: Sequence[Guest], policy: Policy) -> SetupReport:
    """Restore in each node what was there before it was set up."""

    return on_all(world, guests, _within_ns(policy), locked(world, policy, lambda node: _undone(world, node, policy)))


def locked(world: World, policy: Policy, work: Callable[[Node], SetupNode]) -> Callable[[Guest, Node], SetupNode]:
    """Return a job that does this work on a node while it holds its lock."""

    def job(guest: Guest, node: Node) -> SetupNode:
        with world.locks.hold([guest], policy.deadline_ns):
            return work(node)

    return job


def on_all(
    world: World, guests: Sequence[Guest], within_ns: int, job: Callable[[Guest, Node], SetupNode]
) -> SetupReport:
    """Do a job on every guest that clockstep has not paused; one that is not done by then is unreachable."""
    with nodes(world, guests) as node:

        def guarded(guest: Guest) -> SetupNode:
            refuse_paused(guest, world.journal.pauses())
            return job(guest, node(guest))

        results = side_by_side(guests, guarded, within_ns)
    return report(world.host, reported(results))


def _within_ns(policy: Policy) -> int:
    return 2 * policy.deadline_ns + GRACE_NS  # putting it back takes as long


def _first_plan(world: World, node: Node, wish: Wish) -> SetupPlan:
    return patiently(world, node, lambda: _plan(world, node, wish))


def patiently(world: World, node: Node, ask: Callable[[], T]) -> T:
    """Return what a node answers; one that does not answer yet is asked again for a while. Raises ReachError."""
    until_ns = world.clock.monotonic_ns() + COMING_NS
    while True:
        try:
            return ask()
        except ExecBlockedError:
            raise
        except ReachError as error:
            if error.lasting or world.clock.monotonic_ns() >= until_ns:
                raise
            world.tell(node.name, f"{error.message}; asking again")
        world.clock.sleep_ns(POLL_NS)


def _plan(world: World, node: Node, wish: Wish) -> SetupPlan:
    output = run_in(world, node, ["/bin/sh", "-c", wish.script, "setup", "plan"])
    if output.code == NO_PROGRAM:
        return SetupPlan(system="without a shell, as Talos", manager="talos")
    plan = chrony.parse(output.out)
    if plan is None:
        said = output.err.strip() or f"exit code {output.code}"
        raise ReachError(f"its system could not be identified: {said}", "check the node", lasting=True)
    return replace(plan, by_ssh=node.reach.source == "ssh")


def _applied(world: World, node: Node, policy: Policy, wish: Wish) -> SetupNode:
    until_ns = world.clock.monotonic_ns() + policy.deadline_ns
    plan = _first_plan(world, node, wish)
    before = planned(node.name, plan)
    if before.outcome not in {SetupOutcome.WOULD_CHANGE, SetupOutcome.UNCHANGED}:
        return before
    if before.outcome is SetupOutcome.WOULD_CHANGE:
        result = _work(world, node, "apply", wish.script, until_ns)
        kind, _, why = result.partition(" ")
        if kind != chrony.DONE:
            if kind == chrony.REFUSED:
                run_in(world, node, ["/bin/sh", "-c", chrony.CLEAR])
            outcome = OUTCOMES.get(kind, SetupOutcome.NOT_PUT_BACK)
            where = "" if outcome is SetupOutcome.REFUSED else f" ({chrony.LOG} in the node says more)"
            return SetupNode(node.name, outcome, why + where, plan)
    return _proven(world, node, policy, wish, plan, until_ns)


def _proven(world: World, node: Node, policy: Policy, wish: Wish, plan: SetupPlan, until_ns: int) -> SetupNode:
    """Look until as many looks in a row as the policy wants find it right; then what was changed may stay."""
    clock = _plan(world, node, wish).clock if plan.acts else plan.clock
    plan_now = SetupPlan(clock=clock)
    lacks = partial(_lacks, plan=plan_now)
    episode, why = proof(world, node, policy, min(until_ns, world.clock.monotonic_ns() + PROOF_NS), lacks)
    if not why:
        outcome = SetupOutcome.SET_UP if plan.changes else SetupOutcome.UNCHANGED
        return SetupNode(node.name, outcome, "", plan, episode)
    if not plan.changes:
        return SetupNode(node.name, SetupOutcome.UNCHANGED, f"set up, but not verified: {why}", plan, episode)
    result = _work(world, node, "back", wish.script, world.clock.monotonic_ns() + policy.deadline_ns)
    if result == chrony.DONE:
        return SetupNode(node.name, SetupOutcome.FAILED, f"not verified in time: {why}", plan, episode)
    text = f"not verified in time: {why}; undoing it: {result.partition(' ')[2]}"
    return SetupNode(node.name, SetupOutcome.NOT_PUT_BACK, text, plan, episode)


def _lacks(episode: Episode, plan: SetupPlan) -> str:
    return "" if proves(episode, plan) else shortfall(episode, plan)


def proof(
    world: World, node: Node, policy: Policy, until_ns: int, lacks: Callable[[Episode], str]
) -> tuple[Episode, str]:
    """Look until as many looks in a row as the policy wants lack nothing; return the last, and what is lacking then."""
    good = 0
    while True:
        episode = observe(node, LOOKED, policy, world.clock, world.reference)
        why = lacks(episode)
        good = 0 if why else good + 1
        if good >= policy.looks:
            world.tell(node.name, "proven")
            return episode, ""
        world.tell(node.name, why or NOT_YET)
        if world.clock.monotonic_ns() >= until_ns:
            return episode, why or NOT_YET
        world.clock.sleep_ns(BETWEEN_LOOKS_NS)


def _undone(world: World, node: Node, policy: Policy) -> SetupNode:
    until_ns = world.clock.monotonic_ns() + policy.deadline_ns
    wish = Wish()
    plan = _first_plan(world, node, wish)
    if not plan.applied:
        return SetupNode(node.name, SetupOutcome.UNCHANGED, "clockstep has not set it up")
    kind, _, why = _work(world, node, "undo", wish.script, until_ns).partition(" ")
    if kind != chrony.DONE:
        return SetupNode(node.name, OUTCOMES.get(kind, SetupOutcome.NOT_PUT_BACK), why)
    run_in(world, node, ["/bin/sh", "-c", chrony.CLEAR])
    return SetupNode(
        node.name, SetupOutcome.PUT_BACK, episode=observe(node, LOOKED, policy, world.clock, world.reference)
    )


def _work(world: World, node: Node, verb: str, script: str, until_ns: int) -> str:
    """Have it done in the node, and return the result; raises DeadlineError where it is not done by then."""
    stored = run_in(world, node, ["/bin/sh", "-c", chrony.STORE], script.encode())
    if stored.code:
        return f"{NOT_STARTED} {stored.err.strip() or 'its file system is read-only'}"
    started = run_in(world, node, ["/bin/sh", "-c", f"{chrony.START} {verb}"])
    if started.code:
        return f"{NOT_STARTED} it cannot be started there: {started.err.strip()}"
    heard_ns = world.clock.monotonic_ns()
    while world.clock.monotonic_ns() < until_ns:
        world.clock.sleep_ns(POLL_NS)
        try:
            result, going_on, words = chrony.read_status(run_in(world, node, ["/bin/sh", "-c", chrony.STATUS]).out)
        except ReachError:
            if world.clock.monotonic_ns() - heard_ns > LOST_NS:
                raise
            continue
        heard_ns = world.clock.monotonic_ns()
        if not going_on:
            return result if result != chrony.WORKING else f"{chrony.BROKEN} it ended without a result: {words}"
        world.tell(node.name, words or verb)
    raise DeadlineError(f"{verb} is still running in the node", "it ends by itself; retry with a longer --deadline")


def run_in(world: World, node: Node, argv: Sequence[str], stdin: bytes = b"", within_ns: int = ASKING_NS) -> Output:
    """Run a command in a node to its end. Raises ReachError."""
    return node.reach.run(argv, stdin, world.clock.monotonic_ns() + within_ns)
