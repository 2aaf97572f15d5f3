"""What every command that talks to machines does first, and what it prints and exits with last."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from clockstep.cli.options import option
from clockstep.config import read_cluster
from clockstep.core.selection import Limits, Wanted, addresses, refuse_contradiction, select
from clockstep.errors import UsageError
from clockstep.hypervisors import HYPERVISORS
from clockstep.hypervisors.several import Several
from clockstep.kernel.clock import SystemClock
from clockstep.kernel.timex import read_host_clock
from clockstep.model import Episode, Guest, Policy, Record, Verdict
from clockstep.ports import Tell, Ways, World
from clockstep.render.output import print_json, print_page
from clockstep.render.text import Page
from clockstep.units import DAY_NS
from clockstep.vagrant import find_project

LAB = "lab"
ANY_WAY = Ways()
R = TypeVar("R", bound=Record)


def asked(context: click.Context, names: Sequence[str] = (), *, everything: bool = False) -> Wanted:
    """Return which nodes are asked for: by the arguments, a configuration, or the place one stands in.

    Raises UsageError where these contradict each other, or where a configuration or a project cannot be read.
    """
    cluster = read_cluster(option(context, "config"), option(context, "cluster"))
    project = None if cluster else find_project(Path(), os.environ)
    wanted = Wanted(tuple(names), everything, option(context, "connect") or (), cluster, project)
    refuse_contradiction(wanted)
    return wanted


def opened(wanted: Wanted, tell: Tell, ways: Ways = ANY_WAY) -> World:
    """Connect to every hypervisor where nodes may be."""
    clock = SystemClock()
    parts = {address: HYPERVISORS["libvirt"](resolved(address), clock, ways) for address in addresses(wanted)}
    return World(Several(parts), clock, read_host_clock(), tell)


def ways_of(context: click.Context) -> Ways:
    """Return how nodes may be reached, by the options."""
    return Ways(context.params["ssh_config"], context.params["reach"])


def resolved(connect: str) -> str | None:
    """Return the libvirt address that is meant, None for its default one; a lab is asked for its own."""
    if connect.partition(":")[0] != LAB:
        return connect or None
    name = connect.partition(":")[2]
    asked = [sys.executable, "-m", "clockstep_lab", "uri", *(["--name", name] if name else [])]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        raise UsageError(
            answer.stderr.strip().removeprefix("clockstep lab: ") or "the lab does not say where it is",
            "" if answer.stderr else "start it with: clockstep lab up",
        )
    return answer.stdout.strip()


def selected(world: World, wanted: Wanted, *, changing: bool) -> list[Guest]:
    """Return the guests that are meant; raises UsageError as `select` does."""
    return [one.guest for one in select(world.hypervisor.guests(), wanted, changing=changing).nodes]


def policy_of(context: click.Context, wanted: Wanted) -> Policy:
    """Return the policy that the options make, or the cluster where they say nothing, or the options' defaults."""
    limits = wanted.cluster.limits if wanted.cluster else Limits()

    def said(name: str, by_cluster: int | None) -> Any:
        by_default = context.get_parameter_source(name) in {None, ParameterSource.DEFAULT}
        return by_cluster if by_default and by_cluster is not None else context.params.get(name)

    return Policy(
        tolerance_ns=said("tolerance", limits.tolerance_ns),
        max_forward_ns=said("max_forward", limits.max_forward_ns),
        max_backward_ns=DAY_NS if said("allow_backward", limits.allow_backward) else 0,
        deadline_ns=said("deadline", limits.deadline_ns),
    )


def printed(context: click.Context, record: R, page: Callable[[R], Page]) -> None:
    """Print a record, as JSON where asked to and as a page otherwise."""
    if option(context, "json"):
        print_json(record)
    else:
        print_page(page(record))


def exit_code(episodes: Sequence[Episode], *, complete: bool = True) -> int:
    """Return 3 where a node could not be reached, 1 where one is bad or unsure or something is missing, else 0."""
    verdicts = {episode.verdict for episode in episodes}
    if Verdict.UNREACHABLE in verdicts:
        return 3
    return 0 if complete and verdicts <= {Verdict.GOOD} else 1
