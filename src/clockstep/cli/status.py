"""`clockstep status`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from clockstep.cli.options import examples, hosts, looking, nodes, shared, ways

EXAMPLES = examples(
    "status",
    "status 'node-*' --tolerance 50ms",
    "status --ssh db.example.org",
    "status --follow",
    "status -o wide",
    "status -o json",
    "status --kubernetes --selector 'tier in (db, cache)'",
)


@click.command("status", epilog=EXAMPLES)
@nodes
@click.option("--follow", is_flag=True, help="Measure again every two seconds until interrupted.")
@looking("5s")
@hosts
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, follow: bool, **_options: Any
) -> int:
    """Show the offset of every clock, and what its time daemon claims.

    Without NODE and without a configuration it measures every running node. Nothing is changed.

    A Kubernetes cluster is asked meanwhile. That it does not answer by the deadline is a warning.
    """
    from clockstep.cli.exits import of_episodes, of_kubernetes, worst
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, repainted, selected
    from clockstep.core.summary import summarise
    from clockstep.flows import step
    from clockstep.flows.cluster import ClusterLook
    from clockstep.model import Report
    from clockstep.render.text import status_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        policy = policy_of(context, wanted)
        look = ClusterLook(world, policy.deadline_ns)
        look.begin()
        guests = selected(world, wanted, changing=False)
    looks = step.watch(world, guests, policy)

    def reports() -> Iterator[Report]:
        while True:
            look.begin()
            episodes = next(looks)
            states, kubernetes = look.view(guests)
            seen = tuple(replace(one, kubernetes=states.get(one.node)) for one in episodes)
            yield Report(world.host, seen, summarise(seen), kubernetes)

    if follow:
        repainted(context, reports(), status_page, world.clock)
    report = next(reports())
    printed(context, report, status_page)
    return worst((of_episodes(report.episodes), of_kubernetes(report.kubernetes)))
