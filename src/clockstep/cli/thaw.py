"""`clockstep thaw`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, policy, shared, ways

UNPROVEN = "Thaw at once, without verifying the clock."


@click.command("thaw", epilog=examples("thaw node-1", "thaw node-1 --unproven"))
@nodes
@click.option("--unproven", is_flag=True, help=UNPROVEN)
@policy
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, unproven: bool, **_options: Any
) -> int:
    """Resume frozen workloads, on each node as soon as its clock is corrected and verified."""
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import asked, kept, opened, policy_of, printed, progress, selected
    from clockstep.flows.freeze import thaw_all
    from clockstep.render.text import set_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=True)
        report = thaw_all(world, guests, policy_of(context, wanted), unproven=unproven)
    printed(context, report, set_page)
    kept("thaw", report.episodes)
    return of_set(report)
