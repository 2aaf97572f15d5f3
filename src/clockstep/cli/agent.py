"""`clockstep agent`."""

from collections.abc import Callable
from typing import Any

import click

from clockstep.agent.options import HELP, LEAST, TEXTS, Options
from clockstep.cli.context import as_json, option
from clockstep.cli.options import Duration, F, Text, examples, shared
from clockstep.units import show_duration

EXAMPLES = examples(
    "agent --explain", "agent --metrics 9123", "agent --kubernetes", "agent --observe --every 10s -o json"
)


def _time(name: str, default_ns: int | None) -> Callable[[F], F]:
    """Return an option that is a length of time, as the agent's own entry has it."""
    default = None if default_ns is None else show_duration(default_ns).replace(" ", "")
    kind = Duration(LEAST[name])
    return click.option(
        name,
        f"{name[2:].replace('-', '_')}_ns",
        type=kind,
        metavar="TIME",
        default=default,
        show_default=True,
        help=HELP[name],
    )


def _reporting(command: F) -> F:
    """Add how the clock is reported to Kubernetes."""
    for name, metavar in reversed(TEXTS.items()):
        command = click.option(name, type=Text(), metavar=metavar, help=HELP[name])(command)
    return click.option("--kubernetes", is_flag=True, help=HELP["--kubernetes"])(command)


DEFAULT = Options()


@click.command("agent", epilog=EXAMPLES)
@click.option("--explain", is_flag=True, help=HELP["--explain"])
@click.option("--observe", is_flag=True, help=HELP["--observe"])
@_time("--every", DEFAULT.every_ns)
@click.option("--metrics", metavar="ADDR", help=HELP["--metrics"])
@_time("--host-error", DEFAULT.host_error_ns)
@_time("--tolerance", DEFAULT.tolerance_ns)
@_time("--deadline", DEFAULT.deadline_ns)
@_time("--max-forward", DEFAULT.max_forward_ns)
@_time("--max-accumulated", DEFAULT.max_accumulated_ns)
@click.option("--allow-backward/--no-allow-backward", help=HELP["--allow-backward"])
@_reporting
@shared
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Correct the clock of this machine itself, until interrupted: for nodes whose hypervisor nobody may ask.

    It compares the clock with the hypervisor's (a PTP hardware clock) or, without one, with what chronyd measures
    again, as soon as a signal says that the machine was reverted, paused or moved. Each correction is printed on a
    line; with -o json as an Episode a line. With --kubernetes it keeps the condition ClockProblem of its own Node, and
    records corrections as Events on it.
    """
    from clockstep.agent.main import explained, run
    from clockstep.cli.session import printed
    from clockstep.render.text import agent_page

    names = set(Options.__dataclass_fields__)
    wanted = Options(**{name: value for name, value in options.items() if name in names}, as_json=as_json(context))
    if wanted.explain:
        printed(context, explained(wanted), agent_page)
        return 0
    return run(wanted, quiet=bool(option(context, "quiet")))
