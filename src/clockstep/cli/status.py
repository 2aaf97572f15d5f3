"""`clockstep status`."""

from typing import Any

import click

from clockstep.cli.options import looking, nodes, shared, ways


@click.command("status")
@nodes
@looking("5 s")
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Show how far off every clock is, and what its time daemon claims.

    Where nothing names nodes it looks at everything that runs. Nothing is changed.
    """
    from clockstep.cli.session import asked, exit_code, opened, policy_of, printed, selected, ways_of
    from clockstep.flows.step import status
    from clockstep.model import Report
    from clockstep.render.output import Story
    from clockstep.render.text import status_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(wanted, story.tell, ways_of(context))
        guests = selected(world, wanted, changing=False)
        report = Report(world.host, status(world, guests, policy_of(context, wanted)))
    printed(context, report, status_page)
    return exit_code(report.episodes)
