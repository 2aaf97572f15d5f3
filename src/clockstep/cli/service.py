"""`clockstep service`: the watcher, or this machine's own agent, as a service of systemd."""

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockstep.cli import node_service, watch
from clockstep.cli.context import option
from clockstep.cli.options import between, confirmed, examples, shared, yes
from clockstep.errors import UsageError, visible
from clockstep.units import DAY_NS, HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS

if TYPE_CHECKING:
    from clockstep.core.selection import Wanted
    from clockstep.host.systemd_unit import Service
    from clockstep.model import KubeAccess
    from clockstep.ports import World

ROOT = Path("/")
NOT_KEPT = {
    *("of_user", "of_agent", "yes", "names", "folder", "output", "quiet", "color", "no_headers"),
    *("kubernetes", "kubeconfig", "kube_context"),
}
"""Options of the installation alone: the service has an output of its own, and one file and context to report to."""
UNITS = (("d", DAY_NS), ("h", HOUR_NS), ("min", MINUTE_NS), ("s", SECOND_NS), ("ms", MILLISECOND_NS), ("ns", 1))
USER = click.option(
    "--user/--system", "of_user", default=None, help="Whose systemd to use.  [default: the system's for root]"
)
AGENT = click.option("--agent", "of_agent", is_flag=True, help="This machine's own agent instead of the watcher.")


@click.group("service")
@between
def command(**_options: Any) -> None:
    """Run `clockstep watch`, or with --agent this machine's own `clockstep agent`, as a service of systemd."""


@command.command(
    "install",
    epilog=examples(
        "service install --cluster prod --config /etc/clockstep/config.toml",
        "service install --all --metrics 9123 --yes",
        "service install --user 'web-*'",
        "service install --agent",
    ),
)
@yes
@USER
@AGENT
@click.pass_context
def install(
    context: click.Context,
    /,
    names: tuple[str, ...],
    *,
    everything: bool,
    of_user: bool | None,
    of_agent: bool,
    yes: bool,
    **_options: Any,
) -> int:
    """Have systemd run `clockstep watch` with these nodes and options, now and at every boot.

    With --agent it is this machine's own agent, without nodes or options. Shows what would be written, and asks. If the
    service does not start, everything is as it was.
    """
    if of_agent:
        return node_service.install(context, install.params, yes=yes)
    from clockstep.cli.session import asked, opened, progress, selected
    from clockstep.host import systemd_unit

    mine = _of_user(of_user)
    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        if not everything:  # else it waits for machines that do not exist yet
            selected(world, wanted, changing=True)
        if wanted.project and not mine:
            _refuse_keys(world, wanted)
        systemd_unit.refuse_without_systemd(ROOT)
        service = _service(context, wanted, world, of_user=mine)
    before = systemd_unit.reports_to(ROOT, Path.home(), of_user=mine)
    files = systemd_unit.files(service, ROOT, Path.home())
    _tell(
        context, "\n".join([f"would run: {' '.join(service.words[3:])}", *(f"would write: {file}" for file in files)])
    )
    confirmed(f"install the service {systemd_unit.UNIT}", yes=yes)
    for file in systemd_unit.install(service, ROOT, Path.home(), systemd_unit.run):
        _tell(context, f"wrote {file}")
    if not mine:
        _tell(context, systemd_unit.grants(service))
    _tell(context, "the service is running: see clockstep service status")
    return _forget(context, before) if before != service.kubernetes else 0


install.params = [*watch.command.params, *install.params]


@command.command("uninstall", epilog=examples("service uninstall", "service uninstall --user --yes"))
@yes
@USER
@AGENT
@shared
@click.pass_context
def uninstall(context: click.Context, /, of_user: bool | None, *, of_agent: bool, yes: bool, **_options: Any) -> int:
    """Stop the service, and remove its files and the conditions that it wrote in a Kubernetes cluster."""
    if of_agent:
        return node_service.uninstall(context, yes=yes)
    from clockstep.host import systemd_unit

    mine = _of_user(of_user)
    reported = systemd_unit.reports_to(ROOT, Path.home(), of_user=mine)
    confirmed(f"stop the service {systemd_unit.UNIT} and remove its files", yes=yes)
    gone = systemd_unit.uninstall(ROOT, Path.home(), systemd_unit.run, of_user=mine)
    for file in gone:
        _tell(context, f"removed {file}")
    if not gone:
        _tell(context, "no service was installed")
    return _forget(context, reported)


@command.command("status", epilog=examples("service status", "service status --agent -o json"))
@USER
@AGENT
@shared
@click.pass_context
def status(context: click.Context, /, of_user: bool | None, *, of_agent: bool, **_options: Any) -> int:
    """Show whether the service is installed, enabled and running; exit with 1 if it is not running."""
    from clockstep.cli.exits import Exit
    from clockstep.cli.session import printed
    from clockstep.host import systemd_unit
    from clockstep.render.text import service_page

    if of_agent:
        found = node_service.status(context)
    else:
        found = systemd_unit.status(ROOT, Path.home(), systemd_unit.asked, of_user=_of_user(of_user))
    printed(context, found, service_page)
    return Exit.GOOD if found.active == "active" else Exit.UNPROVEN


def _forget(context: click.Context, reported: "KubeAccess | None") -> int:
    """Remove what a service has written in a cluster; if that fails, say how to do it later, and return its code."""
    if reported is None:
        return 0
    from clockstep.cli.cluster import writer
    from clockstep.cli.exits import of_error
    from clockstep.errors import ClockstepError
    from clockstep.flows.conditions import remove_all_own
    from clockstep.kubernetes.api import KubernetesApi

    try:
        remove_all_own(KubernetesApi(reported, os.environ), writer(), lambda text: _tell(context, text))
    except ClockstepError as error:
        where = shlex.join(["--kubeconfig", reported.kubeconfig, "--context", reported.context])
        text = f"conditions may be left in the cluster: {error.message}; remove them later: "
        click.echo(visible(f"{text}clockstep kubernetes remove {where}"), err=True)
        return of_error(error)
    return 0


def _of_user(of_user: bool | None) -> bool:
    return os.geteuid() != 0 if of_user is None else of_user


def _tell(context: click.Context, text: str) -> None:
    if not option(context, "quiet"):
        click.echo("\n".join(map(visible, text.splitlines())), err=True)


def _service(context: click.Context, wanted: "Wanted", world: "World", *, of_user: bool) -> "Service":
    """Return what is to run."""
    from clockstep.core.selection import addresses
    from clockstep.host import systemd_unit
    from clockstep.host.zipped import refuse_zip
    from clockstep.machines import binding_needed

    refuse_zip("a service")
    with binding_needed():
        from clockstep.machines.libvirt.connection import connect

    words = [sys.executable, "-P", "-m", "clockstep", "watch", *_words(context, wanted)]
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
    reported = _reported(context, wanted, of_user=of_user)
    return systemd_unit.Service(words, Path.cwd(), of_user, by_agent, needed, code, fixed, reported)


def _reported(context: click.Context, wanted: "Wanted", *, of_user: bool) -> "KubeAccess | None":
    """Return the Kubernetes cluster that the service reports to, as it finds it without this environment.

    Raises KubernetesError for a kubeconfig that it could not use, as the system's account has no other file or program.
    """
    from clockstep.cli.cluster import access_of
    from clockstep.kubernetes.api import client_needed

    access = access_of(context.params, wanted)
    if access is None:
        return None
    with client_needed():
        from clockstep.kubernetes.kubeconfig import pinned

    return pinned(access, os.environ, alone=not of_user)


def _words(context: click.Context, wanted: "Wanted") -> list[str]:
    """Return the words that the service's `watch` is started with: all that was said here, but for the installation.

    Raises UsageError if variables of Vagrant's say which project is meant: the service does not have them.
    """
    from clockstep.config import FILE

    variables = ("VAGRANT_CWD", "VAGRANT_DOTFILE_PATH", "VAGRANT_VAGRANTFILE")
    if there := [name for name in variables if os.environ.get(name)]:
        raise UsageError(
            f"the service would run without your {', '.join(there)}", "unset them; -C DIR also selects a project"
        )
    words = [word for param in install.params for word in _said(context, param)]
    if wanted.cluster and not option(context, "config") and wanted.cluster.origin != FILE:
        words += ["--config", str(Path(wanted.cluster.origin).absolute())]
    if option(context, "output") == "json":
        words += ["--output", "json"]
    return [*words, *context.params["names"]]


def _said(context: click.Context, param: click.Parameter) -> list[str]:
    """Return an option as it was said, before the command or after it."""
    name = param.name or ""
    if name in NOT_KEPT or not isinstance(param, click.Option) or not param.expose_value:
        return []
    by_default = context.get_parameter_source(name) in {None, click.core.ParameterSource.DEFAULT}
    value = option(context, name) if by_default else context.params[name]
    if (by_default and value == context.params[name]) or value is None:
        return []
    if param.is_flag:
        return [param.opts[-1] if value else param.secondary_opts[-1]]
    values = value if param.multiple else [value]
    return [word for one in values for word in (param.opts[-1], _written(one))]


def _written(value: Any) -> str:
    """Return a value as it may be typed; a length of time in the largest unit that it is a multiple of."""
    if not isinstance(value, int):
        return str(value)
    unit, size = next((unit, size) for unit, size in UNITS if value % size == 0)
    return f"{value // size}{unit}"


def _imported_from() -> list[Path]:
    """Return where the service's python will look for modules: without this one's variables and its script's folder."""
    asked = [sys.executable, "-P", "-c", "import sys; print('\\0'.join(sys.path), end='')"]
    said = subprocess.run(asked, env={}, cwd="/", capture_output=True, text=True, check=True).stdout
    return [Path(entry) for entry in said.split("\0") if Path(entry).exists()]


def _fixed(wanted: "Wanted", world: "World", *, observes_all: bool) -> list[str]:
    """Return the UUIDs of the machines that are meant, if only plain names say which."""
    from clockstep.cli.session import selected

    if observes_all or not wanted.names or any(set(name) & set("*?[") for name in wanted.names):
        return []
    with suppress(UsageError):  # a service waits for machines that do not exist yet
        return [guest.uuid for guest in selected(world, wanted, changing=True)]
    return []


def _refuse_keys(world: "World", wanted: "Wanted") -> None:
    """Raise UsageError for machines that only Vagrant's keys lead to, which the system's account may not read."""
    from clockstep.cli.session import selected
    from clockstep.host.systemd_unit import ACCOUNT

    chosen = selected(world, wanted, changing=True)
    if by_key := [guest.name for guest in chosen if not world.hypervisor.around(guest).agent_channel]:
        text = f"{', '.join(by_key)}: reached by Vagrant's keys, which the service's user {ACCOUNT} may not read"
        hint = "add guest agents first (clockstep setup apply --guest-agent), or install your own service with --user"
        raise UsageError(text, hint)
