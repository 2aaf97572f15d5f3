"""`clockstep domain`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clockstep.cli.options import agreed, between, confirmed, examples, nodes, shared, yes

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.core.setup import SetupReport
    from clockstep.model import Guest
    from clockstep.ports import World

F = TypeVar("F", bound=Callable[..., Any])


@click.group("domain")
@between
def command(**_options: Any) -> None:
    """Complete the libvirt definition of nodes, as far as it concerns timekeeping.

    That is a channel for the guest agent, a generation id, an RTC in UTC, and kvmclock. With --spanning-tree it is the
    spanning tree protocol of their networks' bridges, which delays ssh after a revert.
    """


def spanning(command: F) -> F:
    """Add the choice of the networks' bridges."""
    text = "Switch off the spanning tree of their networks' bridges instead."
    return click.option("--spanning-tree", is_flag=True, help=text)(command)


@command.command("plan", epilog=examples("domain plan", "domain plan --spanning-tree node-1"))
@nodes
@spanning
@shared
@click.pass_context
def plan(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, spanning_tree: bool, **_options: Any
) -> int:
    """Show what `domain apply` would change, as a diff. Nothing is changed."""
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, opened, printed, progress, selected
    from clockstep.render.setup import plan_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        report = _look(world, wanted, selected(world, wanted, changing=False), spanning=spanning_tree)
    printed(context, report, plan_page)
    return of_setup(report, strict=False)


@command.command("apply", epilog=examples("domain apply node-1", "domain apply --spanning-tree node-1 --yes"))
@nodes
@yes
@spanning
@shared
@click.pass_context
def apply(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    yes: bool,
    spanning_tree: bool,
    **_options: Any,
) -> int:
    """Change the definition: show what would change, ask, and change it.

    A running node is not touched: the new definition takes effect at its next cold start.
    """
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, definitions, opened, printed, progress, selected
    from clockstep.flows import bridges, domain
    from clockstep.render.setup import done_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=True)
        planned = _look(world, wanted, guests, spanning=spanning_tree)
    what = "switch off the spanning tree of" if spanning_tree else "change the definition of"
    agreed(context, planned, what, yes=yes)
    with progress(context) as story:
        world = world._replace(tell=story.tell)
        if spanning_tree:
            report = bridges.switch_off(world, guests, definitions())
        else:
            report = domain.define(world, guests, _vagrants(wanted), definitions())
    printed(context, report, done_page)
    return of_setup(report, strict=False)


@command.command("undo", epilog=examples("domain undo node-1", "domain undo --spanning-tree node-1 --yes"))
@nodes
@yes
@spanning
@shared
@click.pass_context
def undo(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    yes: bool,
    spanning_tree: bool,
    **_options: Any,
) -> int:
    """Restore the definition from before `domain apply`, unless somebody else has changed it since."""
    from clockstep.cli.exits import of_setup
    from clockstep.cli.session import asked, definitions, opened, printed, progress, selected
    from clockstep.flows import bridges, domain
    from clockstep.render.setup import done_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=True)
    what = "switch on the spanning tree again for" if spanning_tree else "restore the definition of"
    confirmed(f"{what} {', '.join(guest.name for guest in guests)}", yes=yes)
    with progress(context) as story:
        world = world._replace(tell=story.tell)
        report = (bridges if spanning_tree else domain).undo(world, guests, definitions())
    printed(context, report, done_page)
    return of_setup(report, strict=False)


def _look(world: "World", wanted: "Wanted", guests: "Sequence[Guest]", *, spanning: bool) -> "SetupReport":
    from clockstep.flows import bridges, domain

    return bridges.look(world, guests) if spanning else domain.look(world, guests, _vagrants(wanted))


def _vagrants(wanted: "Wanted") -> frozenset[str]:
    """Return the UUIDs of domains that Vagrant writes."""
    return frozenset(wanted.project.called) if wanted.project else frozenset()
