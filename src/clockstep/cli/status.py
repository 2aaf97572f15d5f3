"""`clockstep status`."""

from typing import Any

import click

from clockstep.cli.options import looking, shared


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NODE]...")
@looking("5 s")
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], **options: Any) -> int:
    """Show how far off every clock is, and what its time daemon claims.

    Without names it looks at everything that runs. Nothing is changed.
    """
    from clockstep.cli.session import exit_code, opened, policy_of, printed, seen
    from clockstep.flows.step import status
    from clockstep.model import Report
    from clockstep.render.output import Story
    from clockstep.render.text import status_page

    with Story() as story:
        world = opened(context, story.tell)
        report = Report(world.host, status(world, seen(world, names), policy_of(options)))
    printed(context, report, status_page)
    return exit_code(report.episodes)
