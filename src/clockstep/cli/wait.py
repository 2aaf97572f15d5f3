"""`clockstep wait`."""

from typing import Any

import click
from click.core import ParameterSource

from clockstep.cli.options import Duration, examples, nodes, shared, ways

EXAMPLES = examples("wait node-1", "wait --all --within 50ms --timeout 10m", "wait node-1 -o json")


@click.command("wait", epilog=EXAMPLES)
@nodes
@click.option(
    "--within",
    type=Duration(1),
    metavar="TIME",
    default="10ms",
    help="Largest offset that is within tolerance.  [default: the cluster's, else 10ms]",
)
@click.option(
    "--timeout", type=Duration(), metavar="TIME", default="5m", show_default=True, help="How long to wait at most."
)
@ways
@shared
@click.pass_context
def command(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    within: int,
    timeout: int,
    **_options: Any,
) -> int:
    """Wait until every clock is within tolerance in three consecutive readings. Nothing is changed.

    Ends with 1 if the timeout comes first, and with 3 if a node is unreachable then. Without NODE and without a
    configuration it waits for every running node.
    """
    from clockstep.cli.exits import Exit, of_episodes, worst
    from clockstep.cli.session import asked, opened, printed, progress, selected
    from clockstep.core.summary import summarise
    from clockstep.flows import wait
    from clockstep.model import Policy, Report
    from clockstep.render.text import status_page
    from clockstep.units import DAY_NS

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
        if context.get_parameter_source("within") is ParameterSource.DEFAULT and wanted.cluster:
            within = wanted.cluster.limits.tolerance_ns or within
        policy = Policy(tolerance_ns=within, max_forward_ns=max(within, DAY_NS))
        episodes, done = wait.wait(world, guests, policy, timeout)
    printed(context, Report(world.host, episodes, summarise(episodes)), status_page)
    return worst((of_episodes(episodes), Exit.GOOD if done else Exit.UNPROVEN))
