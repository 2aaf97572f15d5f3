"""What people read for the tokens that programs read: one table of causes, and one of all that came of work."""

from enum import Enum

from clockstep.core.setup import SetupOutcome
from clockstep.model import AgentReport, Cause, ClusterOutcome, ControlPlane, Freshness, Outcome, Thaw

CAUSES = {
    "agent-answers": "guest agent connected",
    "asked": "requested",
    "booted": "booted",
    "diverged": "apart from the hypervisor's clock",
    "found": "found by the periodic check",
    "host-clock-set": "the host's clock was set",
    "host-woke": "the host woke from sleep",
    "looked": "measured only",
    "migrated": "migrated",
    "paused": "paused by clockstep",
    "paused-for-revert": "paused for a revert",
    "paused-for-snapshot": "paused for a snapshot",
    "restored": "restored from a saved state",
    "resumed": "resumed after a pause",
    "reverted": "reverted to a snapshot",
    "set-by-other": "clock set by another program",
    "waited-for": "waited for",
}
"""By a cause's `kind`."""

WORDS: dict[Enum, str] = {
    Outcome.TAKEN: "snapshot taken",
    Outcome.NOT_TAKEN: "no snapshot taken",
    Outcome.DELETED: "snapshot deleted",
    Outcome.NOT_DELETED: "snapshot not deleted",
    Outcome.REVERTED: "reverted",
    Outcome.HELD: "reverted and left paused",
    Outcome.NOT_REVERTED: "not reverted",
    Outcome.PAUSED: "paused",
    Outcome.NOT_PAUSED: "not paused",
    Outcome.RESUMED: "resumed",
    Outcome.NOT_RESUMED: "not resumed",
    Outcome.THAWED: "thawed",
    Outcome.NOTHING_FROZEN: "nothing was frozen by clockstep",
    Outcome.NOT_THAWED: "not thawed",
    Outcome.UNREAD: "snapshots could not be listed",
    Thaw.PROVEN: "thawed, clock verified",
    Thaw.FROZEN: "still frozen",
    Thaw.RUNNING: "not frozen",
    Freshness.FRESH: "its lease is fresh, and its Node is Ready",
    Freshness.LEASE_OLD: "its lease was renewed {age} ago, but not since its clock was verified",
    Freshness.LEASE_AHEAD: "its lease is {age} ahead of the host's clock",
    Freshness.LEASE_UNKNOWN: "its Node has no lease that can be read",
    Freshness.NOT_READY: "its Node is not Ready (Ready is {ready})",
    Freshness.READY_OLD: "its Node lost Ready, which was not written since its clock was verified",
    Freshness.READY_AHEAD: "Ready was written by a clock that was ahead (the kubelet writes it again within 5 min)",
    Freshness.CLOCK_UNPROVEN: "its Node was not waited for, because its clock is not verified",
    Freshness.DOUBTFUL: "which Node it is cannot be told, because a UUID occurs twice",
    Freshness.NO_NODE: "it is no Node of the Kubernetes cluster",
    ControlPlane.INSIDE: "its control plane is in these nodes: a revert takes the cluster's state back, too",
    ControlPlane.PARTLY: "a part of its control plane is in these nodes: reverted alone, that disagrees with the rest",
    ControlPlane.OUTSIDE: "its control plane is elsewhere: it keeps the cluster's state when these nodes are reverted",
    ControlPlane.UNKNOWN: "where its control plane is, is not known",
    ClusterOutcome.WORKS: "works",
    ClusterOutcome.LATE: "does not work yet",
    ClusterOutcome.UNKNOWN: "could not be asked",
    ClusterOutcome.UNMATCHED: "has none of these nodes as a Node (check --kubeconfig and --context)",
    ClusterOutcome.NOT_WAITED: "was not waited for",
    SetupOutcome.UNCHANGED: "nothing to change",
    SetupOutcome.WOULD_CHANGE: "would change",
    SetupOutcome.SET_UP: "set up and verified",
    SetupOutcome.DEFINED: "redefined",
    SetupOutcome.PUT_BACK: "undone",
    SetupOutcome.NOT_PUT_BACK: "not undone",
    SetupOutcome.REFUSED: "refused, nothing changed",
    SetupOutcome.FAILED: "failed, and undone",
    SetupOutcome.LEFT_ALONE: "left alone",
    SetupOutcome.UNREACHED: "not reached",
    SetupOutcome.LOCKED: "locked by another clockstep",
}


def cause_text(cause: Cause) -> str:
    """Return a cause in words, or its token where there are none, with the name of its snapshot where that is known."""
    text = CAUSES.get(cause.kind, cause.kind)
    return f"{text} ({cause.detail})" if cause.detail else text


def agent_head(report: AgentReport) -> tuple[str, ...]:
    """Return what an agent on this machine goes by, in sentences."""
    steps = "yes" if report.steps else "no, without CAP_SYS_TIME, or only observing"
    told = (f"reports to: {report.reports_to}",) if report.reports_to else ()
    return f"compared with: {report.clock}", f"time daemon: {report.daemon or 'none'}", f"steps: {steps}", *told


def agent_others(report: AgentReport) -> tuple[str, ...]:
    """Return who else sets this machine's clock."""
    return tuple(f"also sets this clock: {text}" for text in report.others)
