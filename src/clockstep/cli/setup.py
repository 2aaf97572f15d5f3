"""`clockstep setup`."""

from typing import Any

import click

from clockstep.cli.options import examples, looking, nodes, shared, ways
from clockstep.errors import UsageError

EXAMPLES = examples(
    "setup --check", "setup node-1", "setup --undo node-1", "setup --print cloud-init > user-data", "setup --explain"
)


@click.command("setup", epilog=EXAMPLES)
@nodes
@click.option("--check", is_flag=True, help="Only look; exit with 1 where something would change.")
@click.option("--dry-run", is_flag=True, help="Print what would be changed, and change nothing.")
@click.option("--undo", is_flag=True, help="Restore what was there before.")
@click.option("--phc", metavar="DEVICE", default="", help="Follow this hardware clock, whatever it is.")
@click.option("--trust", is_flag=True, help="Let no servers outvote the hypervisor's clock: a wrong host wins then.")
@looking("10 min")
@ways
@shared
@click.pass_context
def command(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    check: bool,
    dry_run: bool,
    undo: bool,
    phc: str,
    trust: bool,
    **_options: Any,
) -> int:
    """Have nodes keep their own time: chrony, following the hypervisor's clock where there is one.

    Looks, prints what will be changed, applies it, and proves it; what does not prove itself is put back. A second
    run changes nothing.
    """
    from clockstep.cli.options import option
    from clockstep.cli.session import asked, opened, policy_of, printed, selected
    from clockstep.core.setup import exit_code
    from clockstep.flows import setup as flow
    from clockstep.render.output import Story, print_page
    from clockstep.render.setup import done_page, plan_page

    if check + dry_run + undo > 1:
        raise UsageError("--check, --dry-run and --undo exclude each other")
    looks_only = check or dry_run
    wish = flow.Wish(phc, trust)
    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=not looks_only)
        policy = policy_of(context, wanted)
        report = flow.undo(world, guests, policy) if undo else flow.look(world, guests, policy, wish)
    if not undo and not looks_only:
        if not option(context, "json"):
            print_page(plan_page(report))
        with story:
            report = flow.apply(world, guests, policy, wish)
    printed(context, report, plan_page if looks_only else done_page)
    return exit_code(report, strict=check)
