"""The first phase: look and step, until the clock is proven or cannot be."""

from dataclasses import replace

from clockstep.core.plan import hopeless, plan
from clockstep.loop.act import learn, perform
from clockstep.loop.look import look
from clockstep.loop.run import Run
from clockstep.model import Facts
from clockstep.units import MILLISECOND_NS

BETWEEN_LOOKS_NS = 10 * MILLISECOND_NS
UNREACHED_NS = 50 * MILLISECOND_NS
"""How often a node that still does not answer is asked again: ten that come up at once are held up by being asked."""
WAITING_FOR_DAEMON_NS = 250 * MILLISECOND_NS


def prove(run: Run) -> bool:
    """Bring the node's clock within tolerance, and return whether that is proven.

    It returns with the last of the good looks that prove it; or when nothing may or can be done, or the deadline has
    passed. A node in trouble is an Episode that says so; nothing is raised for it.
    """
    run.company.join(run)
    try:
        return prove_again(run)
    finally:
        if not run.proven:
            run.company.leave(run)


def prove_again(run: Run) -> bool:
    """Do the same for a clock that was proven once, which delays nobody else."""
    while True:
        run.take(facts := look(run))
        late, good = run.is_late, run.good >= run.policy.looks
        if run.proven:
            return True
        if run.asked and not late and (good or (facts.readings and hopeless(facts, run.policy))):
            todo, trouble = None, learn(run)
        elif late or hopeless(facts, run.policy):
            return False
        else:
            todo = plan(facts, run.policy, run.effective())
            trouble = perform(run, todo)
        if trouble and trouble.lasting:
            run.facts = replace(facts, trouble=(*facts.trouble, trouble))
            return False
        if trouble or todo == ():
            run.clock.sleep_ns(BETWEEN_LOOKS_NS if todo is None else pause(run, facts))


def pause(run: Run, facts: Facts) -> int:
    """Return how long to wait before the next look, where nothing is to be done; longer each time for no answer."""
    if facts.claim:
        return WAITING_FOR_DAEMON_NS
    run.silences = 0 if facts.readings else run.silences + 1
    return min(BETWEEN_LOOKS_NS + run.silences * BETWEEN_LOOKS_NS // 4, UNREACHED_NS)
