"""`clockstep nodes`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, shared

EXAMPLES = examples(
    "nodes", "nodes 'web-*' --exclude web-3", "nodes -o name", "nodes --cluster prod -c qemu+ssh://host/system"
)


@click.command("nodes", epilog=EXAMPLES)
@nodes
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """List the nodes that a command would target, and why.

    Names on the command line count first, then a cluster in the configuration, then the current Vagrant project.
    Without any of them it is every running node; commands that change a VM refuse then.
    """
    from clockstep.cli.session import asked, opened, printed, progress
    from clockstep.core.selection import select
    from clockstep.render.text import nodes_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        selection = select(world.hypervisor.guests(), wanted, changing=False)
    printed(context, selection, nodes_page)
    return 0
