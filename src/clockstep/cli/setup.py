"""`clockstep setup`."""

from collections.abc import Callable, Sequence
from enum import Enum
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


class What(Enum):
    """What is set up; its value is what `undo` is asked to do."""

    CHRONY = "undo the setup of"
    GUEST_AGENT = "remove the guest agent that clockstep added to"
    OWN_AGENT = "stop and remove the agent that clockstep set up on"


@click.group("setup")
@between
def command(**_options: Any) -> None:
    """Make nodes keep their own time: chrony, following the hypervisor's clock if there is one.

    With --agent it is an agent on the node that notices reverts and pauses there, and corrects the clock at once.

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


def agents(command: F) -> F:
    """Add the choice of a guest agent, or of the node's own, instead of chrony."""
    text = "Set up the node's own agent instead, which corrects the clock from inside: its file and its unit."
    command = click.option("--agent", "own_agent", is_flag=True, help=text)(command)
    text = "Set up a guest agent instead: its channel and its package."
    return click.option("--guest-agent", is_flag=True, help=text)(command)


@command.command("plan", epilog=examples("setup plan", "setup plan node-1 --trust", "setup plan --agent node-1"))
@nodes
@agents
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
@agents
@wished
@looking("10min")
@ways
@shared
@click.pass_context
def check(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Do the same as `setup plan`, and exit with 1 if anything would change."""
    return _looked(context, names, everything=everything, strict=True)


@command.command(
    "apply", epilog=examples("setup apply node-1", "setup apply --all --yes", "setup apply --agent node-1")
)
@nodes
@yes
@agents
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


@command.command(
    "undo", epilog=examples("setup undo node-1", "setup undo --agent node-1", "setup undo --guest-agent node-1 --yes")
)
@nodes
@yes
@agents
@looking("10min")
@ways
@shared
@click.pass_context
def undo(context: click.Context, /, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any) -> int:
    """Restore what was there before `setup apply`."""
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, definitions, opened, policy_of, printed, progress, selected
    from clockstep.flows import agent, own_agent, setup
    from clockstep.render.setup import done_page

    what = _what(context)
    if what is What.GUEST_AGENT:  # an agent cannot remove itself
        context.params["reach"] = "ssh"
    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests, policy = selected(world, wanted, changing=True), policy_of(context, wanted)
    confirmed(f"{what.value} {', '.join(guest.name for guest in guests)}", yes=yes)
    with progress(context) as story:
        world = world._replace(tell=story.tell)
        match what:
            case What.GUEST_AGENT:
                report = agent.remove(world, guests, policy, definitions())
            case What.OWN_AGENT:
                report = own_agent.undo(world, guests, policy)
            case What.CHRONY:
                report = setup.undo(world, guests, policy)
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
    from clockstep.flows import agent, own_agent, setup

    match _what(context):
        case What.GUEST_AGENT:
            return agent.look(world, guests, policy)
        case What.OWN_AGENT:
            return own_agent.look(world, guests, policy, _file())
        case What.CHRONY:
            return setup.look(world, guests, policy, wish)


def _apply(
    context: click.Context, world: "World", guests: "Sequence[Guest]", policy: "Policy", wish: "Wish"
) -> "SetupReport":
    from clockstep.cli.session import definitions
    from clockstep.flows import agent, own_agent, setup

    match _what(context):
        case What.GUEST_AGENT:
            return agent.add(world, guests, policy, definitions())
        case What.OWN_AGENT:
            return own_agent.apply(world, guests, policy, _file())
        case What.CHRONY:
            return setup.apply(world, guests, policy, wish)


def _file() -> bytes:
    """Return the agent's one file."""
    from clockstep.agent.bundle import bundle

    return bundle()


def _what(context: click.Context) -> What:
    """Return what is to be set up. Raises UsageError for options that do not go with it."""
    said = context.params
    if not said["guest_agent"] and not said["own_agent"]:
        return What.CHRONY
    option = "--guest-agent" if said["guest_agent"] else "--agent"
    if said["guest_agent"] and said["own_agent"]:
        raise UsageError("--agent is the node's own, and --guest-agent the hypervisor's way to it", "name one of them")
    if said["guest_agent"] and said["reach"]:
        raise UsageError("--guest-agent installs by ssh, and reads the clock by the agent", "leave out --reach")
    if any(said.get(name) for name in ("phc", "trust", "short_polls")):
        raise UsageError("--phc, --trust and --short-polls are about chrony", f"leave them out with {option}")
    return What.GUEST_AGENT if said["guest_agent"] else What.OWN_AGENT


def _wish(context: click.Context) -> "Wish":
    from clockstep.flows.setup import Wish

    said = context.params
    return Wish(said["phc"], said["trust"], said["short_polls"])
