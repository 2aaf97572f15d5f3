"""The Kubernetes cluster whose Nodes the machines are: which one is meant, and what its Nodes' names mean."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from socket import gethostname
from typing import Any

import click

from clockstep.core.condition import writer_name
from clockstep.core.node_names import look_up
from clockstep.core.selection import Wanted, unknown
from clockstep.errors import KubernetesError, UsageError
from clockstep.model import Guest, KubeAccess, KubeNode
from clockstep.ports import Kubernetes, Tell, World
from clockstep.waiting import said_if_slow


def cluster_of(context: click.Context, wanted: Wanted) -> Kubernetes | None:
    """Return the Kubernetes cluster that the options or the configuration name; None if none is named.

    Nothing of it is read or asked here.
    """
    access = access_of(context.params, wanted)
    if access is None:
        return None
    from clockstep.kubernetes.api import KubernetesApi

    return KubernetesApi(access, os.environ)


def access_of(options: Mapping[str, Any], wanted: Wanted) -> KubeAccess | None:
    """Return which Kubernetes cluster is meant: the options count first, then the configuration, and KUBECONFIG alone
    never: asking a cluster sends credentials and may start programs.
    """
    by_cluster = wanted.cluster.kubernetes if wanted.cluster else None
    wish, file, name = (options.get(key) for key in ("kubernetes", "kubeconfig", "kube_context"))
    if wish is False:
        if file or name:
            raise UsageError("--no-kubernetes excludes --kubeconfig and --context")
        return None
    if file:
        return KubeAccess(file, name or "")
    if name:
        return replace(by_cluster or KubeAccess(), context=name)
    return by_cluster or (KubeAccess() if wish else None)


def needed_access(options: Mapping[str, Any], wanted: Wanted) -> KubeAccess:
    """Return which Kubernetes cluster a command is about that needs one: if none is named, that of KUBECONFIG or
    ~/.kube/config. Raises UsageError for --no-kubernetes.
    """
    if options["kubernetes"] is False:
        raise UsageError("--no-kubernetes leaves no cluster to ask", "leave it out")
    return access_of(options, wanted) or KubeAccess()


def without_cluster(needing: str) -> UsageError:
    """Return the error of an option that needs a Kubernetes cluster where none is named."""
    hint = "add --kubernetes or --kubeconfig FILE, or kubernetes = {} to the cluster's configuration"
    return UsageError(f"{needing} needs a Kubernetes cluster", hint)


def writer() -> str:
    """Return how this host's watchers are called in the conditions that they write."""
    return writer_name("watch", gethostname())


def named(world: World, wanted: Wanted, guests: Sequence[Guest] | None = None) -> Wanted:
    """Return what is wanted with what its names mean by the Nodes of the Kubernetes cluster.

    That is asked only for a name that is no machine's, and for labels. Raises KubernetesError if it does not answer.
    """
    if world.kubernetes is None or wanted.node_names.known:
        return wanted
    guests = world.hypervisor.guests() if guests is None else guests
    if not is_open(world, wanted, guests):
        return wanted
    patterns = unknown(guests, wanted)
    names = look_up(patterns, wanted.selector, guests, _nodes_of(world.kubernetes, patterns, world.tell))
    if left := names.left_out((*wanted.chosen, *(wanted.cluster.nodes if wanted.cluster else ()))):
        world.tell("", f"left out, because no machine here is known to be the Node: {', '.join(left)}")
    return replace(wanted, node_names=names)


def is_open(world: World, wanted: Wanted, guests: Sequence[Guest]) -> bool:
    """Whether a Kubernetes cluster is yet to be asked what is wanted: for a name that is no machine's, and labels."""
    if world.kubernetes is None or wanted.node_names.known:
        return False
    return bool(wanted.selector or unknown(guests, wanted))


def _nodes_of(kubernetes: Kubernetes, patterns: Sequence[str], tell: Tell) -> list[KubeNode]:
    try:
        with said_if_slow(tell, "", "waiting for the API server of the Kubernetes cluster"):
            return kubernetes.nodes()
    except KubernetesError as error:
        if not patterns:
            raise
        text = f"there is no machine {patterns[0]!r}, and whether it is a Node is unknown: {error.message}"
        raise KubernetesError(text, error.hint, lasting=error.lasting) from error
