"""What a wrong time has broken, and what was done about it, as rows of text."""

from collections.abc import Iterator

from clockstep.model import AftermathReport, Looked, Repair, State
from clockstep.render.repairs import repair_line
from clockstep.render.text import Page
from clockstep.units import show_moment

DOCS = "what each code means: docs/aftermath.md"
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
    below = (*_done(report), *_unlooked(report), *_clean(report), *((DOCS,) if rows else ()))
    return Page((), HEADER, rows, tuple(below))


def repairs_page(report: AftermathReport) -> Page:
    """Say what a repair would do, before anything is asked."""
    rows = tuple((one.broken.code, str(one.broken.on), _deed(one)) for one in report.repairs)
    return Page((), ("CODE", "OBJECT", "WOULD"), rows, ())


def _deed(repair: Repair) -> str:
    if repair.act is None:
        return f"left: {repair.why}"
    return f"{'wait for' if repair.act.begun else ''} {repair.act.deed.value} {repair.act.on}".strip()


def _done(report: AftermathReport) -> Iterator[str]:
    for one in report.repairs:
        yield repair_line(one)


def _unlooked(report: AftermathReport) -> Iterator[str]:
    for check in report.checks:
        if check.state is State.NOT_LOOKED:
            yield f"{check.code} could not look: {check.why}"
        elif check.state is State.BROKEN and check.why:
            yield f"{check.code} could not look at everything: {check.why}"


def _clean(report: AftermathReport) -> Iterator[str]:
    yield from _listed("nothing found", report, State.CLEAN)
    yield from _listed("not in this cluster", report, State.ABSENT)


def _listed(text: str, report: AftermathReport, state: State) -> Iterator[str]:
    found = [_named(check) for check in report.checks if check.state is state]
    if found:
        yield f"{text}: {', '.join(found)}"


def _named(check: Looked) -> str:
    return f"{check.code} ({check.title})"
