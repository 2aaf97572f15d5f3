"""`clockstep revert`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, policy, shared, ways

EXAMPLES = examples("revert before-upgrade --all", "revert before-upgrade 'node-*'")


@click.command("revert", epilog=EXAMPLES)
@click.argument("name")
@nodes
@policy
@ways
@shared
@click.pass_context
def command(context: click.Context, /, name: str, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Put nodes back to snapshot NAME together, and bring their clocks right at once.

    --all means every node of that snapshot. If one cannot be reverted, those that were stay paused.
    """
    from clockstep.cli.session import asked, exit_code, opened, policy_of, printed, selected
    from clockstep.flows import revert
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = revert.members_of(name, world.hypervisor) if everything else selected(world, wanted, changing=True)
        report = revert.revert(world, guests, name, policy_of(context, wanted))
    printed(context, report, set_page)
    return exit_code(report.episodes, complete=report.complete)
