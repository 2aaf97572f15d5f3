"""`clockstep pause`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, shared, waiting


@click.command("pause", epilog=examples("pause node-1 node-2", "pause --all"))
@nodes
@waiting
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Pause nodes at the same moment, until `clockstep resume`.

    If one cannot be paused, the others stay paused, and the exit code is 6.
    """
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, selected
    from clockstep.flows.pause import pause
    from clockstep.render.text import set_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        report = pause(world, selected(world, wanted, changing=True), policy_of(context, wanted))
    printed(context, report, set_page)
    return of_set(report)
