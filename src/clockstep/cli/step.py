"""`clockstep step`."""

from typing import Any

import click

from clockstep.cli.healing import ended, ending, refuse_ending
from clockstep.cli.options import aftercare, examples, hosts, nodes, policy, shared, ways, yes

EXAMPLES = examples(
    "step node-1",
    "step --dry-run",
    "step --ssh root@db.example.org",
    "step --all --require-sync",
    "step --max-forward 30d node-1",
)


@click.command("step", epilog=EXAMPLES)
@nodes
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@policy
@aftercare
@ending
@yes
@hosts
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, dry_run: bool, yes: bool, **_options: Any
) -> int:
    """Correct clocks immediately, resync their time daemons, and verify the result.

    A step forward is limited to a day (--max-forward), and a step backward needs --allow-backward. A clock whose
    measurement is unsure is never stepped. With a Kubernetes cluster it then waits until that works, as `revert` does;
    with --aftermath it also looks for what the wrong time has broken there. It asks only before a --repair.
    """
    from clockstep.cli.exits import of_report
    from clockstep.cli.session import aftercare_of, asked, kept, opened, policy_of, printed, progress, selected
    from clockstep.core.summary import summarise
    from clockstep.flows.step import status, stepped
    from clockstep.model import Report
    from clockstep.render.text import plan_page, step_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        refuse_ending(context, wanted, yes=yes)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=not dry_run)
        policy = policy_of(context, wanted)
        if dry_run:
            looked = status(world, guests, policy)
            report = Report(world.host, looked, summarise(looked))
        else:
            report = stepped(world, guests, policy, aftercare=aftercare_of(context, world))
    if not dry_run:
        kept("step", report.episodes)
        report = ended(context, wanted, world, guests, report, step_page, yes=yes)
    printed(context, report, plan_page if dry_run else step_page)
    return of_report(report)
