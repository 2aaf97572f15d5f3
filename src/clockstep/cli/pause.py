"""`clockstep pause`."""

from typing import Any

import click

from clockstep.cli.options import examples, looking, nodes, shared


@click.command("pause", epilog=examples("pause node-1 node-2", "pause --all"))
@nodes
@looking("30 s")
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Pause nodes at the same moment, until clockstep resume."""
    from clockstep.cli.session import asked, code_of_set, opened, policy_of, printed, selected
    from clockstep.flows.pause import pause
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        report = pause(world, selected(world, wanted, changing=True), policy_of(context, wanted))
    printed(context, report, set_page)
    return code_of_set(report)
