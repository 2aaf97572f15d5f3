"""`clockstep watch`."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.options import Duration, examples, nodes, option, policy, shared, ways

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.flows.watch import Orders
    from clockstep.model import Episode, Guest
    from clockstep.ports import Listed
    from clockstep.render.metrics import Metrics
    from clockstep.systemd import Notifier

EXAMPLES = examples(
    "watch --all",
    "watch 'web-*' db --every 5s --metrics 9123",
    "watch --cluster prod --json",
    "watch --cluster prod --config /etc/clockstep.toml --install",
    "watch --uninstall",
)


@click.command("watch", epilog=EXAMPLES)
@nodes
@click.option(
    "--every",
    type=Duration(),
    metavar="TIME",
    default="10s",
    show_default=True,
    help="How often all clocks are looked at.",
)
@click.option("--metrics", metavar="ADDR", help="Serve metrics for Prometheus there: [HOST:]PORT, loopback by default.")
@click.option(
    "--guard",
    is_flag=True,
    help="Keep a small program in each chosen node, so that a step after a revert starts none there.",
)
@click.option("--install", is_flag=True, help="Have systemd run this command, now and at every boot.")
@click.option("--uninstall", is_flag=True, help="End that, and remove what --install wrote.")
@click.option("--user/--system", "of_user", default=None, help="Whose systemd.  [default: the system's for root]")
@policy
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, every: int, **options: Any) -> int:
    """Bring clocks right as soon as somebody reverts, resumes or restores a node, until interrupted.

    It listens to libvirt, and looks at every clock now and then for what no event told of. Nodes that are not chosen
    are looked at too, and never changed. What it does is printed, a line each; with --json an Episode a line.

    SIGHUP has it read its configuration again.
    """
    from clockstep.cli.session import asked, opened, selected
    from clockstep.core.selection import select
    from clockstep.errors import UsageError
    from clockstep.flows.watch import Watcher
    from clockstep.model import Guest
    from clockstep.systemd import Notifier

    if options["uninstall"]:
        return _uninstall(of_user=_of_user(context))
    wanted = asked(context, names, everything=everything)
    world = opened(context, wanted, _tell)
    try:
        selected(world, wanted, changing=True)  # a typing error is told now
    except UsageError as error:
        if not (everything or "NOTIFY_SOCKET" in os.environ):  # a service waits for machines that are not there yet
            raise
        _tell("", error.message)
    if options["install"]:
        return _install(context, wanted, of_user=_of_user(context))
    over, again = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    if not sys.stderr.isatty():  # a terminal that is closed ends it
        signal.signal(signal.SIGHUP, lambda _number, _frame: again.set())
    notifier = Notifier(os.environ, world.clock)
    with world.locks.hold([Guest("the same machines", _identity(wanted), "")], 0):
        front = _Front(notifier, _metrics(options["metrics"]), over, again, as_json=option(context, "json"))
        watcher = Watcher(world, _orders(context, wanted), front)

        def reread() -> None:
            anew = _asked_again(context, names, wanted, everything=everything)
            select(front.guests, anew, changing=True)
            watcher.orders = _orders(context, anew)

        front.reread = reread
        watcher.run(every, over)
        notifier.stopping()
    return 0


class _Front:
    """What the watcher's listener does here: print, count, and tell the service manager."""

    def __init__(
        self,
        notifier: "Notifier",
        metrics: "Metrics | None",
        over: threading.Event,
        again: threading.Event,
        *,
        as_json: bool,
    ) -> None:
        self.guests: list[Guest] = []
        self._notifier = notifier
        self._over = over
        self._metrics = metrics
        self._again = again
        self._as_json = as_json
        self._began = False
        self.reread: Callable[[], None] = lambda: None

    def surveyed(self, listed: "Sequence[Listed]") -> None:
        """Take what the hypervisors listed."""
        from clockstep.kernel.timex import read_host_clock

        self.guests = [guest for one in listed for guest in one.guests]
        if self._metrics:
            self._metrics.surveyed(listed, read_host_clock())

    def seen(self, episode: "Episode", *, new: bool) -> None:
        """Take an Episode."""
        if self._metrics:
            self._metrics.seen(episode)
        if new:
            try:
                self._print(episode)
            except BrokenPipeError:  # whoever read it is gone
                self._over.set()
            except OSError:  # a disk that is full for a while must not end the watch
                return

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
        _tell("", said)
        self._notifier.ready(f"watching; {said}")

    def _print(self, episode: "Episode") -> None:
        from clockstep.render.output import print_json_line
        from clockstep.render.text import episode_line

        if self._as_json:
            print_json_line(episode)
        else:
            print(episode_line(episode), flush=True)  # noqa: T201


def _tell(node: str, text: str) -> None:
    with suppress(OSError):
        if not node:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


def _orders(context: click.Context, wanted: "Wanted") -> "Orders":
    from clockstep.cli.session import policy_of, said
    from clockstep.core.selection import is_chosen
    from clockstep.flows.watch import Orders
    from clockstep.kernel.timex import read_host_clock

    demanding = said(context, wanted, "require_synced_host")
    return Orders(
        lambda guest: is_chosen(guest, wanted),
        policy_of(context, wanted),
        lambda: not demanding or read_host_clock().synchronised,
        context.params["guard"],
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

    watched = repr((os.getuid(), addresses(wanted), wanted.names, wanted.cluster and wanted.cluster.nodes))
    return f"watch/{sha256(watched.encode()).hexdigest()[:32]}"


def _metrics(address: str | None) -> "Metrics | None":
    if address is None:
        return None
    from clockstep.render.metrics import Metrics

    metrics = Metrics()
    _tell("", f"metrics are served at {metrics.serve(address)}")
    return metrics


def _of_user(context: click.Context) -> bool:
    of_user = context.params["of_user"]
    return os.geteuid() != 0 if of_user is None else bool(of_user)


def _install(context: click.Context, wanted: "Wanted", *, of_user: bool) -> int:
    from clockstep import service
    from clockstep.core.selection import addresses
    from clockstep.hypervisors.connection import connect

    own = {"--install", "--user", "--system"}
    words = [sys.executable, "-P", "-m", "clockstep", *(word for word in sys.argv[1:] if word not in own)]
    if addresses(wanted) == ("",):  # its account's default, or another shell's, would be another
        words += ["--connect", connect(None).getURI()]
    files = [sys.executable, service.__file__, wanted.cluster and wanted.cluster.origin, context.params["ssh_config"]]
    needed = [Path(file).resolve() for file in files if file]
    wished = service.Service(words, Path.cwd(), of_user, context.params["reach"] != "ssh", needed)
    for file in service.install(wished, Path("/"), Path.home(), service.run):
        _tell("", f"wrote {file}")
    _tell("", f"it runs: {' '.join([*service.systemctl(of_user=of_user), 'status', service.UNIT])}")
    return 0


def _uninstall(*, of_user: bool) -> int:
    from clockstep import service

    gone = service.uninstall(Path("/"), Path.home(), service.run, of_user=of_user)
    for file in gone:
        _tell("", f"removed {file}")
    if not gone:
        _tell("", "there was nothing to remove")
    return 0
