"""Reports as rows of text, whether they end up in a terminal's table or in a pipe's plain lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from clockstep.config import ConfigReport, Source
from clockstep.core.selection import Cluster
from clockstep.errors import visible
from clockstep.host.systemd_unit import ServiceStatus
from clockstep.model import (
    Action,
    AgentReport,
    DoctorReport,
    Episode,
    Freeze,
    Guest,
    History,
    HostClock,
    Issue,
    KubeAccess,
    Member,
    Offset,
    Outcome,
    Report,
    Resync,
    Selection,
    SetReport,
    Snapshot,
    SnapshotList,
    SnapshotSet,
    Step,
    Verdict,
)
from clockstep.render import kubernetes
from clockstep.render.cluster import cluster_lines, lapse_lines
from clockstep.render.findings import ending_lines
from clockstep.render.repairs import repair_line
from clockstep.render.words import WORDS, agent_head, agent_others, cause_text
from clockstep.units import show_bound, show_duration, show_moment, show_offset, show_shift

ORDINARY = ("Normal", "0")
"""What chrony and timesyncd call a leap status with nothing to say."""


class Page(NamedTuple):
    """What a command says: lines above, a table, and lines below it."""

    above: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...]


def nodes_page(selection: Selection) -> Page:
    """Say which nodes are meant, after a first line on what decided that."""
    header = ("NODE", "STATE", "CONNECTION", "BECAUSE", *kubernetes.header(selection.kubernetes))
    rows = tuple(
        (
            one.guest.name,
            one.guest.state,
            one.guest.connection or "default",
            one.why,
            *kubernetes.cells(one.kubernetes, selection.kubernetes),
        )
        for one in selection.nodes
    )
    states = {one.guest.name: one.kubernetes for one in selection.nodes}
    return Page((f"chosen by {selection.text}",), header, rows, tuple(kubernetes.remarks(selection.kubernetes, states)))


def status_page(report: Report) -> Page:
    """Say how every node stands, after a first line on the clock that they are compared with."""
    header = ("NODE", "OFFSET", "AGAINST UTC", "DAEMON SAYS", "VERDICT", *kubernetes.header(report.kubernetes))
    rows = tuple(
        (
            e.node,
            offset_text(e.after),
            _against_utc(e.after, report.host),
            claim_text(e),
            e.verdict.value,
            *kubernetes.cells(e.kubernetes, report.kubernetes),
        )
        for e in report.episodes
    )
    of_cluster = kubernetes.remarks(report.kubernetes, {e.node: e.kubernetes for e in report.episodes})
    return Page((host_line(report.host),), header, rows, (*_remarks(report.episodes), *of_cluster))


def plan_page(report: Report) -> Page:
    """Say what a step would do."""
    header = ("NODE", "OFFSET", "WOULD", "VERDICT")
    rows = tuple((e.node, offset_text(e.after), actions_text(e, e.planned), e.verdict.value) for e in report.episodes)
    return Page((), header, rows, tuple(_remarks(report.episodes)))


def step_page(report: Report) -> Page:
    """Say what was done to every node, and how right it is now."""
    return Page((), *_healed(report.episodes), (*_remarks(report.episodes), *_afterwards(report)))


def doctor_page(report: DoctorReport) -> Page:
    """List what was found, worst first for each, and where to read on."""
    header = ("NODE", "LEVEL", "SECTION", "FOUND", "DO")
    general = [_found("all", finding) for finding in report.general]
    nodes: dict[Issue, list[str]] = {}
    for one in report.nodes:
        for finding in one.findings:
            nodes.setdefault(finding, []).append(one.node)
    rows = [_found(", ".join(names), finding) for finding, names in nodes.items()]
    well = [one.node for one in report.nodes if not one.findings]
    explained = ("what each section means: docs/diagnosis.md",) if general or rows else ()
    below = (*((f"nothing found: {', '.join(well)}",) if well else ()), *explained)
    return Page((host_line(report.host),), header, (*general, *rows), below)


def _found(node: str, issue: Issue) -> tuple[str, ...]:
    return (node, issue.level.value, issue.check, issue.text, issue.remedy or "-")


def episode_line(episode: Episode) -> str:
    """Say all of one Episode on a line: when, which node, why, what was found and done, and how it stands."""
    after = f", corrected in {_after(episode)}" if episode.wrong_for_ns else ""
    done = (
        f"{actions_text(episode, episode.actions)}, now {offset_text(episode.after)}{after}; "
        if episode.actions
        else ""
    )
    said = "".join(f"; {text}" for text in _remarks([episode]))
    head = f"{show_moment(episode.started_at_ns)}  {episode.node}  {cause_text(episode.cause)}"
    return visible(f"{head}: {offset_text(episode.before)}; {done}{episode.verdict.value}{said}")


def history_page(history: History) -> Page:
    """Say what was done to clocks, and why."""
    header = ("WHEN", "NODE", "CAUSE", "BEFORE", "DONE", "AFTER", "VERDICT")
    rows = tuple(
        (
            show_moment(e.started_at_ns),
            e.node,
            cause_text(e.cause),
            offset_text(e.before),
            actions_text(e, e.actions),
            offset_text(e.after),
            e.verdict.value,
        )
        for e in (entry.episode for entry in history.entries)
    )
    empty = () if rows or history.repairs else ("no entries",)
    skipped = (f"damaged lines skipped: {history.skipped}",) if history.skipped else ()
    repairs = (f"{show_moment(one.at_ns or 0)}  {repair_line(one)}" for one in history.repairs)
    return Page((), header, rows, (*empty, *repairs, *skipped))


def set_page(report: SetReport) -> Page:
    """Say what a snapshot or a revert came to."""
    spread = report.pause_spread_ns
    apart = () if spread is None else (f"paused within {show_duration(spread)} of each other",)
    stalled = () if report.stalled_ns is None else (f"paused for {show_duration(report.stalled_ns)} at most",)
    silent = report.complete and report.episodes
    members = tuple(_member_line(member) for member in report.members if member.trouble or not silent)
    ways = (_WAYS_ON,) if any(member.outcome is Outcome.HELD for member in report.members) else ()
    freezes = tuple(_freeze_line(freeze) for freeze in report.freezes)
    said = (*report.remarks, *lapse_lines(report.lapsed), *_remarks(report.episodes), *_afterwards(report))
    below = (*apart, *stalled, *freezes, *members, *ways, *said)
    return Page((), *_healed(report.episodes), below)


def _afterwards(report: Report | SetReport) -> list[str]:
    """Say how the Kubernetes cluster was after the clocks."""
    return [*cluster_lines(report.cluster), *ending_lines(report.aftermath)]


def targets_line(name: str, targets: Mapping[Guest, Snapshot], remarks: Sequence[str], now_ns: int) -> str:
    """Say what a revert would do, and what would be lost by it."""
    age = show_duration(max(0, now_ns - min(snapshot.created_ns for snapshot in targets.values())))
    lost = "; their running state is lost" if any(guest.active for guest in targets) else ""
    said = "".join(f"; {remark}" for remark in remarks)
    return f"revert {', '.join(guest.name for guest in targets)} to {name!r}, taken {age} ago{lost}{said}"


def snapshots_page(snapshots: SnapshotList, now_ns: int) -> Page:
    """List the snapshots with their age and members."""
    header = ("SNAPSHOT", "AGE", "MEMBERS", "")
    rows = tuple(_snapshot_row(one, now_ns) for one in snapshots.snapshots)
    return Page((), header, rows, tuple(_member_line(member) for member in snapshots.unread))


def host_line(host: HostClock) -> str:
    """Say what this machine's own clock is worth."""
    if host.synchronised:
        return f"host clock: synchronised, {show_bound(host.max_error_ns)} of UTC"
    return "host clock: not synchronised, so offsets from UTC are unknown"


_WAYS_ON = (
    "reverted nodes stay paused, to keep them apart from nodes that were not reverted: run clockstep revert again, "
    "or clockstep resume --mixed"
)


def _healed(episodes: Sequence[Episode]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    header = ("NODE", "BEFORE", "DONE", "NOW", "CORRECTED IN", "DAEMON SAYS", "VERDICT")
    rows = tuple(
        (
            e.node,
            offset_text(e.before),
            actions_text(e, e.actions),
            offset_text(e.after),
            _after(e),
            claim_text(e),
            e.verdict.value,
        )
        for e in episodes
    )
    return header, rows


def offset_text(offset: Offset | None) -> str:
    """Say an offset with its bound."""
    return "unknown" if offset is None else show_offset(offset.value_ns, offset.error_ns)


def _against_utc(offset: Offset | None, host: HostClock) -> str:
    if offset is None or not host.synchronised:
        return "unknown"
    return show_offset(offset.value_ns, offset.error_ns + host.max_error_ns)


def claim_text(episode: Episode) -> str:
    """Say what a node's time daemon claims."""
    claim = episode.facts.claim
    if claim is None:
        return "-"
    if not claim.synchronised:
        return f"{claim.daemon}, {'does not say' if claim.synchronised is None else 'not synchronised'}"
    said = [f"{claim.daemon} {claim.source}"]
    if claim.root_delay_ns is not None and claim.root_dispersion_ns is not None:
        said.append(show_bound(claim.root_delay_ns // 2 + claim.root_dispersion_ns))
    return " ".join(said) + ("" if claim.leap in {*ORDINARY, None} else f", leap: {claim.leap}")


def actions_text(episode: Episode, actions: Sequence[Action]) -> str:
    """Say what was done, or would be."""
    error_ns = episode.before.error_ns if episode.before else 1
    return ", ".join(_action(action, error_ns) for action in actions) or "nothing"


def _action(action: Action, error_ns: int) -> str:
    match action:
        case Step(by_ns, unconfirmed):
            return f"step {show_shift(by_ns, error_ns)}{' (unconfirmed)' if unconfirmed else ''}"
        case Resync(daemon):
            return f"resync {daemon}"
        case _:
            raise TypeError(f"not an action: {action}")


def _after(episode: Episode) -> str:
    return show_duration(episode.wrong_for_ns) if episode.wrong_for_ns else "-"


def _remarks(episodes: Sequence[Episode]) -> Iterator[str]:
    for episode in episodes:
        for finding in episode.findings:
            if finding.remedy or finding.verdict is not Verdict.GOOD:
                remedy = f" ({finding.remedy})" if finding.remedy else ""
                yield f"{episode.node}: {finding.text}{remedy}"


def _freeze_line(freeze: Freeze) -> str:
    return f"{freeze.node}: {freeze_text(freeze)}"


def freeze_text(freeze: Freeze) -> str:
    """Say what became of a node's workloads that were to be frozen."""
    still = "" if freeze.still_ns is None else f", after {show_duration(freeze.still_ns)}"
    left = f"; still running: {', '.join(freeze.left_out)}" if freeze.left_out else ""
    hint = f" ({freeze.trouble.remedy})" if freeze.trouble and freeze.trouble.remedy else ""
    trouble = f": {freeze.trouble.text}{hint}" if freeze.trouble else ""
    if not freeze.cgroups:
        return f"nothing frozen{trouble or ': it has no workloads to freeze'}"
    return f"{', '.join(freeze.cgroups)} {WORDS[freeze.thaw]}{still}{left}{trouble}"


def _member_line(member: Member) -> str:
    trouble = f": {member.trouble.text}" if member.trouble else ""
    return f"{member.node}: {WORDS[member.outcome]}{trouble}"


def _snapshot_row(one: SnapshotSet, now_ns: int) -> tuple[str, ...]:
    missing = [member for member in one.members if member not in one.present]
    note = "of another tool" if one.set_id is None else f"incomplete: not on {', '.join(missing)}" if missing else ""
    return (one.name, show_duration(max(0, now_ns - one.created_ns)), " ".join(one.present), note)


SOURCES = {
    Source.OPTION: "named with --config",
    Source.VARIABLE: "named by CLOCKSTEP_CONFIG",
    Source.FOLDER: "in the current folder",
    Source.ABOVE: "in a folder above the current one",
    Source.VAGRANT: "in the Vagrant project",
    Source.USER: "the user's own",
    Source.SYSTEM: "the system's own",
}


def config_page(report: ConfigReport) -> Page:
    """Say which configuration is used, and what its clusters say."""
    if report.source is None:
        return Page(("no configuration was found", *(f"looked in: {place}" for place in report.searched)), (), (), ())
    header = ("CLUSTER", "NODES", "CONNECT", "SETTINGS")
    rows = tuple(
        (one.name, " ".join(one.nodes) or "-", " ".join(one.connect) or "default", _settings(one) or "-")
        for one in report.clusters
    )
    return Page((f"configuration: {report.path} ({SOURCES[report.source]})",), header, rows, ())


def _settings(cluster: Cluster) -> str:
    said = [f"{name.removesuffix('_ns')}={_setting(name, value)}" for name, value in asdict(cluster.limits).items()]
    given = [one for one in said if not one.endswith("=")]
    frozen = [] if cluster.freeze is None else [f"freeze={','.join(cluster.freeze) or 'true'}"]
    return " ".join([*given, *frozen, *_access(cluster.kubernetes)])


def _access(access: KubeAccess | None) -> Iterator[str]:
    if access:
        yield f"kubernetes={access.context or 'current-context'}"
        if access.kubeconfig:
            yield f"kubeconfig={access.kubeconfig}"


def _setting(name: str, value: int | bool | None) -> str:
    if value is None:
        return ""
    return show_duration(value).replace(" ", "") if name.endswith("_ns") else str(value).lower()


def agent_page(report: AgentReport) -> Page:
    """Say what an agent on this machine can see, and what it goes by."""
    header = ("SIGNAL", "STATE", "SEES", "BLIND TO")
    rows = tuple((one.signal, "up" if one.up else "down", one.sees, one.blind) for one in report.signals)
    down = tuple(f"{one.signal}: {one.trouble}" for one in report.signals if not one.up)
    return Page(agent_head(report), header, rows, (*down, *agent_others(report)))


def service_page(status: ServiceStatus) -> Page:
    """Say whether a service is there and runs, and what it says."""
    header = ("SERVICE", "ENABLED", "ACTIVE", "FILE")
    says = (f"it says: {status.says}",) if status.says else ()
    return Page((), header, ((status.unit, status.enabled, status.active, status.file or "-"),), says)
