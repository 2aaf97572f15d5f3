"""`clockstep snapshot create`, `list` and `delete`."""

from typing import Any

import click

from clockstep.cli.options import (
    aftercare,
    between,
    confirmed,
    cordon,
    examples,
    nodes,
    policy,
    shared,
    waiting,
    ways,
    yes,
)

FROZEN = "Freeze workloads (kubepods.slice, except the system's own pods) until the clocks are verified."
CGROUPS = "Freeze this cgroup below /sys/fs/cgroup instead (repeatable)."


@click.group("snapshot")
@between
def command(**_options: Any) -> None:
    """Create, list and delete snapshots of several nodes as one."""


@command.command("create", epilog=examples("snapshot create before-upgrade --all", "snapshot create base n1 --freeze"))
@click.argument("name")
@nodes
@click.option("--freeze/--no-freeze", default=None, help=FROZEN)
@click.option("--freeze-cgroup", "cgroups", multiple=True, metavar="CGROUP", help=CGROUPS)
@cordon
@aftercare
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
    """Snapshot nodes as one: pause all, snapshot all, resume all, and correct their clocks.

    Afterwards all of them have the snapshot, or none. Frozen workloads are still frozen in it, so that after a revert
    none runs before its clock is verified. With a Kubernetes cluster it then waits until that works, as `revert` does.
    """
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import aftercare_of, asked, frozen, kept, opened, policy_of, printed, progress, selected
    from clockstep.flows import snapshot
    from clockstep.render.text import set_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=True, held=True)
        workloads = frozen(wanted, freeze, cgroups)
        policy = policy_of(context, wanted)
        report = snapshot.create(world, guests, name, policy, workloads, aftercare=aftercare_of(context, world))
    printed(context, report, set_page)
    kept("snapshot create", report.episodes, report.freezes)
    return of_set(report)


@command.command("list")
@shared
@click.pass_context
def list_(context: click.Context, /, **_options: Any) -> int:
    """List snapshots with their age and their nodes, including those of other tools."""
    from clockstep.cli.session import asked, opened, printed, progress
    from clockstep.flows.sets import listing
    from clockstep.render.text import snapshots_page

    with progress(context) as story:
        world = opened(context, asked(context), story.tell)
        snapshots = listing(world.hypervisor)
    printed(context, snapshots, lambda listed: snapshots_page(listed, world.reference.now().at_ns))
    return 3 if snapshots.unread else 0


@command.command("delete", epilog=examples("snapshot delete before-upgrade", "snapshot delete theirs node-1 --yes"))
@click.argument("name")
@nodes
@yes
@waiting
@shared
@click.pass_context
def delete(
    context: click.Context, /, name: str, names: tuple[str, ...], *, everything: bool, yes: bool, **_options: Any
) -> int:
    """Delete snapshot NAME from every node that has it, even if not all have it.

    A snapshot that another tool took does not record its nodes: name them, or use --all.
    """
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, scope_of
    from clockstep.flows import sets, snapshot
    from clockstep.render.text import set_page

    wanted = asked(context, names, everything=everything)
    with progress(context) as story:
        world = opened(context, wanted, story.tell)
        targets = sets.having(world.hypervisor, scope_of(world, wanted), name)
    confirmed(f"delete the snapshot {name!r} of {', '.join(guest.name for guest in targets)}", yes=yes)
    report = snapshot.delete(world, targets, policy_of(context, wanted))
    printed(context, report, set_page)
    return of_set(report)
