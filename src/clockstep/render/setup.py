"""What setting up would change, and what it came to, as pages."""

from clockstep.core.setup import SetupNode, SetupOutcome, SetupReport, diff, remarks
from clockstep.render.text import Page, claim_text, offset_text


def plan_page(report: SetupReport) -> Page:
    """Say what would be changed in each node, as a diff, and what is worth knowing."""
    above = tuple(line for node in report.nodes for line in _plan_lines(node))
    return Page(above, ("NODE", "SETUP"), _rows(report), _remarks(report))


def done_page(report: SetupReport) -> Page:
    """Say what became of each node, with the look that proves it."""
    header = ("NODE", "SETUP", "OFFSET", "DAEMON SAYS")
    rows = tuple((node.node, node.outcome.value, *_looked(node)) for node in report.nodes)
    return Page((), header, rows, tuple(f"{node.node}: {node.text}" for node in report.nodes if node.text))


def _plan_lines(node: SetupNode) -> list[str]:
    if node.plan is None or node.outcome is not SetupOutcome.WOULD_CHANGE:
        return []
    return [f"{node.node}: {node.plan.system}", *(f"  {line}" for line in diff(node.plan)), ""]


def _rows(report: SetupReport) -> tuple[tuple[str, ...], ...]:
    return tuple((node.node, node.outcome.value) for node in report.nodes)


def _remarks(report: SetupReport) -> tuple[str, ...]:
    why = [f"{node.node}: {node.text}" for node in report.nodes if node.text]
    return (*why, *(f"{node.node}: {said}" for node in report.nodes if node.plan for said in remarks(node.plan)))


def _looked(node: SetupNode) -> tuple[str, str]:
    return (offset_text(node.episode.after), claim_text(node.episode)) if node.episode else ("-", "-")
