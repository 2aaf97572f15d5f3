"""Carrying out what was planned: steps, which are made once, and resyncs. What came of them is for a look to say."""

from collections.abc import Callable, Sequence

from clockstep.core.checks import measured
from clockstep.daemons import DAEMONS
from clockstep.errors import NotSteppedError, ReachError
from clockstep.loop.episodes import trouble_of
from clockstep.loop.look import COMMAND_NS
from clockstep.loop.run import Run
from clockstep.model import Action, Facts, Resync, Step, Trouble
from clockstep.reach.injection import new_token
from clockstep.units import show_offset


def perform(run: Run, todo: Sequence[Action]) -> Trouble | None:
    """Carry out actions until one meets trouble, and return that; without any, they are not taken for a success."""
    run.tell(run.node.name, progress(run.facts, todo))
    return next(filter(None, (attempt(run, action) for action in todo)), None)


def attempt(run: Run, action: Action) -> Trouble | None:
    """Carry out one action, and return the trouble that it met."""
    match action:
        case Step():
            return learn(run) if run.asked else attempted(run, lambda run: step(run, action))
        case Resync(daemon):
            return attempted(run, lambda run: resync(run, daemon))
        case _:
            raise TypeError(f"not an action: {action}")


def learn(run: Run) -> Trouble | None:
    """Ask the node what became of the step that was asked for, and return the trouble that this met."""
    return attempted(run, ask_fate)


def attempted(run: Run, act: Callable[[Run], None]) -> Trouble | None:
    """Act, and return the trouble that was met."""
    try:
        act(run)
    except ReachError as error:
        return trouble_of(run, error)
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
        record(run, added_ns)


def ask_fate(run: Run) -> None:
    """Ask the node what became of a step; the next look is after all that it may have done."""
    assert run.asked
    token, wanted = run.asked
    added_ns = run.node.reach.fate(token)
    run.open = False
    if added_ns is None:
        run.asked, run.begun = None, wanted
    else:
        record(run, added_ns)


def record(run: Run, added_ns: int) -> None:
    """Record what a node has added to its clock, which may be nothing."""
    run.asked = None
    if added_ns:
        run.done.append(Step(added_ns))


def resync(run: Run, daemon: str) -> None:
    """Have the daemon measure again."""
    run.resynced_ns = run.clock.monotonic_ns()
    command = ["/bin/sh", "-c", DAEMONS[daemon].resync]
    output = run.node.reach.run(command, b"", run.clock.monotonic_ns() + COMMAND_NS)
    if output.code:
        text = f"{daemon} was not resynced: {output.out.strip()} {output.err.strip()}"
        raise ReachError(text, f"run it in the guest: {DAEMONS[daemon].resync}", lasting=True)
    run.done.append(Resync(daemon))


def progress(facts: Facts, todo: Sequence[Action]) -> str:
    """Return one line on what was seen and what is done about it."""
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
            return "measuring again"
