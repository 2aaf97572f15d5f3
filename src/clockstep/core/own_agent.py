"""Setting up a node's own agent, as data: what was found there, what stands against it, and what would be changed."""

import hashlib
import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from clockstep.core.agent_status import CHRONY, MAY_NOT, PHC, AgentSays, read_status_line
from clockstep.core.agent_unit import OPTIONS_FILE, PROGRAM, UNIT, UNIT_FILE, Needs, unit_text
from clockstep.core.checks import measured
from clockstep.core.foreign import understood
from clockstep.core.sections import LAST, phrase, sections, words
from clockstep.core.setup import FileChange, SetupNode, SetupOutcome, SetupPlan
from clockstep.core.unnoticed import is_hosts
from clockstep.model import Claim, Episode, Offset, Policy, Verdict
from clockstep.units import show_offset

LEAST_PYTHON = (3, 11)
VERSION = re.compile(r"(/\S+) (\d{1,3})\.(\d{1,3})", re.ASCII)
SETTINGS = f"its options, if any, belong in {OPTIONS_FILE} there"


Pythons = tuple[tuple[str, tuple[int, int]], ...]


class Found(NamedTuple):
    """What was found in a node. `confined` is what SELinux calls its guest agent, where it forbids that most.

    `pythons` are its interpreters that say their version, `clock` the hypervisor's PHC with its name. `unwritable` is a
    folder that would have to be written and `foreign` somebody else's file in the place of one of ours. `interrupted`
    is whether an earlier setup was cut short and `applied` whether anything of one is there; `program` is the sum of
    the agent's file, and `unit` the text of its unit, None where there is none.
    """

    system: str = ""
    root: bool = True
    systemd: bool = True
    confined: str = ""
    pythons: Pythons = ()
    clock: str = ""
    daemons: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    forks: bool = False
    vmclocks: tuple[str, ...] = ()
    unwritable: str = ""
    foreign: str = ""
    interrupted: bool = False
    applied: bool = False
    program: str = ""
    enabled: bool = False
    active: bool = False
    unit: str | None = None

    @property
    def python(self) -> str:
        """The first interpreter that is new enough; empty where there is none."""
        return next((file for file, version in self.pythons if version >= LEAST_PYTHON), "")

    @property
    def chronyd(self) -> bool:
        """Whether chronyd runs there."""
        return "chronyd" in self.daemons


class UnitState(NamedTuple):
    """What a node's systemd says of the unit: its state, what the agent says, and why it does not run."""

    active: str = ""
    says: AgentSays | None = None
    why: str = ""


def parse(output: str) -> Found | None:
    """Return what a look answered; None of an answer that is not whole."""
    return understood(_parsed, output)


def _parsed(output: str) -> Found | None:
    lines = sections(output)
    if LAST not in lines:
        return None

    several, said = partial(words, lines), partial(phrase, lines)
    clocks = [line for line in several("ptp") if is_hosts(line.partition(" ")[2])]
    pythons = [found for line in several("python") if (found := VERSION.fullmatch(line))]
    return Found(
        system=said("system"),
        root=said("user") == "0",
        systemd=said("systemd") == "yes",
        confined=said("confined"),
        pythons=tuple((one[1], (int(one[2]), int(one[3]))) for one in pythons),
        clock=clocks[0] if clocks else "",
        daemons=several("daemons"),
        others=several("others"),
        forks=said("fork") == "yes",
        vmclocks=several("vmclock"),
        unwritable=said("unwritable"),
        foreign=said("foreign"),
        interrupted=said("interrupted") == "yes",
        applied=said("applied") == "yes",
        program=said("program").partition(" ")[0],
        enabled=said("enabled") == "yes",
        active=said("active") == "yes",
        unit="".join(f"{line.removeprefix('|')}\n" for line in lines["unit"]) if "unit" in lines else None,
    )


def objection(found: Found) -> str:
    """Return the first reason why nothing may be done, or nothing."""
    return next(filter(None, _objections(found)), "")


def _objections(found: Found) -> Iterator[str]:
    if found.confined:
        yield (
            f"SELinux confines the guest agent ({found.confined}): set it up by ssh (--reach ssh), or run in it "
            "before: semanage permissive -a virt_qemu_ga_t"
        )
    if not found.root:
        yield "only root can set the agent up"
    if not found.systemd:
        yield "systemd does not run: start the file of script/agent-zipapp by another service manager"
    if found.unwritable:
        yield f"{found.unwritable} is read-only"
    if found.foreign:
        yield f"{found.foreign} exists, and clockstep did not write it: move it away, or keep that one"
    if not found.python:
        yield _too_old(found.pythons)
    if not found.clock and not found.chronyd:
        yield (
            "neither a clock of the hypervisor's (PHC) nor chronyd is there, so an agent would have nothing to go by: "
            "clockstep setup apply installs chrony"
        )


def _too_old(pythons: Pythons) -> str:
    least = ".".join(map(str, LEAST_PYTHON))
    if not pythons:
        return f"there is no python3: install it, {least} or newer"
    file, version = pythons[0]
    return f"{file} is {'.'.join(map(str, version))}, and the agent needs python {least} or newer"


def wanted_unit(found: Found) -> str:
    """Return the unit's text for a node."""
    restarts = "systemd-timesyncd" in found.daemons
    return unit_text(Needs(found.python, found.forks, found.chronyd, restarts, found.vmclocks))


def plan_of(found: Found, program: bytes) -> SetupPlan:
    """Return what would be changed in a node for this file of the agent."""
    why = objection(found)
    acts = [] if why else list(_acts(found, program))
    unit = found.unit if why else wanted_unit(found)
    clock = found.clock or ("chronyd" if found.chronyd else "")
    return SetupPlan(
        system=found.system,
        clock=clock,
        objection=why,
        interrupted=found.interrupted,
        applied=found.applied,
        others=found.others,
        acts=tuple(acts),
        files=() if unit == found.unit else (FileChange(UNIT_FILE, found.unit, unit),),
        agent=True,
    )


def _acts(found: Found, program: bytes) -> list[str]:
    acts = []
    if found.program != hashlib.sha256(program).hexdigest():
        acts.append(f"write {PROGRAM}, {len(program) // 1000} kB of python for {found.python}")
    if not found.enabled:
        acts.append(f"systemctl enable {UNIT}")
    if not found.active:
        acts.append(f"systemctl start {UNIT}")
    return acts


def planned_agent(node: str, plan: SetupPlan) -> SetupNode:
    """Return what a look comes to, before anything is done."""
    if plan.objection:
        return SetupNode(node, SetupOutcome.REFUSED, plan.objection, plan)
    if plan.changes:
        return SetupNode(node, SetupOutcome.WOULD_CHANGE, SETTINGS, plan)
    return SetupNode(node, SetupOutcome.UNCHANGED, plan=plan)


def read_state(output: str) -> UnitState:
    """Return what `status` answered; what is not in its form is left out."""
    lines = sections(output)
    said = dict(line.split("=", 1) for line in lines.get("unit", ()) if "=" in line)
    return UnitState(
        said.get("ActiveState", ""), read_status_line(said.get("StatusText", "")), " ".join(lines.get("why", ()))
    )


def lacks(state: UnitState, episode: Episode, policy: Policy) -> str:
    """Return what one look lacks of a proof that the agent works, in words; nothing where it is one.

    The unit must run, the agent must go by something and find the clock good, and a look from outside must find the
    same: the agent's claim alone is none.
    """
    if state.active != "active":
        return f"{UNIT} is {state.active or 'not there'}{f': {state.why}' if state.why else ''}"
    silence = _silence(state.says, episode.facts.claim)
    if silence or state.says is None:
        return silence
    return _contradiction(_claimed(state.says, episode.facts.claim), episode, policy)


def _silence(says: AgentSays | None, claim: Claim | None) -> str:
    """Return why an agent's word proves nothing; nothing where it does."""
    if says is None:
        return "the agent has not said what it goes by"
    if says.steps == MAY_NOT:
        return "the agent may not step the clock there: CAP_SYS_TIME is kept from it"
    if says.by not in {PHC, CHRONY}:
        return "the agent has nothing to go by: see clockstep-agent --explain there"
    if _claimed(says, claim) is None:
        by_phc = f"the agent finds its clock {says.verdict or 'not measured yet'}"
        return by_phc if says.by == PHC else "the agent goes by chronyd, which is not synchronised"
    return ""


def _claimed(says: AgentSays, claim: Claim | None) -> Offset | None:
    """Return how far off the clock is by what the agent goes by; None where that does not find it good."""
    if says.by == PHC:
        return says.offset if says.verdict == Verdict.GOOD.value else None
    return claim.offset if claim and claim.daemon == CHRONY and claim.synchronised else None


def _contradiction(claimed: Offset | None, episode: Episode, policy: Policy) -> str:
    """Return what a look from outside says against a claim; nothing where both find the clock good."""
    seen = measured(episode.facts)
    if episode.verdict is not Verdict.GOOD or seen is None or claimed is None:
        findings = [finding.text for finding in episode.findings if finding.verdict is not Verdict.GOOD]
        return findings[0] if findings else "its clock could not be read from outside"
    if not Offset(claimed.value_ns - seen.value_ns, claimed.error_ns + seen.error_ns).surely_beyond(
        policy.tolerance_ns
    ):
        return ""
    own, outside = (show_offset(one.value_ns, one.error_ns) for one in (claimed, seen))
    return f"the agent takes its clock to be off by {own}, and from outside it is off by {outside}"
