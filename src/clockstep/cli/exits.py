"""Exit codes, decided here alone: what an error, an Episode or a report ends the process with."""

from collections.abc import Iterable, Sequence
from enum import IntEnum

from clockstep.core.setup import SetupNode, SetupOutcome, SetupReport
from clockstep.errors import (
    BusyError,
    ClockstepError,
    HypervisorError,
    InternalError,
    KubernetesError,
    ReachError,
    UsageError,
)
from clockstep.model import (
    AftermathReport,
    ClusterOutcome,
    ClusterState,
    DoctorReport,
    Episode,
    KubeReport,
    Level,
    Report,
    SetReport,
    State,
    Verdict,
)

SIGNALLED = 128
"""What a shell adds to the number of a signal."""


class Exit(IntEnum):
    """What `clockstep` ends with."""

    GOOD = 0
    UNPROVEN = 1
    USAGE = 2
    UNREACHABLE = 3
    BUG = 4
    LOCKED = 5
    REFUSED = 6
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


MEANING = {
    Exit.GOOD: "every clock is proven to be within tolerance, and everything that was asked for was done",
    Exit.UNPROVEN: (
        "a clock is bad or unsure, or the Kubernetes cluster did not work by its deadline; or `doctor` found an error, "
        "`aftermath` something broken, or `setup check` something to change"
    ),
    Exit.USAGE: "the command line, a name, an address or the configuration is invalid; nothing was changed",
    Exit.UNREACHABLE: "a node, a hypervisor or the Kubernetes cluster could not be reached, or `aftermath` could not "
    "look everywhere",
    Exit.BUG: "internal error; if it happened on one node, the others were finished and reported",
    Exit.LOCKED: "a node is locked by another clockstep",
    Exit.REFUSED: "refused, answered with no, or not carried out on every node, as a revert that is not complete; or a "
    "report could not be written",
    Exit.HANGUP: "interrupted by SIGHUP",
    Exit.INTERRUPTED: "interrupted by SIGINT",
    Exit.TERMINATED: "interrupted by SIGTERM",
}
"""What each exit code means, as the reference and the man pages print it."""
SEVERITY = (Exit.GOOD, Exit.UNPROVEN, Exit.REFUSED, Exit.LOCKED, Exit.UNREACHABLE, Exit.BUG)
"""From harmless to worst: of several codes the last one counts."""
ERRORS = (
    (InternalError, Exit.BUG),
    (BusyError, Exit.LOCKED),
    (UsageError, Exit.USAGE),
    (HypervisorError, Exit.UNREACHABLE),
    (KubernetesError, Exit.UNREACHABLE),
    (ReachError, Exit.UNREACHABLE),
    (ClockstepError, Exit.REFUSED),
)
VERDICTS = {Verdict.GOOD: Exit.GOOD, Verdict.UNREACHABLE: Exit.UNREACHABLE}
CLUSTER = {
    ClusterOutcome.LATE: Exit.UNPROVEN,
    ClusterOutcome.UNMATCHED: Exit.UNPROVEN,
    ClusterOutcome.UNKNOWN: Exit.UNREACHABLE,
}
SETUP = {
    SetupOutcome.UNREACHED: Exit.UNREACHABLE,
    SetupOutcome.LOCKED: Exit.LOCKED,
    SetupOutcome.REFUSED: Exit.REFUSED,
    SetupOutcome.LEFT_ALONE: Exit.REFUSED,
    SetupOutcome.NOT_PUT_BACK: Exit.REFUSED,
    SetupOutcome.FAILED: Exit.UNPROVEN,
}


def worst(codes: Iterable[Exit]) -> Exit:
    """Return the code that several come to together; GOOD of none."""
    return max(codes, key=SEVERITY.index, default=Exit.GOOD)


def of_error(error: ClockstepError) -> Exit:
    """Return what a run ends with that an error has ended."""
    return next(code for kind, code in ERRORS if isinstance(error, kind))


def of_signal(number: int) -> int:
    """Return what a run ends with that a signal has ended."""
    return SIGNALLED + number


def of_episodes(episodes: Sequence[Episode]) -> Exit:
    """Return what a look at several nodes, or work on them, ends with."""
    return worst(map(_of_episode, episodes))


def of_report(report: Report) -> Exit:
    """Return what a correction of several nodes ends with."""
    return _or_aftermath(worst((of_episodes(report.episodes), of_cluster(report.cluster))), report.aftermath)


def of_cluster(state: ClusterState | None) -> Exit:
    """Return what waiting for the Kubernetes cluster ends with: that it works is proven, or it is a failure."""
    if state is None:
        return Exit.GOOD
    cordoned = Exit.REFUSED if state.cordoned else Exit.GOOD
    broken = Exit.BUG if state.trouble and state.trouble.internal else Exit.GOOD
    return worst((CLUSTER.get(state.outcome, Exit.GOOD), cordoned, broken))


def of_kubernetes(report: KubeReport | None) -> Exit:
    """Return what it ends with that a Kubernetes cluster was asked too."""
    if report is None or report.trouble is None:
        return Exit.GOOD
    return Exit.BUG if report.trouble.internal else Exit.UNREACHABLE


def of_set(report: SetReport) -> Exit:
    """Return what an act on several nodes as one ends with."""
    missing = Exit.GOOD if report.complete else Exit.REFUSED
    frozen = Exit.UNPROVEN if any(one.trouble for one in report.freezes) else Exit.GOOD
    own = worst((of_episodes(report.episodes), missing, frozen, of_cluster(report.cluster)))
    return _or_aftermath(own, report.aftermath)


def of_doctor(report: DoctorReport) -> Exit:
    """Return what a diagnosis ends with: warnings and notes are no failure, a node that was not read is."""
    found = [*report.general, *(issue for one in report.nodes for issue in one.findings)]
    unread = Exit.UNREACHABLE if any(issue.check == "reach" and issue.level is Level.ERROR for issue in found) else None
    errors = Exit.UNPROVEN if any(issue.level is Level.ERROR for issue in found) else Exit.GOOD
    return unread or errors


def of_aftermath(report: AftermathReport) -> Exit:
    """Return what a look at the aftermath ends with: what was found counts before what could not be looked at."""
    states = {check.state for check in report.checks}
    if report.trouble and report.trouble.internal:
        return Exit.BUG
    if State.BROKEN in states:
        return Exit.UNPROVEN
    return Exit.UNREACHABLE if State.NOT_LOOKED in states else Exit.GOOD


def _or_aftermath(own: Exit, aftermath: AftermathReport | None) -> Exit:
    """Return what a run ends with: its own failure counts before what the wrong time had broken."""
    return own if own is not Exit.GOOD or aftermath is None else of_aftermath(aftermath)


def of_setup(report: SetupReport, *, strict: bool) -> Exit:
    """Return what setting up ends with; `strict` is whether a node that would be changed is a failure."""
    return worst(_of_setup(node, strict=strict) for node in report.nodes)


def _of_episode(episode: Episode) -> Exit:
    if any(trouble.internal for trouble in episode.facts.trouble):
        return Exit.BUG
    if episode.verdict is Verdict.UNREACHABLE and any(trouble.locked for trouble in episode.facts.trouble):
        return Exit.LOCKED
    return VERDICTS.get(episode.verdict, Exit.UNPROVEN)


def _of_setup(node: SetupNode, *, strict: bool) -> Exit:
    if node.outcome is SetupOutcome.WOULD_CHANGE:
        return Exit.UNPROVEN if strict else Exit.GOOD
    if node.outcome is SetupOutcome.UNCHANGED and node.text and node.plan:  # set up, and not proven
        return Exit.UNPROVEN
    return SETUP.get(node.outcome, Exit.GOOD)
