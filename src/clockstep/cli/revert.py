"""`clockstep revert`."""

from typing import Any

import click

from clockstep.cli.options import confirmed, examples, nodes, policy, shared, ways, yes

EXAMPLES = examples("revert", "revert before-upgrade", "revert before-upgrade --yes --json", "revert theirs 'node-*'")


@click.command("revert", epilog=EXAMPLES)
@click.argument("name", required=False)
@nodes
@yes
@policy
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, name: str | None, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any
) -> int:
    """Put nodes back to snapshot NAME together, and bring their clocks right at once.

    Without NODE it is every node of that snapshot, in whatever state it is; without NAME too, the newest set. A
    snapshot of another tool needs its nodes named, or --all that have it. If one node cannot be reverted, those that
    were stay paused.
    """
    from clockstep.cli.session import asked, exit_code, opened, policy_of, printed, scope_of
    from clockstep.flows import revert
    from clockstep.render.output import Story
    from clockstep.render.text import set_page, targets_line

    wanted = asked(context, names, everything=everything)
    with Story() as story:
        world = opened(context, wanted, story.tell)
        targets = revert.choose(world.hypervisor, scope_of(world, wanted), name)
    confirmed(targets_line(targets.name, targets.snapshots, targets.remarks, world.clock.realtime_ns()), yes=yes)
    with Story() as story:
        report = revert.revert(world._replace(tell=story.tell), targets, policy_of(context, wanted))
    printed(context, report, set_page)
    return exit_code(report.episodes, complete=report.complete)
