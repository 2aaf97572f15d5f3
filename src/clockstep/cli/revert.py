"""`clockstep revert`."""

from typing import Any

import click

from clockstep.cli.options import nodes, policy, shared


@click.command("revert")
@click.argument("name")
@nodes
@policy
@shared
@click.pass_context
def command(context: click.Context, /, name: str, names: tuple[str, ...], *, everything: bool, **options: Any) -> int:
    """Put nodes back to snapshot NAME together, and bring their clocks right at once.

    --all means every node of that snapshot. If one cannot be reverted, those that were stay paused.
    """
    from clockstep.cli.session import exit_code, opened, policy_of, printed, selected
    from clockstep.flows import revert
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    with Story() as story:
        world = opened(context, story.tell)
        if everything and not names:
            guests = revert.members_of(name, world.hypervisor)
        else:
            guests = selected(world, names, everything=everything)
        report = revert.revert(world, guests, name, policy_of(options))
    printed(context, report, set_page)
    return exit_code(report.episodes, complete=report.complete)
