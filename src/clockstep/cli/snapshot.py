"""`clockstep snapshot create`, `list` and `delete`."""

from typing import Any

import click

from clockstep.cli.options import confirmed, examples, looking, nodes, policy, shared, ways, yes

FROZEN = "Freeze the workloads (kubepods.slice, but for the system's own pods) until the clocks are proven."
CGROUPS = "Freeze this cgroup instead, below /sys/fs/cgroup. May be given several times."


@click.group("snapshot")
def command() -> None:
    """Take, list and delete snapshots of several nodes as one."""


@command.command("create", epilog=examples("snapshot create before-upgrade --all", "snapshot create base n1 --freeze"))
@click.argument("name")
@nodes
@click.option("--freeze/--no-freeze", default=None, help=FROZEN)
@click.option("--freeze-cgroup", "cgroups", multiple=True, metavar="CGROUP", help=CGROUPS)
@policy
@ways
@shared
@click.pass_context
def create(
    context: click.Context,
    /,
    name: str,
    names: tuple[str, ...],
    *,
    everything: bool,
    freeze: bool | None,
    cgroups: tuple[str, ...],
    **_options: Any,
) -> int:
    """Snapshot nodes as one: pause all, snapshot all, resume all, and bring their clocks right.

    All of them have the snapshot afterwards, or none. Workloads that are frozen stand still in it, so that after a
    revert none runs before its clock is proven right.
    """
    from clockstep.cli.session import asked, code_of_set, frozen, kept, opened, policy_of, printed, selected
    from clockstep.flows import snapshot
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=True, held=True)
        workloads = frozen(wanted, freeze, cgroups)
        report = snapshot.create(world, guests, name, policy_of(context, wanted), workloads)
    printed(context, report, set_page)
    kept("snapshot create", report.episodes)
    return code_of_set(report)


@command.command("list")
@shared
@click.pass_context
def list_(context: click.Context, /, **_options: Any) -> int:
    """List snapshots with their age and the nodes that have them, those of other tools too."""
    from clockstep.cli.session import asked, opened, printed
    from clockstep.flows.snapshot import listing
    from clockstep.render.output import Story
    from clockstep.render.text import snapshots_page

    with Story() as story:
        world = opened(context, asked(context), story.tell)
        snapshots = listing(world.hypervisor)
    printed(context, snapshots, lambda listed: snapshots_page(listed, world.reference.now().at_ns))
    return 3 if snapshots.unread else 0


@command.command("delete", epilog=examples("snapshot delete before-upgrade", "snapshot delete theirs node-1 --yes"))
@click.argument("name")
@nodes
@yes
@looking("30 s")
@shared
@click.pass_context
def delete(
    context: click.Context, /, name: str, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any
) -> int:
    """Delete snapshot NAME of every node that has it; of a set of clockstep's also where it is incomplete.

    A snapshot of another tool needs its nodes named, or --all that have it.
    """
    from clockstep.cli.session import asked, code_of_set, opened, policy_of, printed, scope_of
    from clockstep.flows import snapshot
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    wanted = asked(context, names, everything=everything)
    with Story() as story:
        world = opened(context, wanted, story.tell)
        targets = snapshot.having(world.hypervisor, scope_of(world, wanted), name)
    confirmed(f"delete the snapshot {name!r} of {', '.join(guest.name for guest in targets)}", yes=yes)
    report = snapshot.delete(world, targets, policy_of(context, wanted))
    printed(context, report, set_page)
    return code_of_set(report)
