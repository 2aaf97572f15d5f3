"""`clockstep history`."""

import time
from datetime import UTC, datetime
from typing import Any

import click

from clockstep.cli.options import examples, shared
from clockstep.cli.report import reported, reporting
from clockstep.errors import UsageError
from clockstep.units import SECOND_NS, parse_duration

EXAMPLES = examples(
    "history",
    "history 'web-*' --since 12h",
    "history --since 2026-11-25T18:00 -o json",
    "history --since 2d --report what-happened.html",
)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A moment in nanoseconds: so long ago, or a date with or without a time."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the moment that was written."""
        if isinstance(value, int):
            return value
        try:
            written = datetime.fromisoformat(value)
        except ValueError:
            return self._ago(value, param, ctx)
        moment = written if written.tzinfo else written.replace(tzinfo=UTC)
        return int(moment.timestamp()) * SECOND_NS

    def _ago(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return time.time_ns() - parse_duration(value)
        except UsageError:
            self.fail(f"{value!r} is not a time: use 12h, 2026-11-25 or 2026-11-25T18:00", param, ctx)


@click.command("history", epilog=EXAMPLES)
@click.argument("names", nargs=-1, metavar="[NODE]...")
@click.option("--since", type=Moment(), metavar="TIME", help="Only entries since then: 12h (ago), or a date in UTC.")
@reporting
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, since: int | None, **_options: Any) -> int:
    """Show past corrections: by step, revert, resume, snapshot create and watch.

    NODE may be a glob. No node and no hypervisor is contacted. Old entries are deleted after some thousand newer ones.
    """
    from clockstep.cli.session import printed, recorded
    from clockstep.render.text import history_page

    history = recorded(names, since or 0)
    printed(context, history, history_page)
    return reported(context, lambda: history)
