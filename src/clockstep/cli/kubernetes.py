"""`clockstep kubernetes`: what clockstep has left in a Kubernetes cluster."""

import os
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.context import option
from clockstep.cli.options import between, confirmed, examples, shared, which_kubernetes, yes
from clockstep.errors import visible

if TYPE_CHECKING:
    from clockstep.kubernetes.api import KubernetesApi
    from clockstep.model import Cordon


@click.group("kubernetes")
@between
def command(**_options: Any) -> None:
    """Undo what clockstep has left in a Kubernetes cluster."""


@command.command(
    "remove",
    epilog=examples(
        "kubernetes remove",
        "kubernetes remove 'worker-*' --context prod --yes",
        "kubernetes remove --any-writer --kubeconfig /etc/clockstep/kubeconfig",
    ),
)
@click.argument("names", nargs=-1, metavar="[NODE]...")
@click.option("--any-writer", is_flag=True, help="Also remove what other hosts' watchers or other programs wrote.")
@yes
@which_kubernetes
@shared
@click.pass_context
def remove(context: click.Context, /, names: tuple[str, ...], *, any_writer: bool, yes: bool, **_options: Any) -> int:
    """Remove the condition ClockProblem that this host's watcher wrote, from these Nodes or from all.

    NODE may be a glob. A watcher that still runs writes its condition again within minutes; `clockstep service
    uninstall` removes the service and its conditions.
    """
    from clockstep.cli.cluster import writer
    from clockstep.core.condition import writer_of
    from clockstep.flows.conditions import remove_all, with_condition

    cluster = _cluster(context)
    found = {node.name: writer_of(node.problem) for node in with_condition(cluster, names) if node.problem}
    chosen = {node: by for node, by in found.items() if any_writer or by == writer()}
    for node in sorted(found.keys() - chosen.keys()):
        by = found[node] or "another program"
        _tell(context, f"{node}: its condition was written by {by}, so it is left; --any-writer removes it")
    if not chosen:
        _tell(context, "there is no condition to remove")
        return 0
    confirmed(f"remove the condition ClockProblem of {visible(', '.join(chosen))}", yes=yes)
    remove_all(cluster, chosen, lambda text: _tell(context, text))
    return 0


@command.command("uncordon", epilog=examples("kubernetes uncordon", "kubernetes uncordon 'worker-*' --any-mark --yes"))
@click.argument("names", nargs=-1, metavar="[NODE]...")
@click.option("--any-mark", is_flag=True, help="Also uncordon what other hosts or a clockstep that runs have cordoned.")
@yes
@which_kubernetes
@shared
@click.pass_context
def uncordon(context: click.Context, /, names: tuple[str, ...], *, any_mark: bool, yes: bool, **_options: Any) -> int:
    """Uncordon the Nodes that a clockstep which was killed has left cordoned.

    NODE may be a glob. What this host's state folder has noted is uncordoned, and Nodes with a mark of a process of
    this host that has ended. Nodes that others cordoned without clockstep are left alone.
    """
    from clockstep.cli.session import journal
    from clockstep.flows.conditions import called, each
    from clockstep.flows.cordon import left_behind, marked, undone

    cluster, notes = _cluster(context), journal().cordons
    nodes = called(cluster, names)
    chosen = left_behind(nodes, notes)
    others = [one for one in marked(nodes) if one not in chosen]
    for one in others:
        left = "" if any_mark else ", so it is left; --any-mark uncordons it"
        _tell(context, f"{one.name}: cordoned by {one.mark}{left}")
    if any_mark and others:
        confirmed(f"uncordon {visible(', '.join(one.name for one in others))}", yes=yes)
        chosen += others

    def undo(one: "Cordon") -> None:
        if undone(cluster, notes, one):
            _tell(context, f"uncordoned {one.name}")

    each(chosen, undo)
    if not chosen:
        _tell(context, "there is no Node to uncordon")
    return 0


def _cluster(context: click.Context) -> "KubernetesApi":
    """Return the cluster that is meant: of the options, the configuration, KUBECONFIG or ~/.kube/config."""
    from clockstep.cli.cluster import needed_access
    from clockstep.cli.session import asked
    from clockstep.kubernetes.api import KubernetesApi

    return KubernetesApi(needed_access(context.params, asked(context)), os.environ)


def _tell(context: click.Context, text: str) -> None:
    if not option(context, "quiet"):
        click.echo(visible(text), err=True)
