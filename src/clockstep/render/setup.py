"""What setting up would change, and what it came to, as pages."""

from clockstep.core.provision import EXPLAINED, advice
from clockstep.core.setup import SetupNode, SetupOutcome, SetupReport, diff, remarks
from clockstep.render.text import Page, claim_text, offset_text
from clockstep.render.words import WORDS


def plan_page(report: SetupReport) -> Page:
    """Say what would be changed in each node, as a diff, and what is worth knowing."""
    above = tuple(line for node in report.nodes for line in _plan_lines(node))
    return Page(above, ("NODE", "SETUP"), _rows(report), _remarks(report))


def done_page(report: SetupReport) -> Page:
    """Say what became of each node, with the look that proves it."""
    header = ("NODE", "SETUP", "OFFSET", "DAEMON SAYS")
    rows = tuple((node.node, WORDS[node.outcome], *_looked(node)) for node in report.nodes)
    return Page((), header, rows, tuple(f"{node.node}: {node.text}" for node in report.nodes if node.text))


def _plan_lines(node: SetupNode) -> list[str]:
    if node.plan is None:
        return []
    lines = {SetupOutcome.WOULD_CHANGE: diff, SetupOutcome.LEFT_ALONE: advice}.get(node.outcome)
    if lines is None:
        return []
    head = "would change" if node.outcome is SetupOutcome.WOULD_CHANGE else "left alone; to be run by hand there"
    return [f"{node.node} ({node.plan.system}), {head}:", *(f"  {line}" for line in lines(node.plan)), ""]


def explained_page() -> Page:
    """Say of each line that may be written why it is."""
    return Page((), ("LINE", "WHY"), EXPLAINED, ("what is written where: clockstep setup plan",))


def _rows(report: SetupReport) -> tuple[tuple[str, ...], ...]:
    return tuple((node.node, WORDS[node.outcome]) for node in report.nodes)


def _remarks(report: SetupReport) -> tuple[str, ...]:
    why = [f"{node.node}: {node.text}" for node in report.nodes if node.text]
    return (*why, *(f"{node.node}: {said}" for node in report.nodes if node.plan for said in remarks(node.plan)))


def _looked(node: SetupNode) -> tuple[str, str]:
    return (offset_text(node.episode.after), claim_text(node.episode)) if node.episode else ("-", "-")
