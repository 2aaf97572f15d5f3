"""One look at a node's clock, and at nothing else: no program is started in the node."""

from clockstep.core.checks import judge, measured, worst
from clockstep.core.plan import consent, decide, explained
from clockstep.model import Cause, Episode, Facts, Policy
from clockstep.ports import Clock, Node, Reference


def glance(node: Node, found: Cause, policy: Policy, clock: Clock, reference: Reference) -> Episode:
    """Return what one look at the clock alone says. Raises ReachError where the node does not answer."""
    began_ns, at_ns = clock.monotonic_ns(), reference.now().at_ns
    facts = Facts((node.reach.clock(policy.tolerance_ns),))
    policy = explained(policy, found)
    findings = judge(facts, policy)
    offset = measured(facts)
    took_ns = clock.monotonic_ns() - began_ns
    return Episode(
        node.name,
        found,
        worst(findings),
        offset,
        (),
        offset,
        facts,
        findings,
        at_ns,
        took_ns,
        decision=decide(facts, policy),
        consent=consent(facts, policy),
    )
