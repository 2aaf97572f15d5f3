"""Options that several commands share, and what they mean together.

`-C`, `--connect`, `--config`, `--cluster`, `--json` and `--debug` are accepted before the command and after it; what
stands after it counts.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from clockstep.errors import ClockstepError, UsageError, visible
from clockstep.units import parse_duration

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A length of time with its unit, in nanoseconds once parsed."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the nanoseconds that were written."""
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


def examples(*lines: str) -> str:
    """Return the end of a command's help: what one may type, as it stands."""
    return "\b\nExamples:\n" + "\n".join(f"  clockstep {line}" for line in lines)


def _enter(context: click.Context, _parameter: click.Parameter, folder: str | None) -> None:
    """Work in another folder, also where VAGRANT_CWD names a third one."""
    if folder is None or context.resilient_parsing:
        return
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(f"-C {folder}: {error.strerror}", "name a folder that is there") from error
    os.environ.pop("VAGRANT_CWD", None)


def shared(command: F) -> F:
    """Add the options that every command and the group itself accept."""
    text = "Work as if started in DIR."
    command = click.option(
        "-C", "folder", type=click.Path(), metavar="DIR", help=text, is_eager=True, expose_value=False, callback=_enter
    )(command)
    command = click.option("--debug", is_flag=True, help="Show tracebacks.")(command)
    command = click.option("--json", is_flag=True, help="Print the records themselves.")(command)
    text = "Which cluster of the configuration; it may be left out where there is one."
    command = click.option("--cluster", metavar="NAME", help=text)(command)
    text = "The configuration.  [default: clockstep.toml, where there is one]"
    command = click.option("--config", type=click.Path(), metavar="FILE", help=text)(command)
    text = "Where libvirt is; `lab` or `lab:NAME` for a lab. May be given several times. libvirt's default otherwise."
    return click.option("--connect", multiple=True, metavar="URI", help=text)(command)


def _node_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from clockstep.cli.completion import node_names

    return node_names(context, parameter, incomplete)


def nodes(command: F) -> F:
    """Add the names of nodes, and --all."""
    text = "All of them, also where a configuration names fewer."
    command = click.option("--all", "everything", is_flag=True, help=text)(command)
    return click.argument("names", nargs=-1, metavar="[NODE]...", shell_complete=_node_names)(command)


def yes(command: F) -> F:
    """Add the answer to the question that is asked before something is lost."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask before something is lost.")(command)


def confirmed(what: str, *, yes: bool) -> None:
    """Ask whether this is to be done; raises UsageError where nobody is there to ask, and ClockstepError for a no."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"this would {what}", "say --yes where nobody can be asked; nothing was touched")
    if not click.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        raise ClockstepError("nothing was touched")


def ways(command: F) -> F:
    """Add how nodes are reached."""
    text = "Reach nodes only so.  [default: agent; ssh where it has no channel]"
    command = click.option("--reach", type=click.Choice(["agent", "ssh"]), help=text)(command)
    text = "An ssh_config(5) in which each node is a Host."
    file = click.Path(exists=True, dir_okay=False)
    return click.option("--ssh-config", type=file, metavar="FILE", help=text)(command)


def hosts(command: F) -> F:
    """Add hosts that no hypervisor here knows."""
    text = "Also a host that no libvirt knows, as ssh(1) calls it. May be given several times."
    return click.option("--ssh", "hosts", multiple=True, metavar="HOST", callback=_refuse_bad_hosts, help=text)(command)


def _refuse_bad_hosts(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for host in given:
        if not host or host.startswith("-") or not host.isprintable() or " " in host:
            raise click.BadParameter(f"{visible(host)!r} cannot be a host")
    return tuple(dict.fromkeys(given))


def policy(command: F) -> F:
    """Add what a step may do, and when it is enough."""
    text = "Step backward too, by up to a day. That may break tokens, leases and databases."
    command = click.option("--allow-backward/--no-allow-backward", help=text)(command)
    text = "A time daemon that is not in sync by the deadline is a failure too."
    command = click.option("--require-sync/--no-require-sync", help=text)(command)
    text = "The largest step forward.  [default: what the cause explains, else 1d]"
    command = click.option("--max-forward", type=Duration(), metavar="TIME", help=text)(command)
    return looking("30 s")(command)


def looking(deadline: str) -> Callable[[F], F]:
    """Add when a clock counts as right, and how long a node may take."""

    def add(command: F) -> F:
        text = "How far off a clock may be."
        option = click.option(
            "--tolerance", type=Duration(), metavar="TIME", default="10ms", show_default=True, help=text
        )
        command = option(command)
        text = "How long each node may take."
        command = click.option(
            "--deadline", type=Duration(), metavar="TIME", default=deadline, show_default=True, help=text
        )(command)
        text = "Do nothing while this machine's own clock is not synchronised."
        return click.option("--require-synced-host/--no-require-synced-host", help=text)(command)

    return add


def option(context: click.Context, name: str) -> Any:
    """Return a shared option, from after the command or from before it."""
    return context.params.get(name) or context.find_root().params.get(name)
