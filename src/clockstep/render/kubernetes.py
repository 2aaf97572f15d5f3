"""What a Kubernetes cluster says of nodes, as columns of a table and lines below it."""

from collections.abc import Iterator, Mapping, Sequence

from clockstep.model import KubeReport, KubeState
from clockstep.units import show_duration

HEADER = ("KUBERNETES NODE", "ROLES", "READY", "LEASE", "CLOCKPROBLEM")
SHOWN = 10
"""How many names a line lists at most."""


def header(report: KubeReport | None) -> tuple[str, ...]:
    """Return the columns that a table has more if a cluster was asked and answered."""
    return HEADER if answered(report) else ()


def cells(state: KubeState | None, report: KubeReport | None) -> tuple[str, ...]:
    """Return these columns of one node."""
    if not answered(report):
        return ()
    if state is None:
        return ("-",) * len(HEADER)
    ready = (state.ready.status if state.ready else "-") + (" (cordoned)" if state.unschedulable else "")
    problem = state.problem.status if state.problem else "-"
    return state.name, ",".join(state.roles) or "-", ready, _lease(state), problem


def remarks(report: KubeReport | None, states: Mapping[str, KubeState | None]) -> Iterator[str]:
    """Give what else there is to say, of the cluster and of these nodes by their names."""
    if report is None:
        return
    expired = [
        f"{node} ({show_duration(state.lease_age_ns or 0)} old)"
        for node, state in states.items()
        if state and _wrongly_ready(state)
    ]
    lines = (
        ("Ready in Kubernetes, but with an expired lease: ", expired),
        ("Kubernetes Nodes without a machine here: ", report.machineless),
        ("not a Kubernetes Node: ", report.nodeless),
        ("Kubernetes Nodes that are matched to no machine, because their UUID is not unique: ", report.doubtful),
    )
    yield from (text + _listed(names) for text, names in lines if names)
    if report.lease_trouble:
        yield f"Kubernetes: {report.lease_trouble}"
    if report.trouble:
        remedy = f" ({report.trouble.remedy})" if report.trouble.remedy else ""
        yield f"Kubernetes: {report.trouble.text}{remedy}"


def answered(report: KubeReport | None) -> bool:
    """Whether a cluster was asked and has answered."""
    return report is not None and report.trouble is None


def _wrongly_ready(state: KubeState) -> bool:
    return state.lease_expired and state.ready is not None and state.ready.status == "True"


def _lease(state: KubeState) -> str:
    if state.lease_age_ns is None:
        return "-"
    if state.lease_age_ns < 0:
        return f"{show_duration(-state.lease_age_ns)} ahead"
    return f"{show_duration(state.lease_age_ns)}{', expired' if state.lease_expired else ''}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
