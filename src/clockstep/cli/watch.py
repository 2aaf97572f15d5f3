"""`clockstep watch`."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.context import as_json, option
from clockstep.cli.lines import Lines, unshared
from clockstep.cli.options import Duration, examples, nodes, policy, shared, ways
from clockstep.errors import visible

LEAST_EVERY_NS = 100_000_000
"""How often clocks are measured at most: each measurement starts a program in the node."""
SAME_WATCH_NS = 1_000_000_000
"""How long another watcher of the same machines is waited for, which may just be ending."""

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.flows.watch.watched import Orders
    from clockstep.model import Guest
    from clockstep.ports import Sink, Tell, World
    from clockstep.sinks.metrics import Metrics

EXAMPLES = examples(
    "watch --all",
    "watch 'web-*' db --every 5s --metrics 9123",
    "watch --cluster prod -o json",
    "watch --all --kubeconfig /etc/clockstep/kubeconfig",
)


@click.command("watch", epilog=EXAMPLES)
@nodes
@click.option(
    "--every",
    type=Duration(LEAST_EVERY_NS),
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

    With --kubernetes it keeps the condition ClockProblem of each Node, and records corrections as Events on it. After a
    step so large that certificates may have lapsed it proposes `clockstep aftermath --repair` there.

    SIGHUP makes it read its configuration again.
    """
    from clockstep.cli.cluster import is_open, named
    from clockstep.cli.session import asked, opened, selected, sightings
    from clockstep.errors import UsageError
    from clockstep.flows.watch.watcher import Watcher
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Guest
    from clockstep.render.output import json_line
    from clockstep.render.stamps import prefix
    from clockstep.render.text import episode_line
    from clockstep.sinks.lines import EpisodeLines
    from clockstep.sinks.sd_notify import ServiceManager

    wanted = asked(context, names, everything=everything)
    control = _Control()
    lines = Lines(unshared(sys.stdout), unshared(sys.stderr), control.end, lambda: prefix(sys.stderr, os.environ))

    def tell(node: str, text: str) -> None:
        if not (node or option(context, "quiet")):
            lines.err(visible(text))

    def warn(_node: str, text: str) -> None:
        lines.err(visible(text))

    world = opened(context, wanted, tell)
    waits = everything or "NOTIFY_SOCKET" in os.environ  # a service, for machines that are not there yet
    if waits and world.kubernetes and is_open(world, wanted, world.hypervisor.guests()):
        tell("", "asking the Kubernetes cluster meanwhile which machines are meant")
    else:
        try:
            wanted = named(world, wanted)
            selected(world, wanted, changing=True)  # a typing error is reported now
        except UsageError as error:
            if not waits:
                raise
            tell("", error.message)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: control.end())
    if not sys.stderr.isatty():  # a terminal that is closed ends it
        signal.signal(signal.SIGHUP, lambda _number, _frame: control.reload())
    manager = ServiceManager(Notifier(os.environ, world.clock))
    with world.locks.hold([Guest("this selection of nodes", _identity(wanted), "")], SAME_WATCH_NS):
        configured = _Configured(context, names, wanted, world, everything=everything)
        reported, is_up = _reported(world, configured, warn)
        metrics = _metrics(options["metrics"], tell, is_up)
        printing = EpisodeLines(lines.out, json_line if as_json(context) else episode_line)
        sinks: list[Sink] = [printing, *metrics, manager, *reported, *_behind(configured, warn)]
        watcher = Watcher(world, configured.orders(), sinks, sightings(), configured.again, manager)
        watcher.run(every, control)
    lines.end()
    return 0


class _Control:
    """What signal handlers set: an Event's lock could be held by the very code that a signal interrupts."""

    def __init__(self) -> None:
        self._over = self._reload = False

    def end(self) -> None:
        """End the watch."""
        self._over = True

    def reload(self) -> None:
        """Have the configuration read again."""
        self._reload = True

    def is_over(self) -> bool:
        """Whether the watch is over."""
        return self._over

    def wants_reload(self) -> bool:
        """Whether the configuration is to be read again; each wish is returned once."""
        wanted, self._reload = self._reload, False
        return wanted


class _Configured:
    """What the configuration says, as it was read last."""

    def __init__(
        self, context: click.Context, names: Sequence[str], wanted: "Wanted", world: "World", *, everything: bool
    ) -> None:
        self.wanted = wanted
        self._world = world
        self._read = partial(_asked_again, context, names, everything=everything)
        self._context = context

    def orders(self, guests: "Sequence[Guest] | None" = None) -> "Orders":
        """Return what a watcher goes by; nothing is chosen while it is open whom --exclude means."""
        from clockstep.cli.cluster import is_open
        from clockstep.core.selection import unknown

        orders = _orders(self._context, self.wanted)
        if self._world.kubernetes is None:
            return orders
        guests = self._world.hypervisor.guests() if guests is None else guests
        if not is_open(self._world, self.wanted, guests):
            return orders
        if set(self.wanted.excluded) & set(unknown(guests, self.wanted)):
            orders = replace(orders, chosen=lambda _guest: False)
        return replace(orders, complete=False)

    def again(self, guests: "Sequence[Guest]") -> "Orders":
        """Return what a watcher of these machines goes by now. Raises UsageError where the configuration is broken."""
        from clockstep.cli.cluster import is_open, named
        from clockstep.core.selection import select
        from clockstep.errors import UsageError

        wanted, first = named(self._world, self._read(self.wanted), guests), is_open(self._world, self.wanted, guests)
        try:
            select(guests, wanted, changing=True)
        except UsageError as error:
            if not first:  # else it is as at the start, and machines may come later
                raise
            self._world.tell("", error.message)
        self.wanted = wanted
        return self.orders(guests)

    def tolerance_ns(self) -> int:
        """Return the largest offset that is within tolerance."""
        from clockstep.cli.session import policy_of

        return policy_of(self._context, self.wanted).tolerance_ns

    def hook(self) -> Sequence[str]:
        """Return the command that is run after a node was corrected."""
        return self.wanted.cluster.on_corrected if self.wanted.cluster else ()


def _orders(context: click.Context, wanted: "Wanted") -> "Orders":

    from clockstep.cli.session import policy_of, said
    from clockstep.core.selection import is_chosen, matched
    from clockstep.flows.watch.watched import Orders
    from clockstep.host.timex import read_host_clock

    demanding = said(context, wanted, "require_synced_host")
    return Orders(
        lambda guest: is_chosen(guest, wanted),
        replace(policy_of(context, wanted), resync_idle=False),
        lambda: not demanding or read_host_clock().synchronised,
        context.params["guard"],
        context.params["observe_all"],
        lambda: read_host_clock().synchronised,
        lambda guests: matched(guests, wanted),
    )


def _asked_again(context: click.Context, names: Sequence[str], before: "Wanted", *, everything: bool) -> "Wanted":
    """Return what the configuration says now. Raises UsageError where it is broken, or wants other connections."""
    from clockstep.cli.cluster import access_of
    from clockstep.cli.session import asked
    from clockstep.core.selection import addresses
    from clockstep.errors import UsageError

    wanted = asked(context, names, everything=everything)
    if addresses(wanted) != addresses(before):
        raise UsageError("its connections have changed", "restart the watcher to use them")
    if access_of(context.params, wanted) != access_of(context.params, before):
        raise UsageError("its Kubernetes cluster has changed", "restart the watcher to use it")
    return wanted


def _identity(wanted: "Wanted") -> str:
    """Return what two watchers have in common that would watch the same."""
    from clockstep.core.selection import addresses

    nodes, project = wanted.cluster and wanted.cluster.nodes, wanted.project and wanted.project.folder
    watched = repr((os.getuid(), addresses(wanted), wanted.names, nodes, project, wanted.excluded))
    return f"watch/{sha256(watched.encode()).hexdigest()[:32]}"


def _behind(configured: _Configured, warn: "Tell") -> "list[Sink]":
    """Return the sinks that may take their time."""
    from clockstep.cli.session import history
    from clockstep.host.hook import Hook
    from clockstep.sinks.behind import Behind
    from clockstep.sinks.history import HistorySink
    from clockstep.sinks.hook import HookSink

    hook = Hook()
    return [
        Behind(HistorySink(history(), warn), warn),
        Behind(HookSink(configured.hook, hook, warn), warn, hook.cut_off),
    ]


def _reported(world: "World", configured: _Configured, warn: "Tell") -> "tuple[list[Sink], Callable[[], bool | None]]":
    """Return what reports to the Kubernetes cluster, if one is named, and what says whether it takes that."""
    if world.kubernetes is None:
        return [], lambda: None
    from clockstep.cli.cluster import writer
    from clockstep.sinks.behind import Behind
    from clockstep.sinks.epochs import EpochSink
    from clockstep.sinks.kubernetes import KubernetesSink, MachineNodes
    from clockstep.sinks.reporter import Reporter

    finder = MachineNodes(world.kubernetes, world.clock, world.tell)
    reporter = Reporter(world.kubernetes, writer(), world.clock, world.reference, warn, finder)
    reporter.start()
    epochs = EpochSink(world, finder.machine, reporter.propose, warn)
    return [Behind(epochs, warn), KubernetesSink(reporter, finder, configured.tolerance_ns)], lambda: reporter.up


def _metrics(address: str | None, tell: "Tell", kubernetes_up: "Callable[[], bool | None]") -> "list[Metrics]":
    if address is None:
        return []
    from clockstep.sinks.metrics import Metrics

    metrics = Metrics(kubernetes_up=kubernetes_up)
    tell("", f"metrics are served at {metrics.serve(address)}")
    return [metrics]
