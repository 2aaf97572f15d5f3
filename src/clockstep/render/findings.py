"""What the aftermath found, did and could not look at, on lines: below its own table, and in the reports of others."""

from collections.abc import Iterator

from clockstep.model import AftermathReport, Broken, Looked, State
from clockstep.render.repairs import repair_line

DOCS = "what each code means: docs/aftermath.md"


def ending_lines(report: AftermathReport | None) -> Iterator[str]:
    """Say at the end of another command what the wrong time has broken; nothing if that was not asked for."""
    if report is None:
        return
    if report.trouble:
        remedy = f" ({report.trouble.remedy})" if report.trouble.remedy else ""
        yield f"what the wrong time has broken is not known: {report.trouble.text}{remedy}"
        return
    found = [one for check in report.checks for one in check.broken]
    for one in found:
        yield from _finding(one)
    yield from summary_lines(report)
    if found:
        yield DOCS


def _finding(one: Broken) -> Iterator[str]:
    evidence = f" ({one.evidence})" if one.evidence else ""
    yield f"{one.code}  {one.on}: {one.text}{evidence}"
    risk = f" ({one.risk})" if one.risk else ""
    yield f"{one.code}  cure: {one.cure}{risk}"


def summary_lines(report: AftermathReport) -> Iterator[str]:
    """Say what was done, what could not be looked at, and what was found to be in order."""
    for one in report.repairs:
        yield repair_line(one)
    yield from _unlooked(report)
    yield from _listed("nothing found", report, State.CLEAN)
    yield from _listed("not in this cluster", report, State.ABSENT)


def _unlooked(report: AftermathReport) -> Iterator[str]:
    """Say what could not be looked at; several checks for one reason, on one line."""
    for why in dict.fromkeys(check.why for check in report.checks if check.state is State.NOT_LOOKED):
        codes = [check.code for check in report.checks if check.state is State.NOT_LOOKED and check.why == why]
        yield f"{', '.join(codes)} could not look: {why}"
    for check in report.checks:
        if check.state is State.BROKEN and check.why:
            yield f"{check.code} could not look at everything: {check.why}"


def _listed(text: str, report: AftermathReport, state: State) -> Iterator[str]:
    found = [_named(check) for check in report.checks if check.state is state]
    if found:
        yield f"{text}: {', '.join(found)}"


def _named(check: Looked) -> str:
    return f"{check.code} ({check.title})"
