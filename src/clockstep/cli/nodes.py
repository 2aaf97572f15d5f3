"""`clockstep nodes`."""

from dataclasses import replace
from typing import Any

import click

from clockstep.cli.options import examples, nodes, shared
from clockstep.units import SECOND_NS

EXAMPLES = examples(
    "nodes",
    "nodes 'web-*' --exclude web-3",
    "nodes -o name",
    "nodes --cluster prod -c qemu+ssh://host/system",
    "nodes --kubernetes",
    "nodes --kubeconfig admin.conf --selector topology.kubernetes.io/zone=a",
)
WITHIN_NS = 10 * SECOND_NS
"""How long the answer of a Kubernetes cluster may take."""


@click.command("nodes", epilog=EXAMPLES)
@nodes
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """List the nodes that a command would target, and why.

    Names on the command line count first, then a cluster in the configuration, then the current Vagrant project.
    Without any of them it is every running node; commands that change a VM refuse then.

    With a Kubernetes cluster it shows which Node each machine is, and Nodes and machines that are left over.
    """
    from clockstep.cli.exits import of_kubernetes
    from clockstep.cli.session import asked, choice, opened, printed, progress
    from clockstep.flows.cluster import ClusterLook
    from clockstep.render.text import nodes_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        look = ClusterLook(world, WITHIN_NS)
        look.begin()
        selection = choice(world, wanted, changing=False)
        states, report = look.view([one.guest for one in selection.nodes])
    nodes_of = tuple(replace(one, kubernetes=states.get(one.guest.name)) for one in selection.nodes)
    printed(context, replace(selection, nodes=nodes_of, kubernetes=report), nodes_page)
    return of_kubernetes(report)
