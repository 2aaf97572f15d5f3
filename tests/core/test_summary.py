"""What Episodes come to together."""

from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.setup import SetupNode, SetupOutcome, report
from clockstep.core.summary import diagnosed, summarise
from clockstep.flows.step import status
from clockstep.host.locks import DomainLocks
from clockstep.model import Examination, Facts, Offset, Policy, Reading, Summary, Verdict
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from core.simulation import MILLISECOND, SECOND, SimClock, SimHypervisor


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, ["a", "b", "c"])
    return World(hypervisor, clock, clock, DomainLocks(clock), FileJournal(tmp_path), lambda _n, _t: None)


def test_the_summary_is_of_the_worst_of_all(world: World) -> None:
    episodes = status(world, world.hypervisor.guests(), Policy())
    assert {episode.verdict for episode in episodes} == {Verdict.GOOD}
    off = [(-7 * MILLISECOND, 2 * MILLISECOND, 400 * MILLISECOND), (MILLISECOND, MILLISECOND, None), (0, 0, 3 * SECOND)]
    seen = [
        replace(
            episode,
            after=episode.after and replace(episode.after, value_ns=value, error_ns=error),
            wrong_for_ns=wrong,
        )
        for episode, (value, error, wrong) in zip(episodes, off, strict=True)
    ]
    assert summarise(seen) == Summary(Verdict.GOOD, 9 * MILLISECOND, 3 * SECOND)
    unread = replace(seen[0], after=None)
    assert summarise([unread, *seen[1:]]) == Summary(Verdict.GOOD, None, 3 * SECOND)
    assert summarise([]) is None


def test_the_doctors_summary_is_of_the_clocks_and_not_of_what_else_it_found() -> None:
    def read(offset_ns: int) -> Examination:
        return Examination("web", Facts((Reading("ssh", Offset(offset_ns, MILLISECOND), 0, 0),)), unasked="no shell")

    assert diagnosed([read(0), read(-MILLISECOND)], Policy()) == Summary(Verdict.GOOD, 2 * MILLISECOND, None)
    assert diagnosed([read(0), read(SECOND)], Policy(max_backward_ns=2 * SECOND)) == Summary(
        Verdict.BAD, SECOND + MILLISECOND, None
    )
    assert diagnosed([read(0), Examination("db", Facts())], Policy()) == Summary(Verdict.UNREACHABLE, None, None)
    assert diagnosed([], Policy()) is None


def test_a_setups_summary_is_of_the_clocks_that_were_measured(world: World) -> None:
    episode = status(world, world.hypervisor.guests(), Policy())[0]
    nodes = (SetupNode("a", SetupOutcome.SET_UP, episode=episode), SetupNode("b", SetupOutcome.UNREACHED))
    assert report(world.host, nodes).summary == summarise([episode])
    assert report(world.host, nodes[1:]).summary is None
