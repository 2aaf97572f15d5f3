"""What setting up a node's time daemon would change, as data: what was found, to a plan, to a diff."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from clockstep.core.summary import summarise
from clockstep.errors import BusyError, ClockstepError
from clockstep.model import Claim, Episode, Guest, HostClock, Summary, Verdict

SET_UP = ("apt-get", "dnf")
"""The package managers of systems that are set up; all others get the text, and are left alone."""
NIC = "not a hypervisor's clock"
NOT_YET = "not confirmed often enough"


OUTVOTED = (
    "after a revert, time servers outvote the hypervisor's clock for minutes (6 to 16 were measured), unless clockstep "
    "corrects the node; with --trust it takes seconds, but a host whose clock is off misleads the node. Use --trust if "
    "this host runs the node, since clockstep uses this host's clock as the reference anyway. Without trust, have the "
    "node correct itself: clockstep setup apply --agent"
)


class SetupOutcome(Enum):
    """What setting up a node came to."""

    UNCHANGED = "unchanged"
    WOULD_CHANGE = "would-change"
    SET_UP = "set-up"
    DEFINED = "defined"
    PUT_BACK = "undone"
    NOT_PUT_BACK = "not-undone"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT_ALONE = "left-alone"
    UNREACHED = "unreached"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file as it is and as it is to be; None where there is none."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """What was found in a node, and what would be changed there.

    `clock` is the device that chronyd is to follow, with its name; empty where there is none, and `kept` the same by a
    line of somebody else's that is there already. `trusted` is whether no server is to outvote it, and `forced` whether
    it is followed only because somebody said so; `not_taken` are hardware clocks that are not the hypervisor's.
    `install` are packages, `replaces` the time daemons that go, `others` programs that touch the clock as well, and
    `acts` what is run besides. `silent` says which time servers do not answer, and why. `objection` is why nothing may
    be done. `applied` is whether an earlier setup is there, and `interrupted` whether that was cut short. `by_ssh` is
    whether the node is reached by ssh. `agent` is whether the node's own agent runs, or is what would be set up: then
    `clock` is what that goes by.
    """

    system: str = ""
    manager: str = ""
    chrony: str = ""
    clock: str = ""
    kept: str = ""
    trusted: bool = False
    forced: bool = False
    not_taken: tuple[str, ...] = ()
    objection: str = ""
    interrupted: bool = False
    applied: bool = False
    install: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()
    by_ssh: bool = False
    agent: bool = False

    @property
    def supported(self) -> bool:
        """Whether this kind of system is set up at all."""
        return self.manager in SET_UP

    @property
    def changes(self) -> bool:
        """Whether anything would be changed."""
        return bool(self.install or self.acts or self.files or self.interrupted)


@dataclass(frozen=True, slots=True)
class SetupNode:
    """What setting up came to for one node; `text` is why, and `episode` the look that proves it."""

    node: str
    outcome: SetupOutcome
    text: str = ""
    plan: SetupPlan | None = None
    episode: Episode | None = None


@dataclass(frozen=True, slots=True)
class SetupReport:
    """What `setup` prints."""

    host: HostClock
    nodes: tuple[SetupNode, ...]
    summary: Summary | None = None
    schema_version: int = 2


def report(host: HostClock, nodes: Iterable[SetupNode]) -> SetupReport:
    """Return the report of these nodes, with a summary of the clocks that were measured."""
    done = tuple(nodes)
    return SetupReport(host, done, summarise([node.episode for node in done if node.episode]))


def reported(results: Mapping[Guest, SetupNode | ClockstepError]) -> tuple[SetupNode, ...]:
    """Return what came of each node, an error of reaching it included."""
    return tuple(
        failed(guest.name, result) if isinstance(result, ClockstepError) else result
        for guest, result in results.items()
    )


def failed(node: str, error: ClockstepError) -> SetupNode:
    """Return what an error comes to for one node."""
    outcome = SetupOutcome.LOCKED if isinstance(error, BusyError) else SetupOutcome.UNREACHED
    return SetupNode(node, outcome, f"{error.message}{f'; {error.hint}' if error.hint else ''}")


def planned(node: str, plan: SetupPlan) -> SetupNode:
    """Return what a look comes to, before anything is done."""
    if not plan.supported:
        return SetupNode(node, SetupOutcome.LEFT_ALONE, "only systems with apt or dnf can be set up", plan)
    if plan.objection:
        return SetupNode(node, SetupOutcome.REFUSED, plan.objection, plan)
    return SetupNode(node, SetupOutcome.WOULD_CHANGE if plan.changes else SetupOutcome.UNCHANGED, plan=plan)


def follows(claim: Claim | None, plan: SetupPlan) -> bool:
    """Whether chronyd says that it follows what it was set up for: a hardware clock (`#* PHC0`), or else any source."""
    if claim is None or claim.daemon != "chrony" or not claim.synchronised or claim.source is None:
        return False
    return claim.source.startswith("#* PHC" if plan.clock else ("^*", "#*", "=*"))


def proves(episode: Episode, plan: SetupPlan) -> bool:
    """Whether one look finds the clock within its bound and chronyd following what it should."""
    return episode.verdict is Verdict.GOOD and follows(episode.facts.claim, plan)


def shortfall(episode: Episode, plan: SetupPlan) -> str:
    """Return what a look lacks of a proof, in words."""
    if not follows(episode.facts.claim, plan):
        claim = episode.facts.claim
        said = f"{claim.daemon} {claim.source or 'without a source'}" if claim else "no daemon answers"
        return f"chronyd does not follow {plan.clock or 'a server'}: {said}"
    findings = [finding.text for finding in episode.findings if finding.verdict is not Verdict.GOOD]
    return findings[0] if findings else NOT_YET


def diff(plan: SetupPlan) -> list[str]:
    """Return the changes as a unified diff, after what is installed and run."""
    lines = [f"install {package}" for package in plan.install]
    lines += [f"replace {name}" for name in plan.replaces]
    lines += plan.acts
    for file in plan.files:
        before, after = (file.before or "").splitlines(), (file.after or "").splitlines()
        old = file.path if file.before is not None else "/dev/null"
        new = file.path if file.after is not None else "/dev/null"
        lines += difflib.unified_diff(before, after, old, new, lineterm="")
    return lines


def remarks(plan: SetupPlan) -> list[str]:
    """Return what is worth knowing of a node, whatever is done."""
    found = [f"{device}: {NIC}, so it is not used; --phc uses it anyway" for device in plan.not_taken]
    if plan.forced:
        found.append(f"{plan.clock} is {NIC}: chronyd follows it because of --phc")
    if not plan.clock and plan.supported and not any(act.startswith("modprobe ") for act in plan.acts):
        found.append(
            "the node cannot read a hypervisor's clock: chronyd follows its servers alone, to milliseconds on a near "
            "network, and notices a revert only after polling most of them again, up to 1024 s later, unless clockstep "
            "corrects the node; with --short-polls after some 200 s, if the servers are yours or allow that"
        )
    elif plan.kept:
        found.append(f"chronyd follows {plan.kept} already, by a line that clockstep did not write and keeps")
    elif plan.clock and not plan.trusted and not plan.agent:
        found.append(OUTVOTED)
    if plan.others:
        found.append(f"{', '.join(plan.others)} may set the clock too: disable that in the node")
    if plan.silent and not plan.objection:
        found.append(f"not all time servers answer the node: {', '.join(plan.silent)}")
    if plan.by_ssh:
        found.append(
            "reached by ssh, so after a revert its clock is off until the login succeeds; clockstep setup apply "
            "--guest-agent adds the faster way"
        )
    if plan.interrupted:
        found.append("an earlier setup was interrupted; resuming it")
    return found
