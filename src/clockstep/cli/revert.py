"""`clockstep revert`."""

from typing import Any

import click

from clockstep.cli.healing import ended, ending, refuse_ending
from clockstep.cli.options import aftercare, confirmed, cordon, examples, nodes, policy, shared, ways, yes
from clockstep.errors import UsageError

EXAMPLES = examples(
    "revert before-upgrade",
    "revert before-upgrade --yes -o json",
    "revert --latest --kubernetes --aftermath --repair",
    "revert theirs 'node-*'",
)
HELD = "Keep workloads frozen if a clock cannot be verified, instead of for a minute."
FROZEN = "Refuse if the workloads of a snapshot were not frozen."
LATEST = "Revert to the newest snapshot that clockstep took, instead of NAME."


@click.command("revert", epilog=EXAMPLES)
@click.argument("name", required=False)
@nodes
@click.option("--latest", is_flag=True, help=LATEST)
@yes
@cordon
@aftercare
@ending
@click.option("--hold", is_flag=True, help=HELD)
@click.option("--require-frozen", is_flag=True, help=FROZEN)
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
    latest: bool,
    yes: bool,
    hold: bool,
    require_frozen: bool,
    with_aftermath: bool,
    **_options: Any,
) -> int:
    """Revert nodes to snapshot NAME together, resume them at once, and correct their clocks.

    Without NODE it is every node of that snapshot, in whatever state it is. A snapshot that another tool took does not
    record its nodes: name them, or use --all. If one node cannot be reverted, the others stay paused.

    With a Kubernetes cluster it then waits until the leases of the Nodes are fresh by the host's clock and they are
    Ready. With --aftermath it also looks for what the wrong time has broken there, as `clockstep aftermath` does.
    """
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import aftercare_of, asked, hooked, kept, opened, policy_of, printed, progress, scope_of
    from clockstep.flows import revert
    from clockstep.render.cluster import lapses_in_short
    from clockstep.render.text import set_page, targets_line

    if latest:
        name, names = None, (*((name,) if name else ()), *names)
    elif not name:
        hint = "name one, or use --latest for the newest; clockstep snapshot list shows all"
        raise UsageError("no snapshot specified", hint)
    wanted = asked(context, names, everything=everything)
    refuse_ending(context, wanted, yes=yes)
    with progress(context) as story:
        world = opened(context, wanted, story.tell)
        wishes = aftercare_of(context, world)
        chosen = revert.choose(world.hypervisor, scope_of(world, wanted), name, require_frozen=require_frozen)
    targets = revert.looked_ahead(chosen, now_ns := world.reference.now().at_ns)
    said = (*targets.remarks, *lapses_in_short(targets.lapsed))
    confirmed(targets_line(targets.name, targets.snapshots, said, now_ns), yes=yes)
    with progress(context) as story:
        world = world._replace(tell=story.tell)
        policy = policy_of(context, wanted)
        report = revert.revert(world, targets, policy, keep_frozen=hold, aftercare=wishes)
    kept("revert", report.episodes, report.freezes)
    if with_aftermath:  # which may take minutes
        hooked(wanted, report.episodes)
        report = ended(context, wanted, world, list(targets.snapshots), report, set_page, yes=yes)
    printed(context, report, set_page)
    if not with_aftermath:
        hooked(wanted, report.episodes)
    return of_set(report)
