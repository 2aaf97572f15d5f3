"""One pass of the loop over one node, and what it remembers between looks."""

from dataclasses import dataclass, field

from clockstep.core.checks import judge, measured, worst
from clockstep.core.moved import moved_away
from clockstep.core.plan import explained
from clockstep.loop.company import Company
from clockstep.model import Action, Cause, Claim, Facts, Finding, Offset, Policy, Resync, Step, Verdict
from clockstep.ports import Clock, Node, Reference, Tell
from clockstep.units import SECOND_NS

RESYNC_TAKES_NS = 8 * SECOND_NS


@dataclass
class Run:
    """One pass of the loop over one node, and what it remembers between looks.

    `facts` is the last look that counts. `asked` is the step whose fate is not known, with its token, and `open` is
    whether it may be made yet; `begun` is one that was cut off, so that only the clock tells. `good` counts the good
    looks in a row, the last of them at `good_at_ns`; `claimed` is what the daemon said before it was resynced, and
    `moved` the finding that the proven clock was moved away.
    """

    node: Node
    cause: Cause
    policy: Policy
    clock: Clock
    reference: Reference
    tell: Tell
    company: Company
    anchor: Offset
    began_ns: int
    started_at_ns: int
    facts: Facts = field(default_factory=Facts)
    before: Offset | None = None
    done: list[Action] = field(default_factory=list)
    asked: tuple[str, Step] | None = None
    open: bool = False
    begun: Step | None = None
    resynced_ns: int = 0
    good: int = 0
    good_at_ns: int = 0
    silences: int = 0
    claimed: Claim | None = None
    moved: Finding | None = None
    first_good_ns: int | None = None
    proven_ns: int | None = None

    @property
    def proven(self) -> bool:
        """Whether enough good looks in a row were seen, and no step may be made any more."""
        return self.good >= self.policy.looks and not self.open

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.clock.monotonic_ns() - self.began_ns >= self.policy.deadline_ns

    @property
    def daemon_needs_resync(self) -> bool:
        """Whether a daemon was not resynced since the last step."""
        return bool(self.done) and not isinstance(self.done[-1], Resync)

    def effective(self) -> list[Action]:
        """Return what was done, but for a resync that has had its time: chronyd ignores a burst during another."""
        stale = self.clock.monotonic_ns() - self.resynced_ns > RESYNC_TAKES_NS
        return self.done[:-1] if self.done and isinstance(self.done[-1], Resync) and stale else self.done

    def is_good(self, facts: Facts) -> bool:
        """Whether a look finds nothing wrong."""
        return worst(judge(facts, self.policy)) is Verdict.GOOD

    def take(self, facts: Facts) -> None:
        """Remember a look: how often the clock was good in a row, and since when."""
        self._note_move(facts)
        self._count(facts)
        self._recall(facts)
        self.facts = facts
        self.claimed = self.claimed or (facts.claim if not self.resynced_ns else None)

    def _count(self, facts: Facts) -> None:
        first = self.before is None
        self.before = self.before or measured(facts)
        if not self.is_good(facts):
            self.good, self.first_good_ns, self.proven_ns = 0, None, None
            return
        self.good += 1
        self.good_at_ns = self.clock.monotonic_ns()
        since = self.began_ns if self.cause.since_ns is None else self.cause.since_ns
        if self.good == 1:
            self.first_good_ns = 0 if first else self.clock.monotonic_ns() - since
        if self.good == self.policy.looks:
            self.proven_ns = self.clock.monotonic_ns() - since

    def _note_move(self, facts: Facts) -> None:
        """Find out who has moved a clock that was proven, at the first look that sees it beyond the tolerance."""
        if self.moved or not self.proven or self.asked:
            return
        elapsed_ns = self.clock.monotonic_ns() - self.good_at_ns
        self.moved = moved_away(self.facts, facts, elapsed_ns, self.policy)

    def _recall(self, facts: Facts) -> None:
        """Decide by how the clock reads now whether a step was made that was begun and cut off."""
        offset, begun = measured(facts), self.begun
        if offset and begun:
            self.begun = None
            if abs(offset.value_ns) < min(abs(begun.by_ns) // 2, SECOND_NS):
                self.done.append(begun)


def begin(
    node: Node,
    cause: Cause,
    policy: Policy,
    clock: Clock,
    reference: Reference,
    tell: Tell = lambda _node, _text: None,
    company: Company | None = None,
) -> Run:
    """Return a run over a node that begins now, side by side with those in its company."""
    limits, anchor = explained(policy, cause), reference.anchor()
    began_ns, started_at_ns = clock.monotonic_ns(), reference.now().at_ns
    return Run(node, cause, limits, clock, reference, tell, company or Company(), anchor, began_ns, started_at_ns)
