"""`clockstep watch`."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.context import as_json, option
from clockstep.cli.lines import Lines, unshared
from clockstep.cli.options import Duration, examples, nodes, policy, shared, ways
from clockstep.errors import visible

SAME_WATCH_NS = 1_000_000_000
"""How long another watcher of the same machines is waited for, which may just be ending."""

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.flows.watch import Orders
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Episode, Guest
    from clockstep.ports import Listed, Tell
    from clockstep.render.metrics import Metrics

EXAMPLES = examples(
    "watch --all",
    "watch 'web-*' db --every 5s --metrics 9123",
    "watch --cluster prod -o json",
)


@click.command("watch", epilog=EXAMPLES)
@nodes
@click.option(
    "--every",
    type=Duration(),
    metavar="TIME",
    default="10s",
    show_default=True,
    help="How often all clocks are measured.",
)
@click.option("--observe-all", is_flag=True, help="Measure the clocks of all other nodes too, without correcting them.")
@click.option(
    "--metrics", metavar="ADDR", help="Serve Prometheus metrics at [HOST:]PORT; the default host is loopback."
)
@click.option(
    "--guard",
    is_flag=True,
    help="Keep a helper running in each selected node, so that the first step after a revert need not start one.",
)
@policy
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, every: int, **options: Any) -> int:
    """Correct clocks as soon as somebody reverts, resumes or restores a node, until interrupted.

    It listens to libvirt's events, and measures every selected clock periodically for changes without an event. Each
    correction is printed on a line; with -o json as an Episode a line.

    SIGHUP makes it read its configuration again.
    """
    from clockstep.cli.session import asked, opened, selected
    from clockstep.core.selection import select
    from clockstep.errors import UsageError
    from clockstep.flows.watch import Watcher
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Guest
    from clockstep.render.stamps import prefix

    wanted = asked(context, names, everything=everything)
    over, again = _Flag(), _Flag()
    lines = Lines(unshared(sys.stdout), unshared(sys.stderr), over.set, lambda: prefix(sys.stderr, os.environ))

    def tell(node: str, text: str) -> None:
        if not (node or option(context, "quiet")):
            lines.err(visible(text))

    world = opened(context, wanted, tell)
    try:
        selected(world, wanted, changing=True)  # a typing error is told now
    except UsageError as error:
        if not (everything or "NOTIFY_SOCKET" in os.environ):  # a service waits for machines that are not there yet
            raise
        tell("", error.message)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    if not sys.stderr.isatty():  # a terminal that is closed ends it
        signal.signal(signal.SIGHUP, lambda _number, _frame: again.set())
    notifier = Notifier(os.environ, world.clock)
    with world.locks.hold([Guest("this selection of nodes", _identity(wanted), "")], SAME_WATCH_NS):
        metrics = _metrics(options["metrics"], tell)
        front = _Front(notifier, metrics, lines, again, as_json=as_json(context))
        watcher = Watcher(world, _orders(context, wanted), front)

        def reread() -> None:
            anew = _asked_again(context, names, wanted, everything=everything)
            select(front.guests, anew, changing=True)
            watcher.orders = _orders(context, anew)

        front.reread = reread
        watcher.run(every, over)
        notifier.stopping()
    lines.end()
    return 0


class _Flag:
    """What a signal's handler sets: an Event's lock could be held by the very code that the signal interrupts."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it."""
        self._set = True

    def clear(self) -> None:
        """Unset it."""
        self._set = False


class _Front:
    """What the watcher's listener does here: print, count, and tell the service manager."""

    def __init__(
        self,
        notifier: "Notifier",
        metrics: "Metrics | None",
        lines: Lines,
        again: "_Flag",
        *,
        as_json: bool,
    ) -> None:
        self.guests: list[Guest] = []
        self._notifier = notifier
        self._lines = lines
        self._metrics = metrics
        self._again = again
        self._as_json = as_json
        self._began = False
        self.reread: Callable[[], None] = lambda: None

    def surveyed(self, listed: "Sequence[Listed]") -> None:
        """Take what the hypervisors listed."""
        from clockstep.host.timex import read_host_clock

        self.guests = [guest for one in listed for guest in one.guests]
        if self._metrics:
            self._metrics.surveyed(listed, read_host_clock())

    def seen(self, episode: "Episode", *, new: bool) -> None:
        """Take an Episode."""
        from clockstep.render.output import json_line
        from clockstep.render.text import episode_line

        if self._metrics:
            self._metrics.seen(episode)
        if new:
            self._lines.out(json_line(episode) if self._as_json else visible(episode_line(episode)))

    def alive(self) -> None:
        """Take the time."""
        self._notifier.alive()
        if not self._began:
            self._began = True
            self._notifier.ready("watching")
        if self._again.is_set():
            self._again.clear()
            self._read_again()

    def _read_again(self) -> None:
        from clockstep.errors import ClockstepError

        self._notifier.reloading()
        try:
            self.reread()
            said = "the configuration was read again"
        except ClockstepError as error:
            said = f"the configuration stays as it was: {error.message}; {error.hint}"
        self._lines.err(visible(said))
        self._notifier.ready(f"watching; {said}")


def _orders(context: click.Context, wanted: "Wanted") -> "Orders":

    from clockstep.cli.session import policy_of, said
    from clockstep.core.selection import is_chosen
    from clockstep.flows.watch import Orders
    from clockstep.host.timex import read_host_clock

    demanding = said(context, wanted, "require_synced_host")
    return Orders(
        lambda guest: is_chosen(guest, wanted),
        replace(policy_of(context, wanted), resync_idle=False),
        lambda: not demanding or read_host_clock().synchronised,
        context.params["guard"],
        context.params["observe_all"],
    )


def _asked_again(context: click.Context, names: Sequence[str], before: "Wanted", *, everything: bool) -> "Wanted":
    """Return what the configuration says now. Raises UsageError where it is broken, or wants other connections."""
    from clockstep.cli.session import asked
    from clockstep.core.selection import addresses
    from clockstep.errors import UsageError

    wanted = asked(context, names, everything=everything)
    if addresses(wanted) != addresses(before):
        raise UsageError("it names other connections than before", "restart the watcher for that")
    return wanted


def _identity(wanted: "Wanted") -> str:
    """Return what two watchers have in common that would watch the same."""
    from clockstep.core.selection import addresses

    nodes, project = wanted.cluster and wanted.cluster.nodes, wanted.project and wanted.project.folder
    watched = repr((os.getuid(), addresses(wanted), wanted.names, nodes, project, wanted.excluded))
    return f"watch/{sha256(watched.encode()).hexdigest()[:32]}"


def _metrics(address: str | None, tell: "Tell") -> "Metrics | None":
    if address is None:
        return None
    from clockstep.render.metrics import Metrics

    metrics = Metrics()
    tell("", f"metrics are served at {metrics.serve(address)}")
    return metrics
