"""`clockstep revert`."""

from typing import Any

import click

from clockstep.cli.options import confirmed, examples, nodes, policy, shared, ways, yes

EXAMPLES = examples("revert", "revert before-upgrade", "revert before-upgrade --yes --json", "revert theirs 'node-*'")
HELD = "Keep frozen workloads frozen where a clock cannot be proven, instead of for a minute."
FROZEN = "Say so where the workloads of a snapshot were not frozen."


@click.command("revert", epilog=EXAMPLES)
@click.argument("name", required=False)
@nodes
@yes
@click.option("--hold", is_flag=True, help=HELD)
@click.option("--freeze", is_flag=True, help=FROZEN)
@policy
@ways
@shared
@click.pass_context
def command(
    context: click.Context,
    /,
    name: str | None,
    names: tuple[str, ...],
    *,
    everything: bool,
    yes: bool,
    hold: bool,
    freeze: bool,
    **_options: Any,
) -> int:
    """Put nodes back to snapshot NAME together, and bring their clocks right at once.

    Without NODE it is every node of that snapshot, in whatever state it is; without NAME too, the newest set. A
    snapshot of another tool needs its nodes named, or --all that have it. If one node cannot be reverted, those that
    were stay paused.
    """
    from clockstep.cli.session import asked, code_of_set, hooked, kept, opened, policy_of, printed, scope_of
    from clockstep.flows import revert
    from clockstep.render.output import Story
    from clockstep.render.text import set_page, targets_line

    wanted = asked(context, names, everything=everything)
    with Story() as story:
        world = opened(context, wanted, story.tell)
        targets = revert.choose(world.hypervisor, scope_of(world, wanted), name, frozen=freeze)
    confirmed(targets_line(targets.name, targets.snapshots, targets.remarks, world.reference.now().at_ns), yes=yes)
    with Story() as story:
        world = world._replace(tell=story.tell)
        report = revert.revert(world, targets, policy_of(context, wanted), keep_frozen=hold)
    printed(context, report, set_page)
    kept("revert", report.episodes)
    hooked(wanted, report.episodes)
    return code_of_set(report)
