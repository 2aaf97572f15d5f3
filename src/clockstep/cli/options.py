"""Options that several commands share.

The global ones (`shared`) are accepted before the command, between its words and after it; the last one counts.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clockstep.cli.context import COLORS, FORMATS, called, output
from clockstep.cli.names import node_names
from clockstep.errors import ClockstepError, UsageError, visible
from clockstep.units import parse_duration, show_duration

if TYPE_CHECKING:
    from clockstep.core.setup import SetupReport
    from clockstep.render.text import Page

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A length of time with its unit, in nanoseconds once parsed; at least `least_ns`."""

    name = "duration"

    def __init__(self, least_ns: int = 0) -> None:
        self._least_ns = least_ns

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the nanoseconds that were written."""
        try:
            written = value if isinstance(value, int) else parse_duration(value)
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if written < self._least_ns:
            self.fail(f"{value!r} is less than {show_duration(self._least_ns)}", param, ctx)
        return written


class Text(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A text that is not empty: a script's variable that is not set would otherwise mean the default."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not value:
            self.fail("it is empty", param, ctx)
        return str(value)


def examples(*lines: str) -> str:
    """Return the end of a command's help: command lines that can be typed as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {called()} {line}" for line in lines)


def _enter(context: click.Context, _parameter: click.Parameter, folder: str | None) -> None:
    """Work in another folder, even if VAGRANT_CWD names a third one."""
    if folder is None or context.resilient_parsing:
        return
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(f"-C {folder}: {error.strerror}", "choose a folder that exists") from error
    os.environ.pop("VAGRANT_CWD", None)


class _Visible(logging.Formatter):
    """Log lines that a terminal may get: some have names in them that others chose."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's lines."""
        return "\n".join(map(visible, super().format(record).split("\n")))


def _verbose(context: click.Context, _parameter: click.Parameter, verbose: bool) -> None:
    """Log what clockstep does from now on, with tracebacks of errors."""
    if verbose and not context.resilient_parsing:
        log = logging.getLogger("clockstep")
        log.setLevel(logging.DEBUG)
        if not log.handlers:  # it may be given twice
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(message)s"))
            log.addHandler(handler)


GLOBAL: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-c", "--connect"),
        {
            "type": Text(),
            "multiple": True,
            "metavar": "URI",
            "help": "libvirt connection URI (repeatable); `lab` or `lab:NAME` for a lab.  [default: libvirt's own]",
        },
    ),
    (
        ("--config",),
        {"type": Text(), "metavar": "FILE", "help": "Configuration file.  [default: the first one found]"},
    ),
    (
        ("--cluster",),
        {"type": Text(), "metavar": "NAME", "help": "Cluster in the configuration; needed if it has several."},
    ),
    (
        ("-o", "--output"),
        {"type": click.Choice(FORMATS), "help": "Output format; `name` prints only names.  [default: table]"},
    ),
    (("--no-headers",), {"is_flag": True, "help": "Print tables without their header line."}),
    (
        ("--color",),
        {"type": click.Choice(COLORS), "help": "When to use colors; NO_COLOR is honored.  [default: auto]"},
    ),
    (("-q", "--quiet"), {"is_flag": True, "help": "Print no progress."}),
    (
        ("-v", "--verbose"),
        {
            "is_flag": True,
            "is_eager": True,
            "expose_value": False,
            "callback": _verbose,
            "help": "Print debug log lines and tracebacks.",
        },
    ),
    (
        ("-C", "folder"),
        {
            "type": click.Path(),
            "metavar": "DIR",
            "is_eager": True,
            "expose_value": False,
            "callback": _enter,
            "help": "Run as if started in DIR.",
        },
    ),
)
"""What every command accepts, with click's own arguments."""


def shared(command: F) -> F:
    """Add the global options."""
    return _added(command)


def between(command: F) -> F:
    """Add the global options to a group, whose help does not repeat them."""
    return _added(command, hidden=True)


def _added(command: F, *, hidden: bool = False) -> F:
    for names, settings in reversed(GLOBAL):
        command = click.option(*names, **settings, hidden=hidden)(command)
    return command


def nodes(command: F) -> F:
    """Add the names of nodes, --exclude and --all, and the Kubernetes cluster whose Nodes they may be."""
    command = kubernetes(command)
    text = "Leave out nodes with this name or glob (repeatable)."
    command = click.option("--exclude", multiple=True, metavar="PATTERN", help=text)(command)
    text = "Select all nodes, ignoring the configuration."
    command = click.option("--all", "everything", is_flag=True, help=text)(command)
    return click.argument("names", nargs=-1, metavar="[NODE]...", shell_complete=node_names)(command)


def kubernetes(command: F) -> F:
    """Add which Kubernetes cluster is asked, and labels that choose nodes; `nodes` has them already."""
    text = "Select the machines of the Nodes with these labels, as kubectl does."
    return which_kubernetes(click.option("-l", "--selector", type=Text(), metavar="LABELS", help=text)(command))


def which_kubernetes(command: F) -> F:
    """Add which Kubernetes cluster is asked."""
    text = "Use this context of the kubeconfig.  [default: its current one]"
    command = click.option("--context", "kube_context", type=Text(), metavar="NAME", help=text)(command)
    text = "Use the Kubernetes cluster of this kubeconfig."
    is_service = "NOTIFY_SOCKET" in os.environ  # which corrects clocks also without the file
    file = click.Path(exists=not is_service, dir_okay=False)
    command = click.option("--kubeconfig", type=file, metavar="FILE", help=text)(command)
    text = "Use the Kubernetes cluster of KUBECONFIG or ~/.kube/config, or none."
    return click.option("--kubernetes/--no-kubernetes", default=None, help=text)(command)


def aftercare(command: F) -> F:
    """Add whether the Kubernetes cluster is waited for after the clocks, and for how long."""
    text = "How long to wait, after the clocks, until the Kubernetes cluster works."
    command = click.option(
        "--cluster-deadline", type=Duration(1), metavar="TIME", default="60s", show_default=True, help=text
    )(command)
    text = "Wait, after the clocks, until the leases of the Nodes are fresh and they are Ready, or do not."
    return click.option("--wait-cluster/--no-wait-cluster", default=True, show_default=True, help=text)(command)


def cordon(command: F) -> F:
    """Add whether Nodes are cordoned meanwhile."""
    text = "Cordon the Nodes before, and uncordon them afterwards; needs a Kubernetes cluster."
    return click.option("--cordon", is_flag=True, help=text)(command)


def yes(command: F) -> F:
    """Add the option that answers the question whether to go on."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")(command)


def confirmed(what: str, *, yes: bool) -> None:
    """Ask whether this is to be done; raises UsageError if nobody can be asked, and ClockstepError for a no."""
    askable(what, yes=yes)
    if not yes and not click.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        raise ClockstepError("nothing was changed")


def askable(what: str, *, yes: bool) -> None:
    """Raise UsageError if this needs an answer and nobody can be asked."""
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        text = f"refusing to {what} without confirmation"
        raise UsageError(text, "nothing was changed; use --yes in scripts")


def show_plan(context: click.Context, page: "Page", *, yes: bool, apart: bool = False) -> None:
    """Show a plan before it is asked whether to carry it out.

    If standard output is for a record or for names alone, or is to be kept `apart`, it goes to standard error; not with
    `yes`, since nobody is asked then.
    """
    from clockstep.cli.session import shown

    if not apart and output(context) in {"table", "wide"}:
        shown(context, page)
    elif not yes:
        shown(context, page, sys.stderr)


def agreed(context: click.Context, planned: "SetupReport", what: str, *, yes: bool) -> None:
    """Show what a plan would change, and ask whether to do `what` to those nodes; raises as `confirmed` does."""
    from clockstep.core.setup import SetupOutcome
    from clockstep.render.setup import plan_page

    changing = [node.node for node in planned.nodes if node.outcome is SetupOutcome.WOULD_CHANGE]
    if not changing:
        return
    show_plan(context, plan_page(planned), yes=yes)
    confirmed(f"{what} {', '.join(changing)}", yes=yes)


def ways(command: F) -> F:
    """Add how nodes are reached."""
    text = "Use only this method to reach nodes.  [default: the guest agent, or ssh if a node has none]"
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
    text = "Step backward too, by up to a day. This may break tokens, leases and databases."
    command = click.option("--allow-backward/--no-allow-backward", help=text)(command)
    text = "Fail if a time daemon is not in sync by the deadline."
    command = click.option("--require-sync/--no-require-sync", help=text)(command)
    text = "Largest step forward.  [default: what the cause explains, else 1d]"
    command = click.option("--max-forward", type=Duration(), metavar="TIME", help=text)(command)
    return looking("30s")(command)


def looking(deadline: str) -> Callable[[F], F]:
    """Add when a clock is within tolerance, and the time limit of each node."""

    def add(command: F) -> F:
        text = "Largest offset that is within tolerance."
        option = click.option(
            "--tolerance", type=Duration(1), metavar="TIME", default="10ms", show_default=True, help=text
        )
        return limited(deadline)(option(command))

    return add


def limited(deadline: str) -> Callable[[F], F]:
    """Add the time limit of each node, and what is wanted of the host's clock."""

    def add(command: F) -> F:
        text = "Time limit per node."
        command = click.option(
            "--deadline", type=Duration(1), metavar="TIME", default=deadline, show_default=True, help=text
        )(command)
        text = "Refuse to run unless this host's clock is synchronised."
        return click.option("--require-synced-host/--no-require-synced-host", help=text)(command)

    return add


def waiting(command: F) -> F:
    """Add how long a node that another clockstep has locked is waited for."""
    text = "How long to wait for a node that another clockstep has locked."
    return click.option("--deadline", type=Duration(), metavar="TIME", default="30s", show_default=True, help=text)(
        command
    )
