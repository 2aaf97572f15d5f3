"""`clockstep setup`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from clockstep.cli.options import examples, looking, nodes, option, shared, ways
from clockstep.errors import UsageError

EXAMPLES = examples(
    "setup --check",
    "setup node-1",
    "setup --undo node-1",
    "setup --guest-agent node-1",
    "setup --spanning-tree --yes node-1",
    "setup --domain node-1",
    "setup --print cloud-init > user-data",
    "setup --explain",
)


class Asked(NamedTuple):
    """What is to be done with the nodes: only looked at, changed, or put back; inside, or in their domains."""

    looks_only: bool
    undo: bool
    domain: bool
    strict: bool


@click.command("setup", epilog=EXAMPLES)
@nodes
@click.option("--check", is_flag=True, help="Only look; exit with 1 where something would change.")
@click.option("--dry-run", is_flag=True, help="Print what would be changed, and change nothing.")
@click.option("--undo", is_flag=True, help="Restore what was there before.")
@click.option("--explain", is_flag=True, help="Say of each line that may be written why it is.")
@click.option(
    "--print", "form", type=click.Choice(["shell", "cloud-init"]), help="Print it as a script or as user data instead."
)
@click.option("--guest-agent", is_flag=True, help="Give the node a guest agent instead: its channel and its package.")
@click.option("--spanning-tree", is_flag=True, help="See to the bridges of their networks; --yes switches it off.")
@click.option("--domain", is_flag=True, help="See to the libvirt domain instead; --yes changes its definition.")
@click.option("--yes", "-y", is_flag=True, help="With --domain: define it anew.")
@click.option("--phc", metavar="DEVICE", default="", help="Follow this hardware clock, whatever it is.")
@click.option(
    "--trust",
    is_flag=True,
    help="Let no servers outvote the hypervisor's clock: a revert is seen in seconds, and a wrong host wins.",
)
@click.option(
    "--short-polls",
    is_flag=True,
    help="Where no such clock can be followed, ask time servers every 64 s: not for public ones.",
)
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
    explain: bool,
    form: str | None,
    guest_agent: bool,
    spanning_tree: bool,
    domain: bool,
    yes: bool,
    phc: str,
    trust: bool,
    short_polls: bool,
    **_options: Any,
) -> int:
    """Have nodes keep their own time: chrony, following the hypervisor's clock where there is one.

    Looks, prints what will be changed, applies it, and proves it; what does not prove itself is put back. A second
    run changes nothing.
    """
    from clockstep.flows.setup import Wish, text
    from clockstep.render.output import print_page
    from clockstep.render.setup import explained_page

    if check + dry_run + undo + explain + bool(form) > 1:
        raise UsageError("--check, --dry-run, --undo, --explain and --print exclude each other")
    if guest_agent + spanning_tree + domain > 1 or (
        (guest_agent or spanning_tree) and (form or explain or phc or trust or short_polls)
    ):
        raise UsageError("--guest-agent, --spanning-tree and --domain go with --check, --dry-run and --undo alone")
    if yes and not (domain or spanning_tree):
        raise UsageError(
            "--yes is for --domain and --spanning-tree",
            "without it nodes are set up without a question; --dry-run shows how",
        )
    wish = Wish(phc, trust, short_polls)
    if explain:
        print_page(explained_page())
        return 0
    if form:
        click.echo(text(wish, form), nl=False)
        return 0
    looks_only = check or dry_run or ((domain or spanning_tree) and not yes and not undo)
    todo = Asked(looks_only, undo, domain, check)
    if guest_agent:
        return _agent(context, names, todo, everything=everything)
    if spanning_tree:
        return _bridges(context, names, todo, everything=everything)
    return _done(context, names, todo, wish, everything=everything)


def _agent(context: click.Context, names: Sequence[str], todo: Asked, *, everything: bool) -> int:
    from clockstep.cli.session import asked, definitions, opened, policy_of, printed, selected
    from clockstep.core.setup import exit_code
    from clockstep.flows import agent
    from clockstep.render.output import Story
    from clockstep.render.setup import done_page, plan_page

    if context.params["reach"]:
        raise UsageError("--guest-agent installs by ssh, and reads the clock by the agent", "leave out --reach")
    if todo.undo:  # an agent cannot remove itself
        context.params["reach"] = "ssh"
    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests, policy = selected(world, wanted, changing=not todo.looks_only), policy_of(context, wanted)
        if todo.looks_only:
            report = agent.look(world, guests, policy)
        else:
            report = (agent.remove if todo.undo else agent.add)(world, guests, policy, definitions())
    printed(context, report, plan_page if todo.looks_only else done_page)
    return exit_code(report, strict=todo.strict)


def _bridges(context: click.Context, names: Sequence[str], todo: Asked, *, everything: bool) -> int:
    from clockstep.cli.session import asked, definitions, opened, printed, selected
    from clockstep.core.setup import exit_code
    from clockstep.flows import bridges
    from clockstep.render.output import Story
    from clockstep.render.setup import done_page, plan_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=not todo.looks_only)
        if todo.looks_only:
            report = bridges.look(world, guests)
        else:
            report = (bridges.undo if todo.undo else bridges.switch_off)(world, guests, definitions())
    printed(context, report, plan_page if todo.looks_only else done_page)
    return exit_code(report, strict=todo.strict)


def _done(context: click.Context, names: Sequence[str], todo: Asked, wish: Any, *, everything: bool) -> int:
    from clockstep.cli.session import asked, definitions, opened, policy_of, printed, selected
    from clockstep.core.setup import exit_code
    from clockstep.flows import domain, setup
    from clockstep.render.output import Story, print_page
    from clockstep.render.setup import done_page, plan_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=not todo.looks_only)
        policy = policy_of(context, wanted)
        vagrants = frozenset(wanted.project.called) if wanted.project else frozenset()
        if todo.undo:
            report = domain.undo(world, guests, definitions()) if todo.domain else setup.undo(world, guests, policy)
        else:
            report = domain.look(world, guests, vagrants) if todo.domain else setup.look(world, guests, policy, wish)
    if not todo.undo and not todo.looks_only:
        if not option(context, "json"):
            print_page(plan_page(report))
        with story:
            report = (
                domain.define(world, guests, vagrants, definitions())
                if todo.domain
                else setup.apply(world, guests, policy, wish)
            )
    printed(context, report, plan_page if todo.looks_only else done_page)
    return exit_code(report, strict=todo.strict)
