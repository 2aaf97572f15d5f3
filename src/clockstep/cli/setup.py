"""`clockstep setup`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clockstep.cli.options import agreed, between, confirmed, examples, looking, nodes, shared, ways, yes
from clockstep.errors import UsageError

if TYPE_CHECKING:
    from clockstep.core.setup import SetupReport
    from clockstep.flows.setup import Wish
    from clockstep.model import Guest, Policy
    from clockstep.ports import World

F = TypeVar("F", bound=Callable[..., Any])
FORMS = ("shell", "cloud-init")


@click.group("setup")
@between
def command(**_options: Any) -> None:
    """Make nodes keep their own time: chrony, following the hypervisor's clock if there is one.

    `plan` shows what would be changed, `apply` asks, changes it and verifies the result, `undo` restores what was there
    before. What cannot be verified is undone.
    """


def wished(command: F) -> F:
    """Add what is wanted beyond the usual."""
    text = "If there is no such clock, poll time servers every 64 s; not for public servers."
    command = click.option("--short-polls", is_flag=True, help=text)(command)
    text = (
        "Let no servers outvote the hypervisor's clock: a revert is noticed in seconds, but a host whose clock is off "
        "misleads its nodes."
    )
    command = click.option("--trust", is_flag=True, help=text)(command)
    return click.option("--phc", metavar="DEVICE", default="", help="Follow this hardware clock, whatever it is.")(
        command
    )


def agent(command: F) -> F:
    """Add the choice of a guest agent instead of chrony."""
    text = "Set up a guest agent instead: its channel and its package."
    return click.option("--guest-agent", is_flag=True, help=text)(command)


@command.command("plan", epilog=examples("setup plan", "setup plan node-1 --trust", "setup plan --guest-agent node-1"))
@nodes
@agent
@wished
@looking("10min")
@ways
@shared
@click.pass_context
def plan(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Show what `setup apply` would change, as a diff. Nothing is changed."""
    return _looked(context, names, everything=everything, strict=False)


@command.command("check", epilog=examples("setup check", "setup check --all -q"))
@nodes
@agent
@wished
@looking("10min")
@ways
@shared
@click.pass_context
def check(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Do the same as `setup plan`, and exit with 1 if anything would change."""
    return _looked(context, names, everything=everything, strict=True)


@command.command(
    "apply", epilog=examples("setup apply node-1", "setup apply --all --yes", "setup apply --guest-agent node-1")
)
@nodes
@yes
@agent
@wished
@looking("10min")
@ways
@shared
@click.pass_context
def apply(context: click.Context, /, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any) -> int:
    """Set nodes up: show what would change, ask, change it, and verify the result.

    What cannot be verified is undone. A second run changes nothing.
    """
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, selected
    from clockstep.render.setup import done_page

    wish = _wish(context)
    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests, policy = selected(world, wanted, changing=True), policy_of(context, wanted)
        planned = _look(context, world, guests, policy, wish)
    agreed(context, planned, "change", yes=yes)
    with progress(context) as story:
        report = _apply(context, world._replace(tell=story.tell), guests, policy, wish)
    printed(context, report, done_page)
    return of_setup(report, strict=False)


@command.command("undo", epilog=examples("setup undo node-1", "setup undo --guest-agent node-1 --yes"))
@nodes
@yes
@agent
@looking("10min")
@ways
@shared
@click.pass_context
def undo(context: click.Context, /, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any) -> int:
    """Restore what was there before `setup apply`."""
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, definitions, opened, policy_of, printed, progress, selected
    from clockstep.flows import agent, setup
    from clockstep.render.setup import done_page

    by_agent = _agent(context)
    if by_agent:  # an agent cannot remove itself
        context.params["reach"] = "ssh"
    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests, policy = selected(world, wanted, changing=True), policy_of(context, wanted)
    what = "remove the guest agent that clockstep added to" if by_agent else "undo the setup of"
    confirmed(f"{what} {', '.join(guest.name for guest in guests)}", yes=yes)
    with progress(context) as story:
        world = world._replace(tell=story.tell)
        report = agent.remove(world, guests, policy, definitions()) if by_agent else setup.undo(world, guests, policy)
    printed(context, report, done_page)
    return of_setup(report, strict=False)


@command.command("print", epilog=examples("setup print shell > chrony.sh", "setup print cloud-init > user-data"))
@click.argument("form", type=click.Choice(FORMS))
@wished
@shared
@click.pass_context
def print_(context: click.Context, /, form: str, **_options: Any) -> None:
    """Print the same as a shell script or as user data for cloud-init."""
    from clockstep.flows.setup import text

    click.echo(text(_wish(context), form), nl=False)


@command.command("explain", epilog=examples("setup explain"))
@shared
@click.pass_context
def explain(context: click.Context, /, **_options: Any) -> None:
    """Explain each line that `setup apply` may write."""
    from clockstep.cli.session import shown
    from clockstep.render.setup import explained_page

    shown(context, explained_page())


def _looked(context: click.Context, names: Sequence[str], *, everything: bool, strict: bool) -> int:
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, selected
    from clockstep.render.setup import plan_page

    wish = _wish(context)
    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
        report = _look(context, world, guests, policy_of(context, wanted), wish)
    printed(context, report, plan_page)
    return of_setup(report, strict=strict)


def _look(
    context: click.Context, world: "World", guests: "Sequence[Guest]", policy: "Policy", wish: "Wish"
) -> "SetupReport":
    from clockstep.flows import agent, setup

    return agent.look(world, guests, policy) if _agent(context) else setup.look(world, guests, policy, wish)


def _apply(
    context: click.Context, world: "World", guests: "Sequence[Guest]", policy: "Policy", wish: "Wish"
) -> "SetupReport":
    from clockstep.cli.session import definitions
    from clockstep.flows import agent, setup

    if _agent(context):
        return agent.add(world, guests, policy, definitions())
    return setup.apply(world, guests, policy, wish)


def _agent(context: click.Context) -> bool:
    """Return whether a guest agent is meant. Raises UsageError for options that do not go with it."""
    if not context.params["guest_agent"]:
        return False
    if context.params["reach"]:
        raise UsageError("--guest-agent installs by ssh, and reads the clock by the agent", "leave out --reach")
    if any(context.params.get(name) for name in ("phc", "trust", "short_polls")):
        raise UsageError("--phc, --trust and --short-polls are about chrony", "leave them out with --guest-agent")
    return True


def _wish(context: click.Context) -> "Wish":
    from clockstep.flows.setup import Wish

    said = context.params
    return Wish(said["phc"], said["trust"], said["short_polls"])
