"""What a wrong time has broken, and what was done about it, as rows of text."""

from clockstep.model import AftermathReport, Repair
from clockstep.render.findings import DOCS, summary_lines
from clockstep.render.text import Page
from clockstep.units import show_moment

HEADER = ("CODE", "OBJECT", "FOUND", "SINCE", "EVIDENCE", "CURE", "RISK")


def aftermath_page(report: AftermathReport) -> Page:
    """List what is broken in the order in which one repairs, what was done, and what could not be looked at."""
    rows = tuple(
        (
            one.code,
            str(one.on),
            one.text,
            show_moment(one.since_ns) if one.since_ns is not None else "-",
            one.evidence or "-",
            one.cure,
            one.risk or "-",
        )
        for check in report.checks
        for one in check.broken
    )
    return Page((), HEADER, rows, (*summary_lines(report), *((DOCS,) if rows else ())))


def repairs_page(report: AftermathReport) -> Page:
    """Say what a repair would do, before anything is asked."""
    rows = tuple((one.broken.code, str(one.broken.on), _deed(one)) for one in report.repairs)
    return Page((), ("CODE", "OBJECT", "WOULD"), rows, ())


def _deed(repair: Repair) -> str:
    if repair.act is None:
        return f"left: {repair.why}"
    return f"{'wait for' if repair.act.begun else ''} {repair.act.deed.value} {repair.act.on}".strip()
