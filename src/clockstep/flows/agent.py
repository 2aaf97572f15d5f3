"""Giving nodes a guest agent, so that they are reached without a login: a channel, a package, and a reading as proof.

All of it is done over ssh and libvirt while the machine runs. What was added to a domain is written down here, and what
was installed in the node; so just that is removed again.
"""

from collections.abc import Sequence

from clockstep.core.checks import measured
from clockstep.core.setup import SetupNode, SetupOutcome, SetupPlan, SetupReport
from clockstep.errors import ClockstepError, ReachError
from clockstep.flows.setup import on_all
from clockstep.flows.step import GRACE_NS, LOOKED
from clockstep.guest import program
from clockstep.loop.look import observe
from clockstep.model import Channel, Episode, Guest, Policy
from clockstep.ports import Node, World
from clockstep.state.journal import FileDefinitions
from clockstep.units import MINUTE_NS, SECOND_NS
from clockstep.wire import decoded, encoded

SCRIPT = program("agent/agent.sh")
AGENT = "guest agent"
MARK = "channel"
CHANNEL = "attach the guest agent's channel to the running domain and to its definition"
LOOKING_NS, ANSWERING_NS, POLL_NS = 20 * SECOND_NS, MINUTE_NS, SECOND_NS // 5
EARLIER = "earlier snapshots have no agent: after a revert to one of them the node is reached by ssh again"
LATER = "takes effect at the next cold start (shut the node off and start it)"
NO_WAY = "reachable neither by guest agent nor by ssh: name an ssh_config with --ssh-config"


def look(world: World, guests: Sequence[Guest], policy: Policy) -> SetupReport:
    """Return what each node lacks; nothing is changed."""

    def job(guest: Guest, node: Node) -> SetupNode:
        if node.reach.source == AGENT:
            return _answers(world, node, policy)
        return SetupNode(guest.name, SetupOutcome.WOULD_CHANGE, EARLIER, _plan(world, guest, node))

    return on_all(world, guests, _within_ns(policy), job)


def add(world: World, guests: Sequence[Guest], policy: Policy, kept: FileDefinitions) -> SetupReport:
    """Give each node an agent and read its clock by it; what does not come to that is undone."""

    def job(guest: Guest, node: Node) -> SetupNode:
        with world.locks.hold([guest], policy.deadline_ns):
            if node.reach.source == AGENT:
                return _answers(world, node, policy)
            return _added(world, guest, node, policy, kept)

    return on_all(world, guests, _within_ns(policy), job)


def remove(world: World, guests: Sequence[Guest], policy: Policy, kept: FileDefinitions) -> SetupReport:
    """Remove from each node the agent that was installed, and from its domain the channel that was added."""

    def job(guest: Guest, node: Node) -> SetupNode:
        with world.locks.hold([guest], policy.deadline_ns):
            removed = _run(world, node, "undo", policy.deadline_ns) == "removed"
            removed = _remove_channel(world, guest, kept) or removed
            if not removed:
                return SetupNode(guest.name, SetupOutcome.UNCHANGED, "clockstep added no guest agent here")
            return SetupNode(guest.name, SetupOutcome.PUT_BACK)

    return on_all(world, guests, _within_ns(policy), job)


def _added(world: World, guest: Guest, node: Node, policy: Policy, kept: FileDefinitions) -> SetupNode:
    plan = _plan(world, guest, node)
    world.tell(guest.name, "attaching the guest agent's channel")
    added = world.hypervisor.add_channel(guest)
    if (added.defined or added.plugged) and kept.kept(guest.uuid, MARK) is None:
        kept.keep(guest.uuid, MARK, encoded(added).decode())
    later = added.objection
    try:
        world.tell(guest.name, "installing qemu-guest-agent")
        _run(world, node, f"install {'' if later else 'now'}", policy.deadline_ns)
        if later:
            return SetupNode(guest.name, SetupOutcome.DEFINED, f"{LATER}: {later}; {EARLIER}", plan)
        episode = _awaited(world, guest, policy)
    except ClockstepError as error:
        outcome = SetupOutcome.FAILED
        try:
            _run(world, node, "undo", policy.deadline_ns)
            _remove_channel(world, guest, kept)
        except ClockstepError as again:
            outcome, error.message = SetupOutcome.NOT_PUT_BACK, f"{error.message}; {again.message}"
        return SetupNode(guest.name, outcome, error.message, plan)
    return SetupNode(guest.name, SetupOutcome.SET_UP, EARLIER, plan, episode)


def _remove_channel(world: World, guest: Guest, kept: FileDefinitions) -> bool:
    """Remove what of a channel was added by clockstep; whether there was anything."""
    noted = kept.kept(guest.uuid, MARK)
    if noted is None:
        return False
    if added := decoded(noted, Channel):
        world.hypervisor.remove_channel(guest, added)
    kept.forget(guest.uuid, MARK)
    return True


def _plan(world: World, guest: Guest, node: Node) -> SetupPlan:
    missing = _run(world, node, "look", LOOKING_NS) == "missing"
    acts = () if world.hypervisor.around(guest).agent_channel else (CHANNEL,)
    return SetupPlan(system=guest.recorded, install=("qemu-guest-agent",) if missing else (), acts=acts)


def _answers(world: World, node: Node, policy: Policy) -> SetupNode:
    """Return what comes of a node that no ssh leads to, or need lead to."""
    episode = observe(node, LOOKED, policy, world.clock, world.reference)
    if measured(episode.facts) is None:
        said = episode.facts.trouble[-1].text if episode.facts.trouble else "no answer"
        return SetupNode(node.name, SetupOutcome.UNREACHED, f"{NO_WAY} ({said})")
    return SetupNode(node.name, SetupOutcome.UNCHANGED, "its guest agent answers", episode=episode)


def _awaited(world: World, guest: Guest, policy: Policy) -> Episode:
    """Return the first look by the agent that reads the clock; raises ReachError where none comes in time."""
    until_ns = world.clock.monotonic_ns() + ANSWERING_NS
    world.tell(guest.name, "waiting for its guest agent to answer")
    while world.clock.monotonic_ns() < until_ns:
        reach = world.hypervisor.reach(guest)
        try:
            episode = observe(Node(guest.name, reach), LOOKED, policy, world.clock, world.reference)
            if reach.source == AGENT and measured(episode.facts):
                return episode
        finally:
            reach.close()
        world.clock.sleep_ns(POLL_NS)
    raise ReachError("its guest agent does not answer", "check the log of qemu-guest-agent in the node")


def _run(world: World, node: Node, verb: str, within_ns: int) -> str:
    """Run the script in the node and return its result. Raises ReachError with it where that is a failure."""
    argv = ["/bin/sh", "-c", SCRIPT, "agent", *verb.split()]
    output = node.reach.run(argv, b"", world.clock.monotonic_ns() + within_ns)
    said = (output.out.strip().splitlines() or [output.err.strip() or f"exit code {output.code}"])[-1]
    if output.code:
        raise ReachError(said, lasting=True)
    return said


def _within_ns(policy: Policy) -> int:
    return policy.deadline_ns + ANSWERING_NS + GRACE_NS
