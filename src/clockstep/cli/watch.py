"""`clockstep watch`."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
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
    from clockstep.flows.watch.watched import Orders
    from clockstep.model import Guest
    from clockstep.ports import Sink, Tell, World
    from clockstep.sinks.metrics import Metrics

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
    from clockstep.cli.session import asked, opened, selected, sightings
    from clockstep.errors import UsageError
    from clockstep.flows.watch.watcher import Watcher
    from clockstep.host.sd_notify import Notifier
    from clockstep.model import Guest
    from clockstep.sinks.lines import EpisodeLines
    from clockstep.sinks.sd_notify import ServiceManager

    if options["uninstall"]:
        return _uninstall(of_user=_of_user(context))
    wanted = asked(context, names, everything=everything)
    control = _Control()
    lines = Lines(unshared(sys.stdout), unshared(sys.stderr), control.end)

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
        signal.signal(number, lambda _number, _frame: control.end())
    if not sys.stderr.isatty():  # a terminal that is closed ends it
        signal.signal(signal.SIGHUP, lambda _number, _frame: control.reload())
    manager = ServiceManager(Notifier(os.environ, world.clock))
    with world.locks.hold([Guest("the same machines", _identity(wanted), "")], SAME_WATCH_NS):
        configured = _Configured(context, names, wanted, everything=everything)
        metrics = _metrics(options["metrics"], tell)
        printing = EpisodeLines(lines.out, as_json=option(context, "json"))
        sinks: list[Sink] = [printing, *([metrics] if metrics else []), manager, *_behind(configured, tell)]
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

    def __init__(self, context: click.Context, names: Sequence[str], wanted: "Wanted", *, everything: bool) -> None:
        self.wanted = wanted
        self._read = partial(_asked_again, context, names, everything=everything)
        self._context = context

    def orders(self) -> "Orders":
        """Return what a watcher goes by."""
        return _orders(self._context, self.wanted)

    def again(self, guests: "Sequence[Guest]") -> "Orders":
        """Return what a watcher of these machines goes by now. Raises UsageError where the configuration is broken."""
        from clockstep.core.selection import select

        wanted = self._read(self.wanted)
        select(guests, wanted, changing=True)
        self.wanted = wanted
        return self.orders()

    def hook(self) -> Sequence[str]:
        """Return the command that is run after a node was corrected."""
        return self.wanted.cluster.on_corrected if self.wanted.cluster else ()


def _tell(node: str, text: str) -> None:
    with suppress(OSError):
        if not node:
            print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


def _orders(context: click.Context, wanted: "Wanted") -> "Orders":

    from clockstep.cli.session import policy_of, said
    from clockstep.core.selection import is_chosen
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


def _behind(configured: _Configured, tell: "Tell") -> "list[Sink]":
    """Return the sinks that may take their time."""
    from clockstep.cli.session import history
    from clockstep.host.hook import Hook
    from clockstep.sinks.behind import Behind
    from clockstep.sinks.history import HistorySink
    from clockstep.sinks.hook import HookSink

    hook = Hook()
    return [
        Behind(HistorySink(history(), tell), tell),
        Behind(HookSink(configured.hook, hook, tell), tell, hook.cut_off),
    ]


def _metrics(address: str | None, tell: "Tell") -> "Metrics | None":
    if address is None:
        return None
    from clockstep.sinks.metrics import Metrics

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
