"""The aftermath as commands do it: whom to ask, what is shown before it is repaired, and how a run ends with it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import click

from clockstep.cli.context import as_json
from clockstep.cli.options import F, askable, confirmed, show_plan
from clockstep.errors import ClockstepError, UsageError

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.flows.aftermath import Inside, OnNode, Scene
    from clockstep.model import AftermathReport, Guest, KubeAccess, Repair, Report, SetReport
    from clockstep.ports import Tell, World
    from clockstep.render.text import Page

There = tuple["Inside", "OnNode"]
R = TypeVar("R", "SetReport", "Report")


def ending(command: F) -> F:
    """Add whether a command that corrects clocks ends with the aftermath, and whether it repairs."""
    text = "With --aftermath: carry out the cures, after they have been shown and confirmed."
    command = click.option("--repair", is_flag=True, help=text)(command)
    text = "Find, after the clocks, what the wrong time has broken in the Kubernetes cluster."
    return click.option("--aftermath", "with_aftermath", is_flag=True, help=text)(command)


def refuse_ending(context: click.Context, wanted: "Wanted", *, yes: bool) -> None:
    """Raise UsageError for an aftermath that cannot be: before anything is done."""
    from clockstep.cli.cluster import access_of, without_cluster

    if context.params["repair"] and not context.params["with_aftermath"]:
        raise UsageError("--repair needs --aftermath", "add it, or run clockstep aftermath --repair afterwards")
    if not context.params["with_aftermath"]:
        return
    if context.params.get("dry_run"):
        raise UsageError("--aftermath and --dry-run contradict each other", "clockstep aftermath looks by itself")
    if access_of(context.params, wanted) is None:
        raise without_cluster("--aftermath")
    if context.params["repair"]:
        askable("repair what is found", yes=yes)


def ended(
    context: click.Context,
    wanted: "Wanted",
    world: "World",
    guests: "Sequence[Guest]",
    report: R,
    page: "Callable[[R], Page]",
    *,
    yes: bool,
) -> R:
    """Return the report of a run with the aftermath, if that was asked for; there is none if no clock was worked on.

    An interrupt is raised after the page of the report as it is; with `-o json` the error is the one object.
    """
    from clockstep.cli.cluster import needed_access
    from clockstep.cli.session import printed, progress, warned
    from clockstep.core.aftermath.every import CHECKS, REMEDIES
    from clockstep.flows.aftermath import repair
    from clockstep.flows.aftermath_after import REFUSED, looked_after, reported, skipped

    if not (context.params["with_aftermath"] and report.episodes):
        return report

    def with_scene(job: "Callable[[Scene], AftermathReport]") -> "AftermathReport":
        with progress(context) as story:
            now = world._replace(tell=story.tell)
            with from_machines(context, now, guests) as there:
                return job(scene_of(needed_access(context.params, wanted), now.tell, *there))

    def look() -> "AftermathReport":
        plan = with_scene(lambda scene: looked_after(scene, CHECKS, REMEDIES, report.episodes))
        if not context.params["repair"]:
            return replace(plan, repairs=())
        if not any(one.act for one in plan.repairs):
            return plan
        if not _agreed(context, plan, yes=yes):
            return skipped(plan, REFUSED)
        return with_scene(lambda scene: repair(scene, CHECKS, REMEDIES, plan.repairs))

    try:
        return replace(report, aftermath=reported(world._replace(tell=warned), CHECKS, look))
    except KeyboardInterrupt:
        if not as_json(context):
            printed(context, report, page)
        raise


def cures(plan: "AftermathReport") -> str:
    """Return what is asked for, as a question has it."""
    number = sum(one.act is not None for one in plan.repairs)
    return f"carry out {number} {'cure' if number == 1 else 'cures'}"


def _agreed(context: click.Context, plan: "AftermathReport", *, yes: bool) -> bool:
    """Show what would be done, and ask; Ctrl-C is a no, too: the run's own result is still to be printed."""
    from clockstep.render.aftermath import repairs_page

    show_plan(context, repairs_page(plan), yes=yes, apart=True)
    try:
        confirmed(cures(plan), yes=yes)
    except (ClockstepError, click.Abort):
        return False
    return True


def scene_of(access: "KubeAccess", tell: "Tell", inside: "Inside", on_node: "OnNode") -> "Scene":
    """Return whom to ask: a cluster, and its nodes as far as they can be reached."""
    from clockstep.cli.session import history
    from clockstep.flows.aftermath import Scene
    from clockstep.host.clock import SystemClock
    from clockstep.host.reference import HostReference
    from clockstep.kubernetes.aftermath import AftermathApi

    def kept(repair: "Repair") -> None:
        if trouble := history().add_repair(repair):
            tell("", trouble)

    cluster = AftermathApi(access, os.environ)
    return Scene(cluster, inside, HostReference(), SystemClock(), tell, kept, on_node=on_node)


@contextmanager
def from_machines(context: click.Context, world: "World", guests: "Sequence[Guest]") -> "Iterator[There]":
    """Give how to look from these machines, and what does something there."""
    from clockstep.cli.session import recorded
    from clockstep.flows.damaged_nodes import FromNodes
    from clockstep.flows.step import nodes

    with nodes(world, guests) as node:
        of_nodes = FromNodes(world, guests, node, context.params["deadline"], lambda: recorded().entries)
        yield of_nodes.look, of_nodes.perform
