"""`clockstep nodes`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, shared

EXAMPLES = examples("nodes", "nodes 'web-*'", "nodes --cluster prod --connect qemu+ssh://host/system")


@click.command("nodes", epilog=EXAMPLES)
@nodes
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Show which nodes a command would be about, and why.

    The names count first, then a cluster of the configuration, then the Vagrant project. Where nothing names nodes it
    is everything that runs, and what changes a machine refuses.
    """
    from clockstep.cli.session import asked, opened, printed
    from clockstep.core.selection import select
    from clockstep.render.output import Story
    from clockstep.render.text import nodes_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        selection = select(world.hypervisor.guests(), wanted, changing=False)
    printed(context, selection, nodes_page)
    return 0
