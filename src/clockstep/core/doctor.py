"""What `doctor` reports: findings about the host and all nodes together, and each finding as an issue with a level."""

from collections.abc import Sequence

from clockstep.core.diagnosis import (
    Check,
    check_falsetickers,
    check_may_step,
    check_two_daemons,
    check_unreachable_sources,
)
from clockstep.model import Claim, Examination, Facts, Finding, HostClock, Inside, Issue, Level, Verdict
from clockstep.units import MINUTE_NS, show_duration, show_offset

WRONG_HOST_NS = 100_000_000
LEVELS = {
    Verdict.GOOD: Level.NOTE,
    Verdict.UNSURE: Level.WARNING,
    Verdict.BAD: Level.ERROR,
    Verdict.UNREACHABLE: Level.ERROR,
}
REFUSE_STEP = {"forward", "backward", "host", "reach"}
"""Checks that refuse a step if they find something: no other finding then advises one."""
REFUSE_SETUP = {"confined", "exec-blocked"}
"""Checks of what keeps `setup` from running anything by the guest agent."""
STEP = ("run clockstep step", "clockstep step")
SETUP = "clockstep setup apply"


def issues(findings: Sequence[Finding]) -> tuple[Issue, ...]:
    """Return findings as issues, with no advice among them that would be refused."""
    found = {finding.check for finding in findings if finding.verdict is not Verdict.GOOD}
    step, setup = not found & REFUSE_STEP, not found & REFUSE_SETUP
    return tuple(Issue(one.check, _level(one), one.text, _advised(one, step=step, setup=setup)) for one in findings)


def _level(finding: Finding) -> Level:
    if finding.check == "daemon" and finding.verdict is Verdict.GOOD:  # it does not spoil a clock's verdict
        return Level.WARNING
    return LEVELS[finding.verdict]


def _advised(finding: Finding, *, step: bool, setup: bool) -> str:
    if not step and finding.check not in REFUSE_STEP and finding.remedy.startswith(STEP):
        return ""
    if not setup and SETUP in finding.remedy and "--guest-agent" not in finding.remedy:
        return f"with --reach ssh: {finding.remedy}"
    return finding.remedy


def compare_snapshots(examinations: Sequence[Examination]) -> Finding | None:
    """Return a finding if the nodes would be reverted to moments that are far apart."""
    ages = {one.node: one.around.snapshot_ns for one in examinations if one.around and one.around.snapshot_ns}
    oldest, newest = min(ages, key=ages.__getitem__, default=""), max(ages, key=ages.__getitem__, default="")
    apart_ns = ages[newest] - ages[oldest] if ages else 0
    if apart_ns <= MINUTE_NS:
        return None
    text = (
        f"the nodes' current snapshots are {show_duration(apart_ns)} apart, from that of {oldest} to that of {newest}"
    )
    return Finding("snapshots", Verdict.UNSURE, text, "take one snapshot of all: clockstep snapshot create")


def examine_host(host: HostClock, claim: Claim | None, inside: Inside | None) -> tuple[Finding, ...]:
    """Return what was found on the host that all nodes are compared with; `claim` is its own daemon's."""
    found: list[Finding] = []
    if claim and claim.synchronised and claim.offset and claim.offset.surely_beyond(WRONG_HOST_NS):
        offset = show_offset(claim.offset.value_ns, claim.offset.error_ns)
        text = f"this host's clock is {offset} by its own {claim.daemon}: all nodes would follow it"
        found.append(Finding("host-wrong", Verdict.BAD, text, "correct this host's clock first"))
    if not host.synchronised:
        daemon = f"{claim.daemon} runs" if claim else "no time daemon answers here"
        text = f"this host's clock is not synchronised ({daemon}), and nodes are only as accurate as it is"
        found.append(Finding("host-unsynchronised", Verdict.UNSURE, text, "run a time daemon on this host"))
    here = Examination("this host", Facts(claim=claim), None, inside)
    return (*found, *(finding for check in HOST_CHECKS if (finding := check(here))))


HOST_CHECKS: tuple[Check, ...] = (
    check_two_daemons,
    check_may_step,
    check_falsetickers,
    check_unreachable_sources,
)
"""Those that apply to the host as well."""
