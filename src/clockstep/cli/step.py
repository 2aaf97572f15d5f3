"""`clockstep step`."""

from typing import Any

import click

from clockstep.cli.options import examples, hosts, nodes, policy, shared, ways

EXAMPLES = examples(
    "step node-1",
    "step --dry-run",
    "step --ssh root@db.example.org",
    "step --all --require-sync",
    "step --max-forward 30d node-1",
)


@click.command("step", epilog=EXAMPLES)
@nodes
@click.option("--dry-run", is_flag=True, help="Look and plan, and change nothing.")
@policy
@hosts
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, dry_run: bool, **_options: Any
) -> int:
    """Bring clocks right at once, time daemons along, and prove it.

    A step forward is at most a day, and one backward needs --allow-backward. Where it is unsure nothing is stepped.
    """
    from clockstep.cli.session import asked, exit_code, kept, opened, policy_of, printed, selected
    from clockstep.core.summary import summarise
    from clockstep.flows.step import ASKED, status, step
    from clockstep.model import Report
    from clockstep.render.output import Story
    from clockstep.render.text import plan_page, step_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=not dry_run)
        policy = policy_of(context, wanted)
        done = status(world, guests, policy) if dry_run else step(world, dict.fromkeys(guests, ASKED), policy)
        report = Report(world.host, done, summarise(done))
    printed(context, report, plan_page if dry_run else step_page)
    if not dry_run:
        kept("step", report.episodes)
    return exit_code(report.episodes)
