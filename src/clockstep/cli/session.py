"""What every command that talks to machines does first, and what it prints and exits with last."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from clockstep.cli.options import option
from clockstep.errors import UsageError
from clockstep.fleet import chosen
from clockstep.hypervisors import HYPERVISORS
from clockstep.kernel.clock import SystemClock
from clockstep.kernel.timex import read_host_clock
from clockstep.model import Episode, Guest, Policy, Record, Verdict
from clockstep.ports import Tell, World
from clockstep.render.output import print_json, print_page
from clockstep.render.text import Page
from clockstep.units import DAY_NS

LAB = "lab"
R = TypeVar("R", bound=Record)


def opened(context: click.Context, tell: Tell) -> World:
    """Connect to the hypervisor that the options name."""
    clock = SystemClock()
    hypervisor = HYPERVISORS["libvirt"](resolved(option(context, "connect")), clock)
    return World(hypervisor, clock, read_host_clock(), tell)


def resolved(connect: str | None) -> str | None:
    """Return the libvirt address that is meant; a lab is asked for its own."""
    if connect is None or connect.partition(":")[0] != LAB:
        return connect
    name = connect.partition(":")[2]
    asked = [sys.executable, "-m", "clockstep_lab", "uri", *(["--name", name] if name else [])]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        raise UsageError(
            answer.stderr.strip().removeprefix("clockstep lab: ") or "the lab does not say where it is",
            "" if answer.stderr else "start it with: clockstep lab up",
        )
    return answer.stdout.strip()


def selected(world: World, names: Sequence[str], *, everything: bool) -> list[Guest]:
    """Return the guests that a command may change: those named, or all running ones with --all.

    Raises UsageError for neither and for both: a machine is never changed by leaving something out.
    """
    if bool(names) == everything:
        raise UsageError("name the nodes, or say --all", "clockstep status shows them; globs work: 'node*'")
    return seen(world, names)


def seen(world: World, names: Sequence[str]) -> list[Guest]:
    """Return the guests that are named, or all running ones; raises UsageError where there is none."""
    guests = world.hypervisor.guests()
    found = chosen(guests, names) if names else [guest for guest in guests if guest.state == "running"]
    if not found:
        raise UsageError("no machine runs here", "start one, or name another libvirt with --connect")
    return found


def policy_of(options: dict[str, Any]) -> Policy:
    """Return the policy that the options make."""
    return Policy(
        tolerance_ns=options["tolerance"],
        max_forward_ns=options.get("max_forward"),
        max_backward_ns=DAY_NS if options.get("allow_backward") else 0,
        deadline_ns=options["deadline"],
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
