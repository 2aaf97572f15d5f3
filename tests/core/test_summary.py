"""What Episodes come to together."""

from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.summary import summarise
from clockstep.flows.step import status
from clockstep.host.locks import DomainLocks
from clockstep.model import Policy, Summary, Verdict
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
