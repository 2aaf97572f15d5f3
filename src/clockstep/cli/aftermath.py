"""`clockstep aftermath`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.healing import cures, from_machines, scene_of
from clockstep.cli.options import confirmed, examples, limited, nodes, shared, show_plan, ways, yes
from clockstep.cli.report import reported, reporting
from clockstep.core.aftermath.every import CHECKS, REMEDIES
from clockstep.errors import HypervisorError, UsageError
from clockstep.units import DAY_NS

if TYPE_CHECKING:
    from clockstep.cli.healing import There
    from clockstep.core.selection import Wanted
    from clockstep.flows.aftermath import Scene
    from clockstep.model import AftermathReport
    from clockstep.ports import Tell

EXAMPLES = examples(
    "aftermath",
    "aftermath --only CS-SERVING --repair",
    "aftermath --no-wait -o json",
    "aftermath --repair --report what-happened.html",
)
REPORTED_NS = 7 * DAY_NS
"""How far back a report goes."""
CODES = [check.code for check in CHECKS]


@click.command("aftermath", epilog=EXAMPLES)
@nodes
@click.option("--only", multiple=True, type=click.Choice(CODES), metavar="CODE", help="Look for this (repeatable).")
@click.option(
    "--except", "without", multiple=True, type=click.Choice(CODES), metavar="CODE", help="Skip this (repeatable)."
)
@click.option("--wait/--no-wait", default=True, help="Wait for what may heal by itself, up to 2 min.  [default: wait]")
@click.option("--repair", is_flag=True, help="Carry out the cures, after they have been shown and confirmed.")
@yes
@reporting
@limited("30s")
@ways
@shared
@click.pass_context
def command(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    only: tuple[str, ...],
    without: tuple[str, ...],
    wait: bool,
    repair: bool,
    **options: Any,
) -> int:
    """Find what a wrong time has broken in a Kubernetes cluster: certificates, tokens, leases, stuck pods.

    Waits for what heals by itself. Nodes are also looked into, if their machines can be reached. Without --repair
    nothing is changed.
    """
    from clockstep.cli.exits import of_aftermath, worst
    from clockstep.cli.session import printed, progress, recorded
    from clockstep.core.aftermath.checking import at_once, chosen
    from clockstep.flows.aftermath import aftermath, planned
    from clockstep.flows.aftermath import repair as repaired
    from clockstep.render.aftermath import aftermath_page

    checks = chosen(CHECKS if wait else at_once(CHECKS), only, without)
    if not checks:
        raise UsageError("--only and --except leave no check", "leave one of them out")
    with progress(context) as story, _scene(context, names, everything, story.tell) as scene:
        report, seen = aftermath(scene, checks)
    if repair and any(check.broken for check in report.checks):
        plan = planned(report, REMEDIES, seen)
        _confirm(context, plan, yes=options["yes"])
        with progress(context) as story, _scene(context, names, everything, story.tell) as scene:
            report = repaired(scene, checks, REMEDIES, plan.repairs, chosen(CHECKS, (), without))
    printed(context, report, aftermath_page)
    written = reported(context, lambda: recorded(since_ns=report.at_ns - REPORTED_NS), report)
    return worst((of_aftermath(report), written))


def _confirm(context: click.Context, plan: "AftermathReport", *, yes: bool) -> None:
    """Show what would be done, and ask."""
    from clockstep.render.aftermath import repairs_page

    show_plan(context, repairs_page(plan), yes=yes)
    if any(one.act for one in plan.repairs):
        confirmed(cures(plan), yes=yes)


@contextmanager
def _scene(context: click.Context, names: Sequence[str], everything: bool, tell: "Tell") -> "Iterator[Scene]":
    """Give whom to ask: the cluster, and the nodes if they can be reached."""
    from clockstep.cli.cluster import needed_access
    from clockstep.cli.session import asked

    wanted = asked(context, names, everything=everything)
    access = needed_access(context.params, wanted)
    with _there(context, wanted, tell) as there:
        yield scene_of(access, tell, *there)


@contextmanager
def _there(context: click.Context, wanted: "Wanted", tell: "Tell") -> "Iterator[There]":
    """Give how to look from the nodes; unless nodes were named, it is no failure that there are none."""
    from clockstep.cli.session import opened, selected
    from clockstep.flows.aftermath import nowhere
    from clockstep.flows.damaged_nodes import unseen

    try:
        world = opened(context, wanted, tell)
        guests = selected(world, wanted, changing=False)
    except (HypervisorError, UsageError) as error:
        if wanted.chosen or wanted.cluster or wanted.project:
            raise
        yield unseen(error.message), nowhere
        return
    with from_machines(context, world, guests) as there:
        yield there
