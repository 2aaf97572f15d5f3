"""What every command that talks to machines does first, and how it prints what it came to."""

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from clockstep.cli.cluster import access_of, cluster_of, named, without_cluster
from clockstep.cli.context import option, output, style
from clockstep.config import Place, places, read_cluster
from clockstep.core.history import merged
from clockstep.core.labels import parse_selector
from clockstep.core.selection import SSH, Project, Wanted, addresses, excluded, refuse_contradiction, select
from clockstep.core.targets import Scope
from clockstep.errors import ClockstepError, HostError, UsageError, visible
from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
from clockstep.host.reference import HostReference
from clockstep.host.systemd_unit import ACCOUNT
from clockstep.host.zipped import refuse_zip
from clockstep.machines import HYPERVISORS
from clockstep.machines.hosts import SshHosts
from clockstep.machines.several import Several
from clockstep.model import ClusterPolicy, Entry, Episode, Freeze, Guest, History, Policy, Selection
from clockstep.ports import Clock, Machines, Tell, Ways, World
from clockstep.render.forms import names, wide
from clockstep.render.output import Repaint, Story, print_json, print_json_line, print_page
from clockstep.render.text import Page
from clockstep.state.history import FileHistory
from clockstep.state.journal import FileDefinitions, FileJournal, state_folder
from clockstep.state.sightings import FileSightings
from clockstep.units import DAY_NS, SECOND_NS
from clockstep.vagrant.logins import ASKING_S, VagrantLogins
from clockstep.vagrant.project import find_project
from clockstep.vagrant.trust import untrusted
from clockstep.waiting import begun

LOG = logging.getLogger("clockstep")
LAB = "lab"
OF_SERVICE = Path("/var/lib/clockstep-watch/.local/state/clockstep")
"""The state folder of the system's service: in the home of its account."""
REPAINT_NS = 2 * SECOND_NS
ASKING_NS = (ASKING_S + 5) * SECOND_NS
R = TypeVar("R")


def asked(context: click.Context, names: Sequence[str] = (), *, everything: bool = False) -> Wanted:
    """Return which nodes are asked for: by the arguments, a configuration, or the current Vagrant project.

    Raises UsageError if these contradict each other, or if a configuration or a project cannot be read.
    """
    hosts, labels = tuple(context.params.get("hosts") or ()), context.params.get("selector")
    selector = parse_selector(labels) if labels else None
    alone = Wanted(tuple(names), everything, option(context, "connect") or (), hosts=hosts, selector=selector)
    if alone.hosts_alone and not option(context, "cluster"):
        return alone
    project = _project(context)
    cluster = read_cluster(searched(context, project), option(context, "cluster"))
    connect, paused = option(context, "connect") or (), frozenset(journal().pauses())
    excluded = tuple(context.params.get("exclude") or ())
    wanted = replace(alone, connect=connect, cluster=cluster, project=project, held=paused, excluded=excluded)
    refuse_contradiction(wanted)
    if selector and access_of(context.params, wanted) is None:
        raise without_cluster("--selector")
    LOG.debug("configuration: %s; project: %s", cluster and cluster.origin, project and project.folder)
    return wanted


def searched(context: click.Context, project: Project | None) -> tuple[Place, ...]:
    """Return where a configuration is looked for.

    In a Vagrant project the user's and the system's own count only for a cluster that is named: the project names the
    nodes.
    """
    own = project is None or bool(option(context, "cluster"))
    return places(option(context, "config"), os.environ, Path(project.folder) if project else None, own=own)


def _project(context: click.Context) -> Project | None:
    """Return the current Vagrant project.

    Raises UsageError if it cannot be read, unless a configuration names the nodes, and if somebody else may have
    written it: it decides which machines are meant.
    """
    try:
        project = find_project(Path(), os.environ)
    except UsageError:
        cluster = read_cluster(searched(context, None), option(context, "cluster"))
        if cluster and cluster.nodes:
            return None
        raise
    if project and (why := untrusted(project)):
        hint = "check what it is, then run chown and chmod go-w on it; or leave the project"
        raise UsageError(f"the Vagrant project {project.folder} is not trusted: {why}", hint)
    return project


def current_project() -> Project | None:
    """Return the current Vagrant project, if there is one that can be read."""
    with suppress(UsageError):
        return find_project(Path(), os.environ)
    return None


def opened(context: click.Context, wanted: Wanted, tell: Tell) -> World:
    """Connect to every hypervisor where nodes may be.

    Raises HostError if this host's clock must be synchronised and is not.
    """
    _allow_many_files()
    clock, reference = SystemClock(), HostReference()
    demanding = "require_synced_host" in context.params and said(context, wanted, "require_synced_host")
    if demanding and not reference.quality().synchronised:
        text = "this host's clock is not synchronised, so it cannot serve as the reference"
        raise HostError(text, "start its time daemon, or omit --require-synced-host")
    guards = bool(context.params.get("guard"))
    called = wanted.project.called if wanted.project else {}
    ways = Ways(context.params.get("ssh_config"), context.params.get("reach"), guards=guards, called=called)
    if wanted.project:
        ways = ways._replace(vagrant=VagrantLogins(wanted.project, _state(), tell))
    LOG.debug("connections: %s", ", ".join(address or "libvirt's default" for address in addresses(wanted)))
    connecting = {
        address: begun(partial(HYPERVISORS["libvirt"], resolved(address), clock, reference, ways))
        for address in addresses(wanted)
    }
    parts: dict[str, Machines] = {address: part.result() for address, part in connecting.items()}
    if wanted.hosts:
        if ways.only == "agent":
            raise UsageError("hosts given with --ssh are reached by ssh only", "leave out --reach agent")
        parts[SSH] = SshHosts(wanted.hosts, clock, reference, ways)
    asking_ns = ASKING_NS if wanted.project else 0
    locks = DomainLocks(clock, tell, _state() / "locks", {ACCOUNT})
    machines = Several(parts, called)
    context.find_root().call_on_close(machines.close)
    world = World(machines, clock, reference, locks, journal(), tell, asking_ns, cluster_of(context, wanted))
    for left in _left_cordoned(world):
        tell("", left)
    return world


def _allow_many_files() -> None:
    """Allow this process as many open files as it may have: each lock is one, and each ssh takes three."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def resolved(connect: str) -> str | None:
    """Return the libvirt address that is meant, None for its default one; a lab is asked for its own."""
    if connect.partition(":")[0] != LAB:
        return connect or None
    refuse_zip("the lab")
    name = connect.partition(":")[2]
    asked = [sys.executable, "-P", "-m", "clockstep_lab", "uri", *(["--name", name] if name else [])]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        text, _, hint = answer.stderr.strip().removeprefix("clockstep lab: ").partition("\n  hint: ")
        raise UsageError(text or "the lab has no address", hint or ("" if text else "start it with: clockstep lab up"))
    return answer.stdout.strip()


def journal() -> FileJournal:
    """Return where pauses are written down."""
    return FileJournal(_state())


def definitions() -> FileDefinitions:
    """Return where the definitions are kept that clockstep changed."""
    return FileDefinitions(_state())


def history() -> FileHistory:
    """Return where it is kept what was done to clocks."""
    return FileHistory(_state())


def histories() -> list[FileHistory]:
    """Return all that may have been kept: for root also by the system's service, unless a state folder is named."""
    if os.geteuid() or os.environ.get("CLOCKSTEP_STATE"):
        return [history()]
    return [history(), FileHistory(OF_SERVICE)]


def recorded(names: Sequence[str] = (), since_ns: int = 0) -> History:
    """Return what was kept since then of the nodes with these names or globs; of all, with repairs, without any.

    Raises ClockstepError if it cannot be read.
    """
    try:
        read = [one.read(since_ns) for one in histories()]
        repairs = [] if names else [repair for one in histories() for repair in one.repairs(since_ns)]
    except OSError as error:
        raise ClockstepError(f"the history cannot be read: {error}", "allow reading it") from error
    return merged(read, names, repairs)


def sightings() -> FileSightings:
    """Return where it is kept when clocks were last seen within tolerance."""
    return FileSightings(_state())


def kept(by: str, episodes: Sequence[Episode], freezes: Sequence[Freeze] = ()) -> None:
    """Keep the Episodes of a command; that this was not possible is a line on stderr, and no failure."""
    if trouble := history().add(entries(by, episodes, freezes)):
        warned("", trouble)


def entries(by: str, episodes: Sequence[Episode], freezes: Sequence[Freeze] = ()) -> list[Entry]:
    """Return the Episodes of a command as a history has them, each with what was frozen on its node."""
    frozen = {one.node: one for one in freezes}
    return [Entry(by, episode, frozen.get(episode.node)) for episode in episodes]


def hooked(wanted: Wanted, episodes: Sequence[Episode]) -> None:
    """Run what the cluster wants to be run after a correction, for each of these Episodes."""
    if wanted.cluster and wanted.cluster.on_corrected:
        from clockstep.host.hook import Hook
        from clockstep.sinks.hook import run_after

        run_after(wanted.cluster.on_corrected, episodes, warned, Hook())


def warned(_node: str, text: str) -> None:
    """Tell something on a line of its own, also if no progress is printed."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


def _state() -> Path:
    return state_folder(os.environ, root=os.geteuid() == 0)


def scope_of(world: World, wanted: Wanted) -> Scope:
    """Return whom a revert or deletion may be about: the nodes that are named, or a cluster's or project's, or all."""
    wanted = named(world, wanted)
    without = tuple(excluded(world.hypervisor.guests(), wanted)) if wanted.excluded else ()
    if wanted.everything or not (wanted.chosen or wanted.cluster or wanted.project):
        return Scope(everything=wanted.everything, without=without)
    chosen = tuple(selected(world, wanted, changing=True))
    return Scope(named=chosen) if wanted.chosen else Scope(of=chosen, without=without)


def held(world: World, wanted: Wanted) -> list[Guest]:
    """Return the guests that are to be resumed: those that are named, or those of the choice that clockstep paused."""
    chosen = selected(world, wanted, changing=True, held=True)
    pauses = world.journal.pauses()
    mine = [guest for guest in chosen if wanted.chosen or (guest.state == "paused" and guest.uuid in pauses)]
    if not mine:
        raise UsageError(
            "clockstep has paused none of them", "use virsh resume for nodes that clockstep has not paused"
        )
    return mine


def selected(world: World, wanted: Wanted, *, changing: bool, held: bool | None = None) -> list[Guest]:
    """Return the guests that are meant; raises as `choice` does."""
    chosen = [one.guest for one in choice(world, wanted, changing=changing, held=held).nodes]
    LOG.debug("nodes: %s", ", ".join(guest.name for guest in chosen))
    return chosen


def choice(world: World, wanted: Wanted, *, changing: bool, held: bool | None = None) -> Selection:
    """Return what is meant, and why; raises UsageError as `select` does, and KubernetesError as `named`."""
    guests = world.hypervisor.guests()
    for said in world.journal.tidy(guests, addresses(wanted)) if changing else ():
        world.tell("", said)
    wanted = named(world, wanted, guests)
    now = replace(wanted, held=wanted.held | frozenset(world.journal.pauses()))  # written before paused
    return select(guests, now, changing=changing, held=held)


def _left_cordoned(world: World) -> list[str]:
    """Return which Nodes a run that was killed has left cordoned, unless a Kubernetes cluster is named now."""
    cordons = world.journal.cordons
    left = [] if world.kubernetes else [one for one in cordons.notes() if cordons.is_over(one.mark)]
    return [f"the Node {one.name} is still cordoned ({one.mark}): run clockstep kubernetes uncordon" for one in left]


def policy_of(context: click.Context, wanted: Wanted) -> Policy:
    """Return the policy that the options make, or the cluster where they say nothing, or the options' defaults."""
    tolerance_ns = said(context, wanted, "tolerance")
    return Policy(
        tolerance_ns=Policy().tolerance_ns if tolerance_ns is None else tolerance_ns,
        max_forward_ns=said(context, wanted, "max_forward"),
        max_backward_ns=DAY_NS if said(context, wanted, "allow_backward") else 0,
        deadline_ns=said(context, wanted, "deadline"),
        require_sync=bool(said(context, wanted, "require_sync")),
    )


def aftercare_of(context: click.Context, world: World) -> ClusterPolicy:
    """Return what is done for the Kubernetes cluster. Raises UsageError for a cordon without a cluster."""
    wishes = context.params
    if wishes.get("cordon") and world.kubernetes is None:
        raise without_cluster("--cordon")
    return ClusterPolicy(wishes["wait_cluster"], wishes["cluster_deadline"], bool(wishes.get("cordon")))


def said(context: click.Context, wanted: Wanted, name: str) -> Any:
    """Return an option as it was given, or what the cluster says of it, or the option's default."""
    by_default = context.get_parameter_source(name) in {None, ParameterSource.DEFAULT}
    limits = asdict(wanted.cluster.limits) if wanted.cluster else {}
    by_cluster = limits.get(name, limits.get(f"{name}_ns"))
    return by_cluster if by_default and by_cluster is not None else context.params.get(name)


def frozen(wanted: Wanted, freeze: bool | None, cgroups: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the cgroups to freeze, none of them for the default ones; None where nothing is to be frozen.

    Raises UsageError where cgroups are named and nothing is to be frozen.
    """
    if freeze is False:
        if cgroups:
            raise UsageError("--no-freeze and --freeze-cgroup contradict each other")
        return None
    if freeze or cgroups:
        return cgroups or (wanted.cluster.freeze if wanted.cluster else None) or ()
    return wanted.cluster.freeze if wanted.cluster else None


def progress(context: click.Context) -> Story:
    """Return where progress is printed; nowhere with --quiet."""
    return Story(quiet=bool(option(context, "quiet")), color=style(context).color)


def printed(context: click.Context, record: R, page: Callable[[R], Page]) -> None:
    """Print a record in the form that is asked for."""
    form = output(context)
    if form == "json":
        print_json(record)
    elif form == "name":
        for name in names(record):
            click.echo(visible(name))
    else:
        made = page(record)
        shown(context, wide(record, made) if form == "wide" else made)


def shown(context: click.Context, page: Page, out: IO[str] | None = None) -> None:
    """Print a page, on standard output if nothing else is said."""
    how = style(context)
    print_page(page, out, headers=how.headers, color=how.color)


def repainted(context: click.Context, records: Iterable[R], page: Callable[[R], Page], clock: Clock) -> NoReturn:
    """Print one record after the other, two seconds apart: in place on a terminal, one below the other elsewhere.

    Ends by KeyboardInterrupt only.
    """
    form, how = output(context), style(context)
    with Repaint(headers=how.headers, color=how.color) as repaint:
        for record in records:
            if form == "json":
                print_json_line(record)
            elif form == "name":
                click.echo("\n".join(map(visible, names(record))))
            else:
                repaint.show(wide(record, page(record)) if form == "wide" else page(record))
            clock.sleep_ns(REPAINT_NS)
    raise AssertionError("one can always look again")
