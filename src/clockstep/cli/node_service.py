"""This machine's own agent as a service: what `service install`, `status` and `uninstall` do with --agent."""

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clockstep.cli.context import option
from clockstep.cli.options import confirmed
from clockstep.errors import ClockstepError, UsageError, visible
from clockstep.units import SECOND_NS, show_duration

if TYPE_CHECKING:
    from clockstep.core.own_agent import Found
    from clockstep.host.systemd_unit import ServiceStatus
    from clockstep.ports import Output

COMMANDLINE = click.core.ParameterSource.COMMANDLINE
ROOT = Path("/")
SHOWN = {"quiet", "output", "color", "no_headers", "yes", "of_user", "of_agent"}
"""Options that go with --agent: how a command shows what it does."""
NOT_OF_USER = "the agent steps this machine's clock, which takes root: it is no service of a user's"


def install(context: click.Context, params: Iterable[click.Parameter], *, yes: bool) -> int:
    """Install and start the agent of this machine; if it does not start, everything is as it was.

    Raises UsageError for what is the watcher's alone, and where an agent cannot be installed here.
    """
    from clockstep.agent.bundle import bundle
    from clockstep.core.agent_unit import OPTIONS_FILE, PROGRAM, UNIT, UNIT_FILE
    from clockstep.core.own_agent import objection
    from clockstep.flows.own_agent import DONE, install_by

    _refuse_watchers(context, params, OPTIONS_FILE)
    found = _found()
    if why := objection(found):
        raise UsageError(f"the agent cannot be installed here: {why}", "nothing was changed")
    _tell(context, f"would write: {PROGRAM}\nwould write: {UNIT_FILE}")
    confirmed(f"install the service {UNIT}", yes=yes)
    if (said := install_by(run_here, found, bundle())) != DONE:
        kind, _, why = said.partition(" ")
        hint = (
            "nothing was changed" if kind != "broken" else f"clear it away with service uninstall --agent; see {UNIT}"
        )
        raise ClockstepError(f"the service was not installed: {why}", f"{hint}; journalctl --unit {UNIT} may say more")
    _tell(context, f"the agent is running: see clockstep service status --agent; its options belong in {OPTIONS_FILE}")
    return 0


def uninstall(context: click.Context, *, yes: bool) -> int:
    """Stop the agent of this machine, and remove its file and its unit."""
    from clockstep.core.agent_unit import UNIT
    from clockstep.flows.own_agent import DONE, remove_by

    _refuse_user(context)
    found = _found()
    if not found.root:
        raise UsageError("only root may remove the agent of this machine", "run it with sudo")
    confirmed(f"stop the service {UNIT} and remove its files", yes=yes)
    if not found.applied:
        theirs = f"; {found.foreign} is not clockstep's, and stays" if found.foreign else ""
        _tell(context, f"no agent was installed{theirs}")
    elif (said := remove_by(run_here)) != DONE:
        raise ClockstepError(f"not all was removed: {said.partition(' ')[2]}", "mend that, and run it again")
    else:
        _tell(context, f"removed {UNIT} and its files")
    return 0


def status(context: click.Context) -> "ServiceStatus":
    """Return what systemd says of this machine's agent."""
    from clockstep.core.agent_unit import UNIT
    from clockstep.host import systemd_unit

    _refuse_user(context)
    return systemd_unit.status(ROOT, Path.home(), systemd_unit.asked, of_user=False, unit=UNIT)


def run_here(argv: Sequence[str], stdin: bytes, within_ns: int) -> "Output":
    """Run a command on this machine to its end; one that is interrupted is told so, and puts back what it has begun.

    Raises ClockstepError where it does not come to an end.
    """
    from clockstep.ports import Output

    within_s = within_ns / SECOND_NS
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise ClockstepError(f"{argv[0]} cannot be run: {error}", "this needs a shell") from error
    with process:
        try:
            said = process.communicate(stdin, within_s)
        except subprocess.TimeoutExpired as error:  # its text has the whole command
            process.kill()
            hint = "check this machine's load, and run it again: it continues what was cut off"
            raise ClockstepError(f"{argv[0]} did not end within {show_duration(within_ns)}", hint) from error
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(within_s)
            raise
    return Output(process.returncode, *(text.decode(errors="replace") for text in said))


def _found() -> "Found":
    from clockstep.flows.own_agent import found_by

    return found_by(run_here)


def _refuse_user(context: click.Context) -> None:
    if context.params["of_user"]:
        raise UsageError(NOT_OF_USER, "leave out --user")


def _refuse_watchers(context: click.Context, params: Iterable[click.Parameter], file: str) -> None:
    """Raise UsageError for nodes and options that the watcher has and the agent's installation has not."""
    _refuse_user(context)
    said = [param for param in params if isinstance(param, click.Option) and param.name not in SHOWN]
    given = [one.opts[-1] for one in said if context.get_parameter_source(one.name or "") is COMMANDLINE]
    if wrong := [*given, *context.params["names"]]:
        text = f"{', '.join(wrong)}: not with --agent, which installs the agent of this machine"
        raise UsageError(text, f"leave it out; the agent's own options belong in {file}")


def _tell(context: click.Context, text: str) -> None:
    if not option(context, "quiet"):
        click.echo("\n".join(map(visible, text.splitlines())), err=True)
