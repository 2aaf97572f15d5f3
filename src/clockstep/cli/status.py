"""`clockstep status`."""

from typing import Any

import click

from clockstep.cli.options import examples, hosts, looking, nodes, shared, ways

EXAMPLES = examples(
    "status", "status 'node-*' --tolerance 50ms", "status --ssh db.example.org", "status --watch", "--json status"
)


@click.command("status", epilog=EXAMPLES)
@nodes
@click.option("--watch", is_flag=True, help="Look again every two seconds until interrupted.")
@looking("5 s")
@hosts
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, watch: bool, **_options: Any
) -> int:
    """Show how far off every clock is, and what its time daemon claims.

    Where nothing names nodes it looks at everything that runs. Nothing is changed.
    """
    from clockstep.cli.session import asked, exit_code, opened, policy_of, printed, repainted, selected
    from clockstep.core.summary import summarise
    from clockstep.flows import step
    from clockstep.host.timex import read_host_clock
    from clockstep.model import Report
    from clockstep.render.output import Story
    from clockstep.render.text import status_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
    looks = step.watch(world, guests, policy_of(context, wanted))
    if watch:
        reports = (Report(read_host_clock(), episodes, summarise(episodes)) for episodes in looks)
        repainted(context, reports, status_page, world.clock)
    episodes = next(looks)
    report = Report(world.host, episodes, summarise(episodes))
    printed(context, report, status_page)
    return exit_code(report.episodes)
