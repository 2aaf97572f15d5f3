"""`clockstep status`."""

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
    """
    from clockstep.cli.exits import of_episodes
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, repainted, selected
    from clockstep.core.summary import summarise
    from clockstep.flows import step
    from clockstep.host.timex import read_host_clock
    from clockstep.model import Report
    from clockstep.render.text import status_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
    looks = step.watch(world, guests, policy_of(context, wanted))
    if follow:
        reports = (Report(read_host_clock(), episodes, summarise(episodes)) for episodes in looks)
        repainted(context, reports, status_page, world.clock)
    episodes = next(looks)
    report = Report(world.host, episodes, summarise(episodes))
    printed(context, report, status_page)
    return of_episodes(report.episodes)
