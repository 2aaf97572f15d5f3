"""`--report`: one page about what happened, beside what a command prints."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from clockstep.cli.context import option
from clockstep.cli.exits import Exit, of_error
from clockstep.errors import ClockstepError, visible
from clockstep.model import AftermathReport, History

F = TypeVar("F", bound=Callable[..., Any])


class PageFile(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A file that a page can be written to, which is found out before anything is done."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return its path; raises UsageError if a page cannot be written there."""
        from clockstep.render.page import MARK
        from clockstep.state.pages import refuse_unfit

        if not value:
            self.fail("it is empty", param, ctx)
        path = Path(value).absolute()
        if ctx is None or not ctx.resilient_parsing:
            refuse_unfit(path, MARK)
        return path


def reporting(command: F) -> F:
    """Add where a page about what happened is written to."""
    text = "Also write a page about what happened to this file: HTML that needs no network and no script."
    return click.option("--report", type=PageFile(), metavar="FILE", help=text)(command)


def reported(context: click.Context, history: Callable[[], History], aftermath: AftermathReport | None = None) -> Exit:
    """Write the page that `--report` asks for, if it does; a failure is a line on stderr and what is returned.

    It comes after what the command prints, which has its own value, and is one object with `-o json`.
    """
    path: Path | None = context.params.get("report")
    if path is None:
        return Exit.GOOD
    from clockstep.render.page import MARK, page
    from clockstep.state.pages import publish

    at_ns = aftermath.at_ns if aftermath else time.time_ns()
    try:
        publish(path, page(history(), aftermath, at_ns=at_ns), MARK)
    except ClockstepError as error:
        _say(f"clockstep: {error.message}\n  {error.hint}")
        return of_error(error)
    if not option(context, "quiet"):
        _say(f"report written to {visible(str(path))}")
    return Exit.GOOD


def _say(text: str) -> None:
    with suppress(OSError):
        click.echo(text, err=True)
