"""`clockstep watch`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli.lines import Lines, unshared
from clockstep.cli.options import Duration, examples, nodes, option, policy, shared, ways
from clockstep.errors import visible

SAME_WATCH_NS = 1_000_000_000
"""How long another watcher of the same machines is waited for, which may just be ending."""

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.flows.watch import Orders
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Episode, Guest
    from clockstep.ports import Listed, Tell, World
    from clockstep.render.metrics import Metrics

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
@click.option("--observe-all", is_flag=True, help="Look at the clocks of all other nodes too, and leave them alone.")
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

    It listens to libvirt, and looks at every chosen node's clock now and then for what no event told of. What it does
    is printed, a line each; with --json an Episode a line.

    SIGHUP has it read its configuration again.
    """
    from clockstep.cli.session import asked, opened, selected
    from clockstep.core.selection import select
    from clockstep.errors import UsageError
    from clockstep.flows.watch import Watcher
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Guest

    if options["uninstall"]:
        return _uninstall(of_user=_of_user(context))
    wanted = asked(context, names, everything=everything)
    over, again = _Flag(), _Flag()
    lines = Lines(unshared(sys.stdout), unshared(sys.stderr), over.set)

    def tell(node: str, text: str) -> None:
        if not node:
            lines.err(visible(text))

    world = opened(context, wanted, tell)
    try:
        selected(world, wanted, changing=True)  # a typing error is told now
    except UsageError as error:
        if not (everything or "NOTIFY_SOCKET" in os.environ):  # a service waits for machines that are not there yet
            raise
        tell("", error.message)
    if options["install"]:
        return _install(context, wanted, world, of_user=_of_user(context))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    if not sys.stderr.isatty():  # a terminal that is closed ends it
        signal.signal(signal.SIGHUP, lambda _number, _frame: again.set())
    notifier = Notifier(os.environ, world.clock)
    with world.locks.hold([Guest("the same machines", _identity(wanted), "")], SAME_WATCH_NS):
        metrics = _metrics(options["metrics"], tell)
        front = _Front(notifier, metrics, lines, again, as_json=option(context, "json"))
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


def _tell(node: str, text: str) -> None:
    with suppress(OSError):
        if not node:
            print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


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
    watched = repr((os.getuid(), addresses(wanted), wanted.names, nodes, project))
    return f"watch/{sha256(watched.encode()).hexdigest()[:32]}"


def _metrics(address: str | None, tell: "Tell") -> "Metrics | None":
    if address is None:
        return None
    from clockstep.render.metrics import Metrics

    metrics = Metrics()
    tell("", f"metrics are served at {metrics.serve(address)}")
    return metrics


def _of_user(context: click.Context) -> bool:
    of_user = context.params["of_user"]
    return os.geteuid() != 0 if of_user is None else bool(of_user)


def _install(context: click.Context, wanted: "Wanted", world: "World", *, of_user: bool) -> int:
    from clockstep.core.selection import addresses
    from clockstep.host import systemd_unit
    from clockstep.machines.libvirt.connection import connect

    if wanted.project and not of_user:
        _refuse_keys(context, wanted)
    systemd_unit.refuse_without_systemd(Path("/"))
    words = [sys.executable, "-P", "-m", "clockstep", *_of_service(sys.argv[1:])]
    if addresses(wanted) == ("",):  # its account's default, or another shell's, would be another
        words += ["--connect", connect(None).getURI()]
    files = [
        sys.executable,
        systemd_unit.__file__,
        wanted.cluster and wanted.cluster.origin,
        context.params["ssh_config"],
    ]
    needed = [Path(file).resolve() for file in files if file]
    package, by_agent = Path(systemd_unit.__file__).parents[1], context.params["reach"] != "ssh"
    code = [Path(sys.executable), package, *_imported_from()]
    fixed = _fixed(wanted, world, observes_all=context.params["observe_all"])
    wished = systemd_unit.Service(words, Path.cwd(), of_user, by_agent, needed, code, fixed)
    for file in systemd_unit.install(wished, Path("/"), Path.home(), systemd_unit.run):
        _tell("", f"wrote {file}")
    if not of_user:
        _tell("", systemd_unit.grants(wished))
    _tell("", f"it runs: {' '.join([*systemd_unit.systemctl(of_user=of_user), 'status', systemd_unit.UNIT])}")
    return 0


def _imported_from() -> list[Path]:
    """Return where the service's python will look for modules: without this one's variables and its script's folder."""
    asked = [sys.executable, "-P", "-c", "import sys; print('\\0'.join(sys.path), end='')"]
    said = subprocess.run(asked, env={}, cwd="/", capture_output=True, text=True, check=True).stdout
    return [Path(entry) for entry in said.split("\0") if Path(entry).exists()]


def _fixed(wanted: "Wanted", world: "World", *, observes_all: bool) -> list[str]:
    """Return the UUIDs of the machines that are meant, where only plain names say which."""
    from clockstep.cli.session import selected
    from clockstep.errors import UsageError

    if observes_all or not wanted.names or any(set(name) & set("*?[") for name in wanted.names):
        return []
    with suppress(UsageError):  # a service waits for machines that are not there yet
        return [guest.uuid for guest in selected(world, wanted, changing=True)]
    return []


def _of_service(words: Sequence[str]) -> list[str]:
    """Return the words that the service is started with: those of the command line, but for what they have done here.

    Raises UsageError where variables of Vagrant's say which project is meant: the service does not have them.
    """
    from clockstep.errors import UsageError

    variables = ("VAGRANT_CWD", "VAGRANT_DOTFILE_PATH", "VAGRANT_VAGRANTFILE")
    if there := [name for name in variables if os.environ.get(name)]:
        raise UsageError(f"the service would not have your {', '.join(there)}", "unset it; -C DIR names a project, too")
    kept, rest = [], iter(words)
    for word in rest:
        if word == "-C":
            next(rest, "")
        elif word not in {"--install", "--user", "--system"} and not word.startswith("-C"):
            kept.append(word)
    return kept


def _refuse_keys(context: click.Context, wanted: "Wanted") -> None:
    """Raise UsageError for machines that only Vagrant's keys lead to, which the system's account may not read."""
    from clockstep.cli.session import opened, selected
    from clockstep.errors import UsageError
    from clockstep.host.systemd_unit import ACCOUNT

    world = opened(context, wanted, _tell)
    chosen = selected(world, wanted, changing=True)
    if by_key := [guest.name for guest in chosen if not world.hypervisor.around(guest).agent_channel]:
        text = f"{', '.join(by_key)}: reached by Vagrant's keys, which the service's user {ACCOUNT} may not read"
        hint = "add guest agents first (clockstep setup --guest-agent), or install a service of your own with --user"
        raise UsageError(text, hint)


def _uninstall(*, of_user: bool) -> int:
    from clockstep.host import systemd_unit

    gone = systemd_unit.uninstall(Path("/"), Path.home(), systemd_unit.run, of_user=of_user)
    for file in gone:
        _tell("", f"removed {file}")
    if not gone:
        _tell("", "there was nothing to remove")
    return 0
