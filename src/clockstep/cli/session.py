"""What every command that talks to machines does first, and what it prints and exits with last."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from clockstep.cli import BUG
from clockstep.cli.options import option
from clockstep.config import read_cluster
from clockstep.core.selection import SSH, Project, Wanted, addresses, refuse_contradiction, select
from clockstep.core.targets import Scope
from clockstep.errors import HostError, UsageError, visible
from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
from clockstep.host.reference import HostReference
from clockstep.host.systemd_unit import ACCOUNT
from clockstep.machines import HYPERVISORS
from clockstep.machines.hosts import SshHosts
from clockstep.machines.several import Several, begun
from clockstep.model import Entry, Episode, Guest, Policy, SetReport, Verdict
from clockstep.ports import Clock, Machines, Tell, Ways, World
from clockstep.render.output import Repaint, print_json, print_json_line, print_page
from clockstep.render.text import Page
from clockstep.state.history import FileHistory
from clockstep.state.journal import FileDefinitions, FileJournal, state_folder
from clockstep.state.sightings import FileSightings
from clockstep.units import DAY_NS, SECOND_NS
from clockstep.vagrant.logins import ASKING_S, VagrantLogins
from clockstep.vagrant.project import find_project
from clockstep.vagrant.trust import untrusted

LAB = "lab"
OF_SERVICE = Path("/var/lib/clockstep-watch/.local/state/clockstep")
"""The state folder of the system's service: in the home of its account."""
REPAINT_NS = 2 * SECOND_NS
ASKING_NS = (ASKING_S + 5) * SECOND_NS
R = TypeVar("R")


def asked(context: click.Context, names: Sequence[str] = (), *, everything: bool = False) -> Wanted:
    """Return which nodes are asked for: by the arguments, a configuration, or the place one stands in.

    Raises UsageError where these contradict each other, or where a configuration or a project cannot be read.
    """
    hosts = tuple(context.params.get("hosts") or ())
    alone = Wanted(tuple(names), everything, option(context, "connect") or (), hosts=hosts)
    if alone.hosts_alone and not option(context, "cluster"):
        return alone
    project = _project(context)
    folders = (Path(), *([Path(project.folder)] if project else []))
    cluster = read_cluster(option(context, "config"), option(context, "cluster"), folders)
    connect, paused = option(context, "connect") or (), frozenset(journal().pauses())
    wanted = Wanted(tuple(names), everything, connect, cluster, project, paused, hosts)
    refuse_contradiction(wanted)
    return wanted


def _project(context: click.Context) -> Project | None:
    """Return the Vagrant project one stands in.

    Raises UsageError where it cannot be read, unless a configuration names the nodes, and where somebody else may have
    written it: it decides which machines are meant.
    """
    try:
        project = find_project(Path(), os.environ)
    except UsageError:
        cluster = read_cluster(option(context, "config"), option(context, "cluster"))
        if cluster and cluster.nodes:
            return None
        raise
    if project and (why := untrusted(project)):
        hint = "see what it is, then chown and chmod go-w it; or leave the project"
        raise UsageError(f"the Vagrant project {project.folder} is not believed: {why}", hint)
    return project


def opened(context: click.Context, wanted: Wanted, tell: Tell) -> World:
    """Connect to every hypervisor where nodes may be.

    Raises HostError where this machine's clock is wanted to be synchronised and is not.
    """
    _allow_many_files()
    clock, reference = SystemClock(), HostReference()
    demanding = "require_synced_host" in context.params and said(context, wanted, "require_synced_host")
    if not reference.quality().synchronised and demanding:
        text = "this machine's clock is not synchronised, so it is not taken for the truth"
        raise HostError(text, "see to its time daemon, or leave out --require-synced-host")
    guards = bool(context.params.get("guard"))
    called = wanted.project.called if wanted.project else {}
    ways = Ways(context.params.get("ssh_config"), context.params.get("reach"), guards=guards, called=called)
    if wanted.project:
        ways = ways._replace(vagrant=VagrantLogins(wanted.project, _state(), tell))
    connecting = {
        address: begun(partial(HYPERVISORS["libvirt"], resolved(address), clock, reference, ways))
        for address in addresses(wanted)
    }
    parts: dict[str, Machines] = {address: part.result() for address, part in connecting.items()}
    if wanted.hosts:
        if ways.only == "agent":
            raise UsageError("--ssh names hosts that have no guest agent here", "leave out --reach agent")
        parts[SSH] = SshHosts(wanted.hosts, clock, reference, ways)
    asking_ns = ASKING_NS if wanted.project else 0
    locks = DomainLocks(clock, tell, _state() / "locks", {ACCOUNT})
    machines = Several(parts, called)
    context.find_root().call_on_close(machines.close)
    return World(machines, clock, reference, locks, journal(), tell, asking_ns)


def _allow_many_files() -> None:
    """Allow this process as many open files as it may have: each lock is one, and each ssh takes three."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def resolved(connect: str) -> str | None:
    """Return the libvirt address that is meant, None for its default one; a lab is asked for its own."""
    if connect.partition(":")[0] != LAB:
        return connect or None
    name = connect.partition(":")[2]
    asked = [sys.executable, "-P", "-m", "clockstep_lab", "uri", *(["--name", name] if name else [])]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        raise UsageError(
            answer.stderr.strip().removeprefix("clockstep lab: ") or "the lab does not say where it is",
            "" if answer.stderr else "start it with: clockstep lab up",
        )
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


def sightings() -> FileSightings:
    """Return where it is kept when clocks were last seen within tolerance."""
    return FileSightings(_state())


def kept(by: str, episodes: Sequence[Episode]) -> None:
    """Keep the Episodes of a command; that this was not possible is a line on stderr, and no failure."""
    if trouble := history().add([Entry(by, episode) for episode in episodes]):
        _warn("", trouble)


def hooked(wanted: Wanted, episodes: Sequence[Episode]) -> None:
    """Run what the cluster wants to be run after a correction, for each of these Episodes."""
    if wanted.cluster and wanted.cluster.on_corrected:
        from clockstep.host.hook import Hook
        from clockstep.sinks.hook import run_after

        run_after(wanted.cluster.on_corrected, episodes, _warn, Hook())


def _warn(_node: str, text: str) -> None:
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


def _state() -> Path:
    return state_folder(os.environ, root=os.geteuid() == 0)


def scope_of(world: World, wanted: Wanted) -> Scope:
    """Return who a revert or a deletion may be about: those that are named, or a cluster's or project's, or all."""
    if wanted.everything or not (wanted.names or wanted.cluster or wanted.project):
        return Scope(everything=wanted.everything)
    chosen = tuple(selected(world, wanted, changing=True))
    return Scope(named=chosen) if wanted.names else Scope(of=chosen)


def held(world: World, wanted: Wanted) -> list[Guest]:
    """Return the guests that are to be resumed: those that are named, or those of the choice that clockstep paused."""
    chosen = selected(world, wanted, changing=True, held=True)
    pauses = world.journal.pauses()
    mine = [guest for guest in chosen if wanted.names or (guest.state == "paused" and guest.uuid in pauses)]
    if not mine:
        raise UsageError("clockstep has paused none of them", "virsh resume is for what others have paused")
    return mine


def selected(world: World, wanted: Wanted, *, changing: bool, held: bool | None = None) -> list[Guest]:
    """Return the guests that are meant; raises UsageError as `select` does."""
    guests = world.hypervisor.guests()
    for said in world.journal.tidy(guests, addresses(wanted)) if changing else ():
        world.tell("", said)
    now = replace(wanted, held=wanted.held | frozenset(world.journal.pauses()))  # written before paused
    return [one.guest for one in select(guests, now, changing=changing, held=held).nodes]


def policy_of(context: click.Context, wanted: Wanted) -> Policy:
    """Return the policy that the options make, or the cluster where they say nothing, or the options' defaults."""
    return Policy(
        tolerance_ns=said(context, wanted, "tolerance"),
        max_forward_ns=said(context, wanted, "max_forward"),
        max_backward_ns=DAY_NS if said(context, wanted, "allow_backward") else 0,
        deadline_ns=said(context, wanted, "deadline"),
        require_sync=bool(said(context, wanted, "require_sync")),
    )


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


def printed(context: click.Context, record: R, page: Callable[[R], Page]) -> None:
    """Print a record, as JSON where asked to and as a page otherwise."""
    if option(context, "json"):
        print_json(record)
    else:
        print_page(page(record))


def repainted(context: click.Context, records: Iterable[R], page: Callable[[R], Page], clock: Clock) -> NoReturn:
    """Print one record after the other, two seconds apart: in place on a terminal, one below the other elsewhere.

    Ends by KeyboardInterrupt only.
    """
    with Repaint() as repaint:
        for record in records:
            if option(context, "json"):
                print_json_line(record)
            else:
                repaint.show(page(record))
            clock.sleep_ns(REPAINT_NS)
    raise AssertionError("one can always look again")


def exit_code(episodes: Sequence[Episode], *, complete: bool = True) -> int:
    """Return 3 where a node could not be reached, 1 where one is bad or unsure or something is missing, else 0.

    A bug that was met on the way is 4.
    """
    if any(trouble.internal for episode in episodes for trouble in episode.facts.trouble):
        return BUG
    code = code_of({episode.verdict for episode in episodes})
    return code if complete else code or 1


def code_of_set(report: SetReport) -> int:
    """Return what `exit_code` does, for an act on several nodes as one; workloads in trouble are something missing."""
    return exit_code(report.episodes, complete=report.complete and not any(one.trouble for one in report.freezes))


def code_of(verdicts: Set[Verdict]) -> int:
    """Return 3 where something could not be reached, 1 where something is bad or unsure, else 0."""
    if Verdict.UNREACHABLE in verdicts:
        return 3
    return 0 if verdicts <= {Verdict.GOOD} else 1
