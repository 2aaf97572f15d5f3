"""Giving nodes their own agent, over a way that answers as it is told to; and what counts as its proof."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.agent_status import AgentSays, read_status_line, says_after, status_line
from clockstep.core.agent_unit import UNIT, UNIT_FILE
from clockstep.core.own_agent import Found, UnitState, lacks, objection, parse, plan_of, read_state
from clockstep.core.setup import SetupNode, SetupOutcome, SetupReport, remarks
from clockstep.daemons import ask_all
from clockstep.errors import ReachError
from clockstep.flows import own_agent
from clockstep.host.locks import DomainLocks
from clockstep.model import Cause, Claim, Episode, Facts, Finding, HostClock, Offset, Policy, Reading, Verdict
from clockstep.ports import NO_PROGRAM, Output, World
from clockstep.render.setup import plan_page
from clockstep.state.journal import FileJournal
from core.simulation import NOW_S, SECOND, TRACKING, SimClock
from core.test_setup import SERVER, ToldHypervisor, ToldReach

FILE = b"the agent"
HERE = "#clockstep user\n0\n#clockstep systemd\nyes\n#clockstep python\n/usr/bin/python3 3.13\n"
CHRONYD = f"{HERE}#clockstep daemons\nchronyd\n#clockstep end\n"
BY_PHC = f"{HERE}#clockstep ptp\n/dev/ptp0 KVM virtual PTP\n#clockstep end\n"
APPLIED = f"{HERE}#clockstep daemons\nchronyd\n#clockstep applied\nyes\n#clockstep end\n"
MILLISECOND = 1_000_000
GOOD = "watching by=phc steps=yes verdict=good offset_ns=1000 error_ns=500"


def state(says: str, active: str = "active", why: str = "") -> str:
    return f"#clockstep unit\nActiveState={active}\nStatusText={says}\n#clockstep why\n{why}\n#clockstep end\n"


class AgentReach(ToldReach):
    """A way to a node: what a look finds, what the agent says in turn, and what each verb results in."""

    def __init__(self, found: str, states: Sequence[str] = (), results: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(SimClock(), found, states)
        self.results = {"keep": "kept", "apply": "done", "undo": "done", "back": "done", **dict(results)}
        self.said: Iterator[str] = iter(states)
        self.last = ""
        self.carried: dict[str, bytes] = {}

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        if argv[2] == ask_all():
            return Output(0, f"#clockstep chrony\n{TRACKING.format(now=NOW_S)}{SERVER}", "")
        verb = argv[4]
        if verb == "look":
            return self.plan
        if verb == "status":
            self.last = next(self.said, self.last)
            if self.last == "lost":
                raise ReachError("the agent is restarted")
            return Output(0, self.last, "")
        self.asked.append(verb)
        if verb == "keep":
            self.carried[argv[5]] = stdin
        said = self.results[verb]
        if not said:
            return Output(137, "", "")
        return Output(int(said.partition(" ")[0] not in {"kept", "done"}), f"chatter\n{said}\n", "")


def done(tmp_path: Path, reach: AgentReach, verb: str = "apply") -> SetupNode:
    hypervisor = ToldHypervisor(reach.sim, reach)
    world = World(hypervisor, reach.sim, reach.sim, DomainLocks(reach.sim), FileJournal(tmp_path), lambda _n, _t: None)
    policy, guests = Policy(deadline_ns=60 * SECOND), hypervisor.guests()
    if verb == "undo":
        report = own_agent.undo(world, guests, policy)
    else:
        report = {"apply": own_agent.apply, "look": own_agent.look}[verb](world, guests, policy, FILE)
    (node,) = report.nodes
    return node


def test_an_agent_is_carried_there_with_its_unit_and_proven_by_its_word_and_a_look_from_outside(tmp_path: Path) -> None:
    reach = AgentReach(BY_PHC, [state(GOOD)])
    node = done(tmp_path, reach)
    assert (node.outcome, node.text) == (SetupOutcome.SET_UP, "")
    assert reach.asked == ["keep", "keep", "apply"]
    assert reach.carried["program"] == FILE
    assert b"ExecStart=/usr/bin/python3 -I -S" in reach.carried["unit"]
    assert node.episode and node.episode.verdict is Verdict.GOOD


def test_one_that_takes_a_while_to_say_so_and_a_way_that_is_lost_meanwhile_are_waited_for(tmp_path: Path) -> None:
    reach = AgentReach(BY_PHC, ["lost", state("watching by=nothing steps=yes"), "lost", state(GOOD)])
    assert done(tmp_path, reach).outcome is SetupOutcome.SET_UP


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (state("", active="failed", why="the memory is full"), f"{UNIT} is failed: the memory is full"),
        (state(""), "the agent has not said what it goes by"),
        (state("watching by=phc steps=no"), "CAP_SYS_TIME is kept from it"),
        (state("watching by=nothing steps=yes"), "nothing to go by"),
        (state("watching by=phc steps=yes"), "finds its clock not measured yet"),
        (state(GOOD.replace("good", "bad")), "finds its clock bad"),
        (state(GOOD.replace("offset_ns=1000", "offset_ns=50000000")), "takes its clock to be off by +50.000"),
    ],
)
def test_one_that_is_not_proven_is_undone(tmp_path: Path, says: str, why: str) -> None:
    reach = AgentReach(BY_PHC, [says])
    node = done(tmp_path, reach)
    assert node.outcome is SetupOutcome.FAILED
    assert node.text.startswith("not verified in time: ")
    assert why in node.text
    assert reach.asked == ["keep", "keep", "apply", "back"]


def test_what_could_not_be_undone_is_said(tmp_path: Path) -> None:
    reach = AgentReach(BY_PHC, [state("")], [("back", "broken its unit could not be disabled")])
    node = done(tmp_path, reach)
    assert node.outcome is SetupOutcome.NOT_PUT_BACK
    assert node.text.endswith("; undoing it: its unit could not be disabled")


@pytest.mark.parametrize(
    ("results", "outcome", "text"),
    [
        ([("keep", "refused /var cannot be written")], SetupOutcome.REFUSED, "/var cannot be written"),
        ([("apply", "failed it does not start: x")], SetupOutcome.FAILED, "it does not start: x"),
        ([("apply", "broken x; and then: y")], SetupOutcome.NOT_PUT_BACK, "x; and then: y"),
        ([("keep", "")], SetupOutcome.REFUSED, "it ended without a result (exit code 137): run it again"),
        ([("apply", "")], SetupOutcome.NOT_PUT_BACK, "it ended without a result (exit code 137): run it again"),
    ],
)
def test_what_came_of_it_in_the_node_is_said(
    tmp_path: Path, results: list[tuple[str, str]], outcome: SetupOutcome, text: str
) -> None:
    node = done(tmp_path, AgentReach(BY_PHC, [], results))
    assert (node.outcome, node.text) == (outcome, text)


def test_looking_carries_and_starts_nothing_and_shows_the_unit(tmp_path: Path) -> None:
    reach = AgentReach(CHRONYD)
    node = done(tmp_path, reach, "look")
    assert (node.outcome, reach.asked) == (SetupOutcome.WOULD_CHANGE, [])
    page = plan_page(SetupReport(HostClock(synchronised=True, max_error_ns=1), (node,)))
    assert f"  +++ {UNIT_FILE}" in page.above
    assert any("systemctl start" in line for line in page.above)


def test_what_is_there_already_is_not_touched_but_proven(tmp_path: Path) -> None:
    found = parse(CHRONYD)
    assert found
    plan = plan_of(found, FILE)
    (unit,) = plan.files
    assert unit.after
    shown = "".join(f"|{line}\n" for line in unit.after.splitlines())
    same = CHRONYD.replace(
        "#clockstep end",
        f"#clockstep applied\nyes\n#clockstep program\n{hashlib.sha256(FILE).hexdigest()}  x\n#clockstep enabled\nyes\n"
        f"#clockstep active\nyes\n#clockstep unit\n{shown}#clockstep end",
    )
    reach = AgentReach(same, [state("watching by=chrony steps=yes")])
    node = done(tmp_path, reach)
    assert (node.outcome, node.text, reach.asked) == (SetupOutcome.UNCHANGED, "", [])
    silent = AgentReach(same, [state("")])
    assert done(tmp_path, silent).text.startswith("set up, but not verified: ")
    assert silent.asked == []
    other = AgentReach(same.replace("WatchdogSec=60s", "WatchdogSec=90s"))
    assert done(tmp_path, other, "look").outcome is SetupOutcome.WOULD_CHANGE


def test_undo_touches_nothing_where_nothing_is(tmp_path: Path) -> None:
    reach = AgentReach(CHRONYD)
    assert done(tmp_path, reach, "undo").outcome is SetupOutcome.UNCHANGED
    assert reach.asked == []
    applied = AgentReach(APPLIED)
    assert done(tmp_path, applied, "undo").outcome is SetupOutcome.PUT_BACK
    assert applied.asked == ["undo"]
    stuck = AgentReach(APPLIED, [], [("undo", "broken it stays")])
    assert (done(tmp_path, stuck, "undo").outcome, done(tmp_path, stuck, "undo").text) == (
        SetupOutcome.NOT_PUT_BACK,
        "it stays",
    )


def test_a_node_without_a_shell_or_with_an_answer_that_is_cut_off_is_not_reached(tmp_path: Path) -> None:
    reach = AgentReach(CHRONYD)
    reach.plan = Output(NO_PROGRAM, "", "no such file")
    found = done(tmp_path, reach)
    assert found.outcome is SetupOutcome.UNREACHED
    assert found.text == "it has no shell, as Talos; run clockstep watch on its host instead"
    cut = AgentReach(CHRONYD.replace("#clockstep end\n", ""))
    assert "could not be identified" in done(tmp_path, cut).text


FINE = Found(pythons=(("/usr/bin/python3", (3, 11)),), daemons=("chronyd",))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (FINE, ""),
        (FINE._replace(confined="x:virt_qemu_ga_t:s0"), "SELinux confines the guest agent (x:virt_qemu_ga_t:s0)"),
        (FINE._replace(root=False), "only root can set the agent up"),
        (FINE._replace(systemd=False), "systemd does not run"),
        (FINE._replace(unwritable="/etc"), "/etc is read-only"),
        (FINE._replace(foreign=UNIT_FILE), f"{UNIT_FILE} exists, and clockstep did not write it"),
        (FINE._replace(pythons=()), "there is no python3"),
        (FINE._replace(pythons=(("/usr/bin/python3", (3, 9)),)), "/usr/bin/python3 is 3.9, and the agent needs"),
        (FINE._replace(daemons=("systemd-timesyncd",)), "an agent would have nothing to go by"),
        (FINE._replace(daemons=("systemd-timesyncd",), clock="/dev/ptp0 hyperv"), ""),
    ],
)
def test_what_stands_against_it_is_said_before_anything_is_done(found: Found, why: str) -> None:
    assert why in objection(found)
    assert bool(objection(found)) == bool(why)
    assert plan_of(found, FILE).changes == (not why)


def test_a_plan_for_an_agent_has_none_of_chronys_remarks() -> None:
    assert remarks(plan_of(FINE._replace(clock="/dev/ptp0 hyperv"), FILE)) == []
    cut = plan_of(FINE._replace(interrupted=True, others=("vmtoolsd",)), FILE)
    assert remarks(cut) == [
        "vmtoolsd may set the clock too: disable that in the node",
        "an earlier setup was interrupted; resuming it",
    ]


RIGHT = Offset(0, 1000)


def episode(offset: Offset | None = RIGHT, verdict: Verdict = Verdict.GOOD, claim: Claim | None = None) -> Episode:
    readings = (Reading("told", offset, 1, 1, "phc"),) if offset else ()
    finding = Finding("offset", verdict, "as it is")
    return Episode("node", Cause("looked"), verdict, offset, (), offset, Facts(readings, claim), (finding,), 0, 0)


CLAIM = Claim("chrony", synchronised=True, offset=Offset(2000, 500))


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (CLAIM, ""),
        (None, "goes by chronyd, which is not synchronised"),
        (replace(CLAIM, synchronised=False), "goes by chronyd, which is not synchronised"),
        (replace(CLAIM, offset=None), "goes by chronyd, which is not synchronised"),
        (replace(CLAIM, offset=Offset(-60 * MILLISECOND, 500)), "off by -60"),
    ],
)
def test_where_it_goes_by_chronyd_that_ones_claim_is_held_against_the_look(claim: Claim | None, why: str) -> None:
    unit = UnitState("active", AgentSays("chrony", "yes"))
    said = lacks(unit, episode(claim=claim), Policy())
    assert why in said
    assert bool(said) == bool(why)


def test_a_clock_that_is_off_or_cannot_be_read_from_outside_proves_nothing() -> None:
    unit = UnitState("active", read_status_line(GOOD))
    assert lacks(unit, episode(), Policy()) == ""
    assert lacks(unit, episode(Offset(20 * MILLISECOND, 1000), Verdict.BAD), Policy()) == "as it is"
    assert lacks(unit, episode(None, Verdict.UNREACHABLE), Policy()) == "as it is"


@given(
    st.sampled_from(["phc", "chrony", "nothing"]),
    st.sampled_from(["yes", "no", "observes"]),
    st.sampled_from(["", *(one.value for one in Verdict)]),
    st.none() | st.builds(Offset, st.integers(-(2**62), 2**62), st.integers(0, 2**62)),
)
def test_what_an_agent_says_is_read_as_it_was_meant(by: str, steps: str, verdict: str, offset: Offset | None) -> None:
    says = AgentSays(by, steps, verdict, offset)
    assert read_status_line(status_line(says)) == says


@given(st.text())
def test_whatever_else_a_unit_says_is_no_agents_word(text: str) -> None:
    assert read_status_line(text) is None or text.startswith("watching")
    assert read_state(text).says is None or "watching" in text


def test_an_episode_without_a_reading_does_not_change_what_an_agent_goes_by() -> None:
    first = AgentSays("chrony", "observes")
    assert says_after(first, episode()) == AgentSays("phc", "observes", "good", RIGHT)
    assert says_after(first, episode(None, Verdict.UNREACHABLE)) == AgentSays("chrony", "observes", "unreachable")
