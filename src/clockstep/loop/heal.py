"""The loop: observe, judge, act, look again. The only place where decisions meet effects.

Success is never what an act answered: it is several fresh readings in a row, taken after it, by a path that does not
trust the daemon.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from clockstep.core.checks import agrees, judge, left_to_daemon, measured, resyncable, worst
from clockstep.core.offset import sandwich
from clockstep.core.plan import consent, decide, explained, hopeless, plan
from clockstep.daemons import DAEMONS, ask_all, parse_all
from clockstep.errors import BusyError, ClockstepError, InternalError, NotRunningError, NotSteppedError, ReachError
from clockstep.model import (
    Action,
    Cause,
    Claim,
    Episode,
    Facts,
    Finding,
    Offset,
    Policy,
    Resync,
    Step,
    Trouble,
    Verdict,
)
from clockstep.ports import Clock, Node, Tell
from clockstep.reach.injection import new_token
from clockstep.units import MILLISECOND_NS, SECOND_NS, show_offset, show_shift
from clockstep.waiting import said_if_slow

BETWEEN_LOOKS_NS = 10 * MILLISECOND_NS
UNREACHED_NS = 50 * MILLISECOND_NS
"""How often a node that still does not answer is asked again: ten that come up at once are held up by being asked."""
WAITING_FOR_DAEMON_NS = 250 * MILLISECOND_NS
WAIT_TAKES_NS = 3 * SECOND_NS
"""Two seconds that a daemon's `wait` waits, and what it takes to start it in a busy node."""
COMMAND_NS = 5 * SECOND_NS
RESYNC_TAKES_NS = 8 * SECOND_NS
UNHEARD_NS = 3 * SECOND_NS // 2
"""How long the first answer of a time source is waited for, if none had answered before the daemon was resynced either:
what it takes to ask comes on top, and all of it is to be 3 s at most."""
JUMP_NS = MILLISECOND_NS
"""How far this machine's wall and monotonic clocks may part: a daemon slews both alike, only a step parts them."""


HELD_NS = 250 * MILLISECOND_NS
PATIENCE_NS = 2 * SECOND_NS


class Company:
    """Runs at the same time. Daemons are seen to when all clocks are right: what that takes is taken from the others.

    On a machine that is busy it is programs to start in each node. One that stays wrong holds the others up by two
    seconds at most, or by a quarter of their deadline.
    """

    def __init__(self) -> None:
        self._wrong: set[int] = set()
        self._lock = threading.Lock()

    def join(self, run: "Run") -> None:
        """Take in a run whose clock may be wrong."""
        with self._lock:
            self._wrong.add(id(run))

    def leave(self, run: "Run") -> None:
        """Let go of a run whose clock is right, or that has ended."""
        with self._lock:
            self._wrong.discard(id(run))

    def holds(self, run: "Run") -> bool:
        """Whether a run whose clock is right should leave its daemon alone for now."""
        self.leave(run)
        now_ns = run.clock.monotonic_ns()
        run.patient_since_ns = run.patient_since_ns or now_ns
        patience_ns = min(PATIENCE_NS, run.policy.deadline_ns // 4)
        return bool(self._wrong) and now_ns - run.patient_since_ns < patience_ns


@dataclass
class Run:
    """One pass of the loop over one node, and what it remembers between looks.

    `asked` is the step whose fate is not known, with its token, and `open` is whether it may be made yet; `begun` is
    one that was cut off, so that only the clock tells.
    """

    node: Node
    cause: Cause
    policy: Policy
    clock: Clock
    anchor: Offset
    began_ns: int
    started_at_ns: int
    proven: Callable[[], bool] = lambda: True
    overtaken: Callable[[], bool] = lambda: False
    told: bool = False
    before: Offset | None = None
    done: list[Action] = field(default_factory=list)
    asked: tuple[str, Step] | None = None
    open: bool = False
    begun: Step | None = None
    resynced_ns: int = 0
    good: int = 0
    patient_since_ns: int = 0
    silences: int = 0
    claimed: Claim | None = None
    right_ns: int | None = None
    proven_ns: int | None = None


def heal(
    node: Node,
    cause: Cause,
    policy: Policy,
    clock: Clock,
    tell: Tell,
    company: Company | None = None,
    proven: Callable[[], bool] = lambda: True,
    overtaken: Callable[[], bool] = lambda: False,
) -> Episode:
    """Bring the node's clock right and its daemon along, until proven or until the policy's deadline has passed.

    `proven` is called as soon as the clock is proven right, before the daemon is seen to, and at each look after that
    until it returns True. A daemon is not waited for any longer once the loop is `overtaken`: something has happened
    to the node again, which is another loop's to mend. A node in trouble is an Episode that says so; nothing is raised
    for it.
    """
    run = start(node, cause, policy, clock)
    run.proven, run.overtaken = proven, overtaken
    company = company or Company()
    company.join(run)
    try:
        return _healed(run, tell, company)
    finally:
        company.leave(run)


def _healed(run: Run, tell: Tell, company: Company) -> Episode:
    clock, good = run.clock, None
    while True:
        if good and moved_on(run) and not owes(run):
            return conclude(run, good, sync=False)
        held = run.good >= run.policy.looks and company.holds(run)
        with said_if_slow(tell, run.node.name, f"waiting for an answer by {run.node.reach.source}"):
            facts = look(run, ask=run.good >= run.policy.looks and not held)
        if good and moved_on(run) and not (owes(run) and right(run, facts)):  # what was just seen is the next loop's
            return conclude(run, good, sync=False)
        count(run, facts)
        recall(run, facts)
        late = clock.monotonic_ns() - run.began_ns >= run.policy.deadline_ns
        run.claimed = run.claimed or (facts.claim if not run.resynced_ns else None)
        good = facts if run.good >= run.policy.looks else None
        run.told = run.told or (good is not None and not run.open and run.proven())
        if run.asked and not late and (good or (facts.readings and hopeless(facts, run.policy))):
            if trouble := attempted(run, learn):
                if trouble.lasting:
                    return conclude(run, with_trouble(facts, trouble))
                clock.sleep_ns(BETWEEN_LOOKS_NS)
            continue
        todo = plan(facts, run.policy, standing(run))
        if late or (settled(run, facts) and run.told and not held) or hopeless(facts, run.policy):
            return conclude(run, facts)
        tell(run.node.name, story(facts, todo))
        trouble = next(filter(None, (perform(run, action) for action in todo)), None)
        if trouble and trouble.lasting:
            return conclude(run, with_trouble(facts, trouble))
        if trouble or not todo:
            clock.sleep_ns(HELD_NS if held else pause(run, facts))
            await_daemon(run, facts)


def pause(run: Run, facts: Facts) -> int:
    """Return how long to wait before the next look, where nothing is to be done; longer each time for no answer."""
    if facts.claim:
        return WAITING_FOR_DAEMON_NS
    run.silences = 0 if facts.readings else run.silences + 1
    return min(BETWEEN_LOOKS_NS + run.silences * BETWEEN_LOOKS_NS // 4, UNREACHED_NS)


def await_daemon(run: Run, facts: Facts) -> None:
    """Wait in the node for a daemon that is not in sync yet; what came of it is for the next look to say."""
    if facts.claim is None or not resyncable(facts.claim) or in_sync(facts, run.policy) or unheard(run, facts):
        return
    command, until_ns = DAEMONS[facts.claim.daemon].wait, run.clock.monotonic_ns() + WAIT_TAKES_NS
    if command and run.told and until_ns < run.began_ns + run.policy.deadline_ns:
        with suppress(ReachError):
            run.node.reach.run(["/bin/sh", "-c", command], b"", until_ns)


def observe(node: Node, cause: Cause, policy: Policy, clock: Clock) -> Episode:
    """Look once, daemon included, and change nothing."""
    run = start(node, cause, policy, clock)
    facts = look(run, ask=True)
    run.before = measured(facts)
    return replace(conclude(run, facts, proof=False), planned=plan(facts, run.policy))


def look(run: Run, *, ask: bool) -> Facts:
    """Read the node's clock and, where asked to or where it matters, what its daemon claims."""
    try:
        reading = run.node.reach.clock(run.policy.tolerance_ns if run.policy.glance else None)
    except ReachError as error:
        return Facts(trouble=(met(run, error),), host_jumped_ns=jumped(run.anchor, run.clock))
    if jump := jumped(run.anchor, run.clock):
        return Facts(host_jumped_ns=jump)
    facts = Facts((reading,))
    if not ask and not left_to_daemon(facts, run.policy):
        return facts
    claim, trouble = ask_daemon(run)
    return Facts((reading,), claim, trouble)


def ask_daemon(run: Run) -> tuple[Claim | None, tuple[Trouble, ...]]:
    """Return what the node's time daemon claims; None where there is none, or where it cannot be asked."""
    try:
        command = ["/bin/sh", "-c", ask_all()]
        return parse_all(run.node.reach.run(command, b"", run.clock.monotonic_ns() + COMMAND_NS).out), ()
    except ReachError as error:
        lacking = "resynced" if any(isinstance(action, Step) for action in run.done) else "asked"
        return None, (Trouble(f"the time daemon was not {lacking}: {error.message}", error.hint),)


def perform(run: Run, action: Action) -> Trouble | None:
    """Carry out one action; that it met no trouble is not taken for success."""
    match action:
        case Step():
            return attempted(run, learn if run.asked else lambda run: step(run, action))
        case Resync(daemon):
            return attempted(run, lambda run: resync(run, daemon))
        case _:
            raise TypeError(f"not an action: {action}")


def attempted(run: Run, act: Callable[[Run], None]) -> Trouble | None:
    """Act, and return the trouble that was met."""
    try:
        act(run)
    except ReachError as error:
        return met(run, error)
    return None


def step(run: Run, wanted: Step) -> None:
    """Ask for a step, under a token of its own: no other is asked for until it is known what became of it."""
    token = new_token(run.clock)
    run.asked, run.open = (token, wanted), True
    try:
        added_ns = run.node.reach.step(wanted.by_ns, token)
    except NotSteppedError as error:
        run.asked, run.open = None if error.lasting else run.asked, False
        raise
    run.open = False
    if added_ns is not None:
        became(run, added_ns)


def learn(run: Run) -> None:
    """Ask the node what became of the step that was asked for; the next look is after all that it may have done."""
    assert run.asked
    token, wanted = run.asked
    added_ns = run.node.reach.fate(token)
    run.open = False
    if added_ns is None:
        run.asked, run.begun = None, wanted
    else:
        became(run, added_ns)


def became(run: Run, added_ns: int) -> None:
    """Record what a node has added to its clock, which may be nothing."""
    run.asked = None
    if added_ns:
        run.done.append(Step(added_ns))


def with_trouble(facts: Facts, trouble: Trouble) -> Facts:
    """Return the facts with one more trouble."""
    return replace(facts, trouble=(*facts.trouble, trouble))


def recall(run: Run, facts: Facts) -> None:
    """Decide by how the clock reads now whether a step was made that was begun and cut off."""
    offset, begun = measured(facts), run.begun
    if offset and begun:
        run.begun = None
        if abs(offset.value_ns) < min(abs(begun.by_ns) // 2, SECOND_NS):
            run.done.append(begun)


def standing(run: Run) -> list[Action]:
    """Return what was done, but for a resync that has had its time: chronyd passes over a burst during another."""
    stale = run.clock.monotonic_ns() - run.resynced_ns > RESYNC_TAKES_NS
    return run.done[:-1] if run.done and isinstance(run.done[-1], Resync) and stale else run.done


def resync(run: Run, daemon: str) -> None:
    """Have the daemon measure anew."""
    run.resynced_ns = run.clock.monotonic_ns()
    command = ["/bin/sh", "-c", DAEMONS[daemon].resync]
    output = run.node.reach.run(command, b"", run.clock.monotonic_ns() + COMMAND_NS)
    if output.code:
        text = f"{daemon} was not resynced: {output.out.strip()} {output.err.strip()}"
        raise ReachError(text, f"run it in the guest: {DAEMONS[daemon].resync}", lasting=True)
    run.done.append(Resync(daemon))


def start(node: Node, cause: Cause, policy: Policy, clock: Clock) -> Run:
    """Return a run that begins now."""
    limits = explained(policy, cause)
    return Run(node, cause, limits, clock, anchored(clock), clock.monotonic_ns(), clock.realtime_ns())


def right(run: Run, facts: Facts) -> bool:
    """Whether a look says that all is good."""
    return worst(judge(facts, run.policy)) is Verdict.GOOD


def count(run: Run, facts: Facts) -> None:
    """Count the good looks in a row, and keep when the first and the one that proves it came."""
    first = run.before is None
    run.before = run.before or measured(facts)
    if not right(run, facts):
        run.good, run.right_ns, run.proven_ns = 0, None, None
        return
    run.good += 1
    since = run.began_ns if run.cause.since_ns is None else run.cause.since_ns
    if run.good == 1:
        run.right_ns = 0 if first else run.clock.monotonic_ns() - since
    if run.good == run.policy.looks:
        run.proven_ns = run.clock.monotonic_ns() - since


def settled(run: Run, facts: Facts) -> bool:
    """Whether the clock is proven, the daemon was asked, and it is in sync or there is none to wait for."""
    if run.good <= run.policy.looks:
        return False
    if not waits_for_daemon(run, facts):
        return True
    return not owes(run) and (in_sync(facts, run.policy) or given_up(run, facts))


def given_up(run: Run, facts: Facts) -> bool:
    """Whether a daemon that was not in sync before this run either has had its time."""
    waited = bool(run.resynced_ns) and run.clock.monotonic_ns() - run.resynced_ns >= UNHEARD_NS
    return waited and unheard(run, facts) and not run.policy.require_sync


def unheard(run: Run, facts: Facts) -> bool:
    """Whether no time source has answered the daemon, neither before anything was done to it nor since."""
    both = (run.claimed, facts.claim)
    return all(claim is not None and claim.heard is False and not claim.synchronised for claim in both)


def owes(run: Run) -> bool:
    """Whether a daemon was not resynced since the last step."""
    return bool(run.done) and not isinstance(run.done[-1], Resync)


def moved_on(run: Run) -> bool:
    """Whether only the daemon is seen to yet, while something has moved the node again."""
    return run.told and run.overtaken()


def waits_for_daemon(run: Run, facts: Facts) -> bool:
    """Whether there is a daemon that may yet come into sync, and that is this run's to wait for."""
    if run.policy.require_sync:
        return True
    return resyncable(facts.claim) and (run.policy.resync_idle or bool(run.done))


def in_sync(facts: Facts, policy: Policy) -> bool:
    """Whether a daemon says that it is in sync with the clock as it is."""
    return facts.claim is not None and agrees(facts.claim, policy)


def conclude(run: Run, facts: Facts, *, proof: bool = True, sync: bool = True) -> Episode:
    """Return all that was seen and done; where a proof was wanted, a clock that only looks right is not good.

    `sync` says whether a daemon had its time to come into sync, where that is required.
    """
    findings = judge(facts, run.policy)
    if run.resynced_ns and unheard(run, facts) and facts.claim:
        findings = tuple(unheard_before(facts.claim) if one.check == "daemon" else one for one in findings)
    if proof and run.proven_ns is None and worst(findings) is Verdict.GOOD:
        findings += (unproven(run),)
    if proof and sync and run.policy.require_sync and not in_sync(facts, run.policy):
        findings += (unsynchronised(facts),)
    open_step = run.asked[1] if run.asked else run.begun
    if open_step:
        findings += (unconfirmed(open_step),)
    return Episode(
        node=run.node.name,
        cause=run.cause,
        verdict=worst(findings),
        before=run.before,
        actions=(*run.done, *([Step(open_step.by_ns, unconfirmed=True)] if open_step else [])),
        after=measured(facts),
        facts=facts,
        findings=findings,
        started_at_ns=run.started_at_ns,
        took_ns=run.clock.monotonic_ns() - run.began_ns,
        wrong_for_ns=run.right_ns if run.proven_ns is not None else None,
        proven_ns=run.proven_ns,
        decision=decide(facts, run.policy),
        consent=consent(facts, run.policy),
    )


def unheard_before(claim: Claim) -> Finding:
    """Return the finding that a daemon is not in sync, which is not because of what was done."""
    text = f"{claim.daemon} is not synchronised, and was not before either: no time source had answered it"
    return Finding("daemon", Verdict.GOOD, text, "see whether the node reaches its time servers")


def unproven(run: Run) -> Finding:
    """Return the finding that the deadline came first."""
    text = f"right at the last look, but seen {run.good} times in a row and not {run.policy.looks}"
    return Finding("proof", Verdict.UNSURE, text, "give it more time with --deadline")


def unconfirmed(step: Step) -> Finding:
    """Return the finding that a step was asked for, and that the node has not said what became of it."""
    text = f"it was asked to step by {show_shift(step.by_ns, 1)}, and has not said whether it did: it may do so yet"
    return Finding("step", Verdict.UNSURE, text, "run clockstep status in a moment")


def unsynchronised(facts: Facts) -> Finding:
    """Return the finding that the clock is not enough where a daemon in sync is wanted as well."""
    daemon = facts.claim.daemon if facts.claim else "a time daemon"
    return Finding("sync", Verdict.BAD, f"{daemon} in sync is required, and did not come in time", "see to the daemon")


def unreached(name: str, cause: Cause, error: ClockstepError, clock: Clock) -> Episode:
    """Return the episode of a node that the loop could not even be run on, or that did not come back from it."""
    facts = Facts(trouble=(troubled(error),))
    findings = judge(facts, Policy())
    return Episode(name, cause, worst(findings), None, (), None, facts, findings, clock.realtime_ns(), 0)


def troubled(error: ClockstepError) -> Trouble:
    """Return an error as the fact that it is here."""
    lasting = isinstance(error, ReachError) and error.lasting
    return Trouble(error.message, error.hint, lasting, isinstance(error, InternalError), isinstance(error, BusyError))


def met(run: Run, error: ReachError) -> Trouble:
    """Return an error as a fact of this run, in which a machine that was read may be being reverted by somebody."""
    passing = isinstance(error, NotRunningError) and run.before is not None
    return replace(troubled(error), lasting=error.lasting and not passing)


def anchored(clock: Clock) -> Offset:
    """Return how far the wall clock is from the monotonic one: it changes only when somebody steps the wall clock."""
    return sandwich(clock.monotonic_ns(), clock.realtime_ns(), clock.monotonic_ns())


def jumped(anchor: Offset, clock: Clock) -> int:
    """Return by how many nanoseconds this machine's wall clock was stepped since the anchor was taken; 0 for not."""
    now = anchored(clock)
    moved = Offset(now.value_ns - anchor.value_ns, now.error_ns + anchor.error_ns)
    return moved.value_ns if moved.surely_beyond(JUMP_NS) else 0


def story(facts: Facts, todo: Sequence[Action]) -> str:
    """Return one line on where the loop stands."""
    offset = measured(facts)
    if offset is None:
        return facts.trouble[-1].text if facts.trouble else "not read"
    shown = show_offset(offset.value_ns, offset.error_ns)
    match todo:
        case [Step(), *_]:
            return f"{shown}, stepping"
        case [Resync(daemon), *_]:
            return f"{shown}, resyncing {daemon}"
        case _ if facts.claim:
            return f"waiting for {facts.claim.daemon} to be in sync"
        case _:
            return "looking again"
