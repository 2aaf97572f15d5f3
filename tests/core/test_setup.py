"""Setting nodes up over a way that answers as it is told to: what is proven, put back, refused, and borne."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from clockstep.core.setup import SetupNode, SetupOutcome, SetupReport
from clockstep.daemons import ask_all, setup
from clockstep.errors import ExecBlockedError, ReachError
from clockstep.flows.setup import Wish, apply, look, undo
from clockstep.host.locks import DomainLocks
from clockstep.model import Guest, Offset, Policy, Reading
from clockstep.ports import NO_PROGRAM, Output, World
from clockstep.render.setup import plan_page
from clockstep.state.journal import FileJournal
from core.simulation import NOW_S, SECOND, TRACKING, SimClock, SimHypervisor

FILE = "#clockstep after /etc/chrony/conf.d/zz-clockstep.conf\n|makestep 1 -1\n"
PLAN = f"#clockstep manager\napt-get\n{FILE}#clockstep end\n"
WITH_PHC = f"#clockstep manager\napt-get\n#clockstep clock\n/dev/ptp_kvm KVM virtual PTP\n{FILE}#clockstep end\n"
NOTHING = "#clockstep manager\napt-get\n#clockstep end\n"
SERVER = "^,*,10.0.2.2,1,6,17,3,0.000000919,0.000001851,0.000004506\n"
DEVICE = "#,*,PHC0,0,1,17,3,0.000000919,0.000001851,0.000004506\n"
STARTED = Output(0, "", "")


class ToldReach:
    """A way to a node that answers what it is told to; `states` are its answers to whether it is done, in turn."""

    source = "told"

    def __init__(
        self, clock: SimClock, plan: str, states: Sequence[str], source: str = SERVER, start: Output = STARTED
    ) -> None:
        self.sim = clock
        self.plan = Output(0, plan, "")
        self.states: Iterator[str] = iter(states)
        self.followed = source
        self.start = start
        self.asked: list[str] = []
        self.deaf: Sequence[ReachError] = ()

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        if argv[-1] == "plan":
            if self.deaf:
                error, *self.deaf = self.deaf
                raise error
            return self.plan
        script = argv[2]
        if script == ask_all():
            return Output(0, f"#clockstep chrony\n{TRACKING.format(now=NOW_S)}{self.followed}", "")
        if script == setup.STATUS:
            state = next(self.states)
            if state == "lost":
                raise ReachError("the agent is restarted")
            return Output(0, state, "")
        self.asked.append("store" if script == setup.STORE else script.rpartition(" ")[2])
        return self.start if script.startswith(setup.START) else Output(0, "", "")

    def clock(self, within_ns: int | None = None) -> Reading:
        return Reading(self.source, Offset(0, 1000), self.sim.realtime_ns(), 1000)

    def step(self, by_ns: int, token: str) -> int | None:
        raise AssertionError("setup never steps a clock")

    def fate(self, token: str) -> int | None:
        raise AssertionError("setup never steps a clock")

    def close(self) -> None:
        """Nothing is open."""


class ToldHypervisor(SimHypervisor):
    """One node that is reached so."""

    def __init__(self, clock: SimClock, reach: ToldReach) -> None:
        super().__init__(clock, ["node"])
        self.told = reach

    def reach(self, guest: Guest) -> ToldReach:  # type: ignore[override]
        return self.told


def done(tmp_path: Path, reach: ToldReach, *, back: bool = False) -> SetupNode:
    clock = reach.sim
    hypervisor = ToldHypervisor(clock, reach)
    world = World(hypervisor, clock, clock, DomainLocks(clock), FileJournal(tmp_path), lambda _n, _t: None)
    policy = Policy(deadline_ns=60 * SECOND)
    guests = hypervisor.guests()
    (node,) = (undo(world, guests, policy) if back else apply(world, guests, policy, Wish())).nodes
    return node


def test_what_is_done_and_found_right_from_outside_is_proven(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, ["working\nactive\n", "done\ninactive\n"])
    assert done(tmp_path, reach).outcome is SetupOutcome.SET_UP
    assert reach.asked == ["store", "apply"]


def test_a_node_that_does_not_answer_for_a_while_goes_on_all_the_same(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, ["working\nactive\n", *["lost"] * 20, "done\ninactive\n"])
    assert done(tmp_path, reach).outcome is SetupOutcome.SET_UP


def test_a_node_that_is_still_starting_is_asked_again_and_one_that_cannot_be_is_not(tmp_path: Path) -> None:
    starting, away = ReachError("no agent is there yet"), ReachError("it has no channel for one", lasting=True)
    for deaf, outcome in (
        ([starting] * 20, SetupOutcome.SET_UP),
        ([starting] * 1000, SetupOutcome.UNREACHED),
        ([away], SetupOutcome.UNREACHED),
        ([ExecBlockedError("guest-exec has been disabled")], SetupOutcome.UNREACHED),
    ):
        reach = ToldReach(SimClock(), PLAN, ["done\ninactive\n"])
        reach.deaf = deaf
        assert done(tmp_path, reach).outcome is outcome


def test_one_that_never_answers_again_is_not_reached(tmp_path: Path) -> None:
    node = done(tmp_path, ToldReach(SimClock(), PLAN, ["lost"] * 1000))
    assert (node.outcome, node.text) == (SetupOutcome.UNREACHED, "the agent is restarted")


def test_a_server_does_not_prove_a_hardware_clock_and_all_is_put_back(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), WITH_PHC, ["done\ninactive\n"] * 2)
    node = done(tmp_path, reach)
    assert node.outcome is SetupOutcome.FAILED
    assert "chronyd does not follow /dev/ptp_kvm KVM virtual PTP: chrony ^* 10.0.2.2" in node.text
    assert reach.asked == ["store", "apply", "store", "back"]
    shared_memory = ToldReach(SimClock(), WITH_PHC, ["done\ninactive\n"] * 2, DEVICE.replace("PHC0", "SHM0"))
    assert done(tmp_path, shared_memory).outcome is SetupOutcome.FAILED
    followed = ToldReach(SimClock(), WITH_PHC, ["done\ninactive\n"], DEVICE)
    assert done(tmp_path, followed).outcome is SetupOutcome.SET_UP


def test_what_could_not_be_put_back_is_said(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), WITH_PHC, ["done\ninactive\n", "broken no time daemon runs there\ninactive\n"])
    node = done(tmp_path, reach)
    assert node.outcome is SetupOutcome.NOT_PUT_BACK
    assert node.text.endswith("; undoing it: no time daemon runs there")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("failed chronyd does not start", SetupOutcome.FAILED),
        ("broken chronyd does not start; and then: no time daemon runs there", SetupOutcome.NOT_PUT_BACK),
        ("none", SetupOutcome.NOT_PUT_BACK),
    ],
)
def test_put_back_is_said_of_what_was_put_back(tmp_path: Path, result: str, outcome: SetupOutcome) -> None:
    node = done(tmp_path, ToldReach(SimClock(), PLAN, [f"{result}\ninactive\n"]))
    assert node.outcome is outcome
    assert node.text == f"{result.partition(' ')[2]} ({setup.LOG} in the node says more)"


def test_where_nothing_is_to_change_nothing_is_put_back_either(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), NOTHING, [], "^,?,10.0.2.2,0,6,0,4294967295,0.0,0.0,0.0\n")
    node = done(tmp_path, reach)
    assert node.outcome is SetupOutcome.UNCHANGED
    assert node.text.startswith("set up, but not verified: ")
    assert reach.asked == []


def test_a_refusal_in_the_node_leaves_no_trace(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, ["refused chrony is not available\ninactive\n"])
    node = done(tmp_path, reach)
    assert (node.outcome, node.text) == (SetupOutcome.REFUSED, "chrony is not available")
    assert reach.asked == ["store", "apply", "clear"]


def test_what_another_run_has_there_is_left_to_it(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, [], start=Output(1, "", "another setup is running"))
    node = done(tmp_path, reach)
    assert (node.outcome, node.text) == (
        SetupOutcome.REFUSED,
        "it cannot be started there: another setup is running",
    )
    assert reach.asked == ["store", "apply"]


def test_work_that_ended_without_a_result_is_no_success(tmp_path: Path) -> None:
    node = done(tmp_path, ToldReach(SimClock(), PLAN, ["working\ninactive\nwriting a file\n"]))
    assert node.outcome is SetupOutcome.NOT_PUT_BACK
    assert "it ended without a result: writing a file" in node.text


def test_work_that_outlasts_the_deadline_is_said_to_go_on(tmp_path: Path) -> None:
    node = done(tmp_path, ToldReach(SimClock(), PLAN, ["working\nactive\n"] * 1000))
    assert node.outcome is SetupOutcome.UNREACHED
    assert "is still running in the node" in node.text


def test_a_node_without_a_shell_is_left_alone(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, [])
    reach.plan = Output(NO_PROGRAM, "", "no such file")
    assert done(tmp_path, reach).outcome is SetupOutcome.LEFT_ALONE


def test_undo_touches_nothing_where_nothing_was_set_up(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, [])
    assert done(tmp_path, reach, back=True).outcome is SetupOutcome.UNCHANGED
    assert reach.asked == []
    applied = ToldReach(
        SimClock(), PLAN.replace("#clockstep end", "#clockstep applied\nyes\n#clockstep end"), ["done\nx\n"]
    )
    assert done(tmp_path, applied, back=True).outcome is SetupOutcome.PUT_BACK


def test_looking_stores_and_starts_nothing(tmp_path: Path) -> None:
    reach = ToldReach(SimClock(), PLAN, [])
    hypervisor = ToldHypervisor(reach.sim, reach)
    locks, journal = DomainLocks(reach.sim), FileJournal(tmp_path)
    world = World(hypervisor, reach.sim, reach.sim, locks, journal, lambda _n, _t: None)
    (node,) = look(world, hypervisor.guests(), Policy(), Wish()).nodes
    assert node.outcome is SetupOutcome.WOULD_CHANGE
    assert reach.asked == []
    page = plan_page(SetupReport(world.host, (node,)))
    assert page.above[:3] == ("node (), would change:", "  --- /dev/null", "  +++ /etc/chrony/conf.d/zz-clockstep.conf")
    assert "  +makestep 1 -1" in page.above
    assert any("notices a revert only after polling" in line for line in page.below)
