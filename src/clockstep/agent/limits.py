"""What the agent may do by itself, beside the limits by cause: an accumulated limit, and when it only observes."""

from dataclasses import dataclass, replace

from clockstep.core.checks import MAX_FORWARD
from clockstep.core.events import pulled_away
from clockstep.core.trail import OFTEN, Trail, cause, too_often
from clockstep.core.witness import UNWITNESSED_NS, WITNESSED
from clockstep.model import Cause, Decision, Episode, Finding, Offset, Policy, Step, Verdict, What
from clockstep.units import DAY_NS, show_duration, show_offset

ACCUMULATED_NS = 7 * DAY_NS
MAX_ACCUMULATED = "--max-accumulated"
FOUND = Cause("found")


@dataclass(frozen=True, slots=True)
class Orders:
    """What an agent goes by; without `act` it only observes. `accumulated_ns` is how far all its steps may go."""

    policy: Policy
    act: bool = True
    accumulated_ns: int = ACCUMULATED_NS


@dataclass(frozen=True, slots=True)
class Record:
    """What an agent remembers: how far it has stepped in all, when without another signal's word, and what holds it.

    `held` is how far the hypervisor's clock and the time sources are apart, while that is more than both can be off.
    """

    stepped_ns: int = 0
    unwitnessed_ns: tuple[int, ...] = ()
    held: Offset | None = None
    verdict: Verdict | None = None


def why(what: What | None, at_ns: int, *, confirmed: bool) -> Cause:
    """Return the cause of work: a day where another signal tells of it or a second witness has confirmed the time.

    The hypervisor's clock alone explains a quarter of an hour: it jumps as well where only the host's clock was set.
    """
    found = cause(Trail(what, since_ns=at_ns)) if what else FOUND
    witnessed = confirmed or what in WITNESSED
    return found if witnessed else replace(found, explains_ns=min(found.explains_ns, UNWITNESSED_NS))


def limited(orders: Orders, record: Record, found: Cause) -> tuple[Policy, Cause]:
    """Return policy and cause as far as the accumulated limit leaves room."""
    left_ns = max(0, orders.accumulated_ns - record.stepped_ns)
    policy = orders.policy
    if policy.max_forward_ns is not None:
        policy = replace(policy, max_forward_ns=min(policy.max_forward_ns, left_ns))
    policy = replace(policy, max_backward_ns=min(policy.max_backward_ns, left_ns))
    return policy, replace(found, explains_ns=min(found.explains_ns, left_ns))


def may_act(orders: Orders, record: Record, what: What | None, now_ns: int) -> bool:
    """Whether a clock may be stepped at all: not while it is only observed, held, or pulled away again and again."""
    often = what not in WITNESSED and too_often(record.unwitnessed_ns, now_ns)
    return orders.act and record.held is None and not often


def noted(record: Record, episode: Episode, now_ns: int) -> Record:
    """Return the record with an Episode in it."""
    steps = [action for action in episode.actions if isinstance(action, Step)]
    stepped_ns = record.stepped_ns + sum(abs(step.by_ns) for step in steps)
    times = record.unwitnessed_ns
    if steps and episode.cause.kind not in {what.value for what in WITNESSED}:
        times = (*times[-OFTEN:], now_ns)
    return replace(record, stepped_ns=stepped_ns, unwitnessed_ns=times, verdict=episode.verdict)


def remarked(orders: Orders, record: Record, episode: Episode, now_ns: int) -> Episode:
    """Return an Episode with what the agent's own limits have to do with it."""
    if record.held:
        return replace(episode, decision=Decision.REFUSED, findings=(*episode.findings, held(record.held)))
    if episode.consent == MAX_FORWARD and orders.accumulated_ns - record.stepped_ns < DAY_NS:
        said = (*episode.findings, exhausted(record.stepped_ns))
        return replace(episode, consent=MAX_ACCUMULATED, findings=said)
    if episode.verdict is Verdict.BAD and too_often(record.unwitnessed_ns, now_ns):
        return replace(episode, decision=Decision.REFUSED, findings=(*episode.findings, pulled_away()))
    return episode


def held(apart: Offset) -> Finding:
    """Return the finding that the two truths contradict each other."""
    shown = show_offset(apart.value_ns, apart.error_ns)
    text = f"the time sources and the hypervisor's clock are {shown} apart: not stepped"
    return Finding("held", Verdict.UNSURE, text, "correct the hypervisor's clock, or the time servers of this node")


def exhausted(stepped_ns: int) -> Finding:
    """Return the finding that all steps together have reached their limit."""
    text = f"stepped by {show_duration(stepped_ns)} in all since the agent began: no further without consent"
    return Finding(
        "accumulated", Verdict.BAD, text, f"check the hypervisor's clock, then allow more: {MAX_ACCUMULATED}"
    )
