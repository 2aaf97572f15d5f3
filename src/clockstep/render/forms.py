"""A record in the forms that `-o` names besides a table and JSON: with more columns, or names alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clockstep.config import ConfigReport
from clockstep.core.setup import SetupReport
from clockstep.host.systemd_unit import ServiceStatus
from clockstep.model import (
    AftermathReport,
    AgentReport,
    DoctorReport,
    Episode,
    History,
    Report,
    Selection,
    SetReport,
    SnapshotList,
)
from clockstep.render.text import Page
from clockstep.render.words import cause_text
from clockstep.units import show_duration, show_moment

Columns = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def names(record: Any) -> tuple[str, ...]:
    """Return the names of all that a record is about, for other programs."""
    return tuple(NAMES[type(record)](record))


def wide(record: Any, page: Page) -> Page:
    """Return a page with more columns."""
    more = WIDE.get(type(record))
    if more is None:
        return page
    header, rows = more(record)
    widened = tuple((*row, *added) for row, added in zip(page.rows, rows, strict=True))
    return page._replace(header=(*page.header, *header), rows=widened)


def _of_episodes(episodes: Sequence[Episode]) -> Columns:
    return ("SOURCE", "ROUND TRIP", "CAUSE", "TOOK"), [
        (*_source(one), cause_text(one.cause), show_duration(one.took_ns)) for one in episodes
    ]


def _source(episode: Episode) -> tuple[str, str]:
    if not episode.facts.readings:
        return "-", "-"
    last = episode.facts.readings[-1]
    return last.source, show_duration(last.round_trip_ns)


def _of_selection(selection: Selection) -> Columns:
    return ("UUID", "DOMAIN"), [(one.guest.uuid, one.guest.recorded) for one in selection.nodes]


def _of_snapshots(listed: SnapshotList) -> Columns:
    return ("CREATED", "SET"), [(show_moment(one.created_ns), one.set_id or "-") for one in listed.snapshots]


def _of_setup(report: SetupReport) -> Columns:
    plans = [node.plan for node in report.nodes]
    return ("SYSTEM", "CHRONY", "CLOCK"), [
        (plan.system or "-", plan.chrony or "-", plan.clock or "-") if plan else ("-", "-", "-") for plan in plans
    ]


def _of_history(history: History) -> Columns:
    return ("BY", "TOOK"), [(one.by, show_duration(one.episode.took_ns)) for one in history.entries]


WIDE: dict[type, Callable[[Any], Columns]] = {
    Report: lambda report: _of_episodes(report.episodes),
    SetReport: lambda report: _of_episodes(report.episodes),
    Selection: _of_selection,
    SnapshotList: _of_snapshots,
    SetupReport: _of_setup,
    History: _of_history,
}
NAMES: dict[type, Callable[[Any], Iterable[str]]] = {
    Report: lambda report: (episode.node for episode in report.episodes),
    SetReport: lambda report: (member.node for member in report.members),
    Selection: lambda selection: (one.guest.name for one in selection.nodes),
    DoctorReport: lambda report: (one.node for one in report.nodes),
    AftermathReport: lambda report: (str(one.on) for check in report.checks for one in check.broken),
    SetupReport: lambda report: (node.node for node in report.nodes),
    SnapshotList: lambda listed: (one.name for one in listed.snapshots),
    History: lambda history: dict.fromkeys(one.episode.node for one in history.entries),
    ConfigReport: lambda report: (report.path,) if report.path else (),
    AgentReport: lambda report: (one.signal for one in report.signals),
    ServiceStatus: lambda status: (status.unit,),
}
