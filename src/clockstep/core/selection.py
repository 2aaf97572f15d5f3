"""Which machines a command targets: decided here alone, from what there is and what is asked for.

The arguments count first, then a cluster of a configuration, then the current Vagrant project. Only a command
that changes nothing goes on to everything that runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from clockstep.core.labels import Selector
from clockstep.core.node_names import NodeNames
from clockstep.errors import UsageError
from clockstep.model import Choice, Guest, KubeAccess, Selected, Selection

SSH = "ssh"
"""The connection of hosts that are reached by ssh alone."""
SHOWN = 10
"""How many names a hint lists at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cluster says of the policy; None where it leaves that to the command."""

    tolerance_ns: int | None = None
    deadline_ns: int | None = None
    max_forward_ns: int | None = None
    allow_backward: bool | None = None
    require_sync: bool | None = None
    require_synced_host: bool | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A `[cluster.NAME]` of the file `origin`. `asked` is whether it was asked for by its name.

    Without `nodes` it only adds to the Vagrant project that its file is in.

    `freeze` are the cgroups that its snapshots freeze, empty for the default ones; None where they freeze nothing.
    `on_corrected` is the command that is run after a node was corrected; empty for none.
    `kubernetes` is the Kubernetes cluster whose Nodes its machines are; None for none.
    """

    name: str
    origin: str
    nodes: tuple[str, ...]
    connect: tuple[str, ...] = ()
    limits: Limits = Limits()
    asked: bool = False
    freeze: tuple[str, ...] | None = None
    on_corrected: tuple[str, ...] = ()
    kubernetes: KubeAccess | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A Vagrant project: its machines by their names in it, with the UUIDs of their domains.

    It was found from the folder `here`, has its code in the file `vagrantfile`, and keeps what it knows of its machines
    in the folder `data`.
    """

    folder: str
    machines: tuple[tuple[str, str], ...]
    connect: tuple[str, ...] = ()
    here: str = ""
    data: str = ""
    vagrantfile: str = ""

    @property
    def called(self) -> dict[str, str]:
        """The names of its machines by the UUIDs of their domains."""
        return {uuid.lower(): name for name, uuid in self.machines}


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that says which machines are meant: the arguments, a cluster, and the place one stands in."""

    names: tuple[str, ...] = ()
    everything: bool = False
    connect: tuple[str, ...] = ()
    cluster: Cluster | None = None
    project: Project | None = None
    held: frozenset[str] = frozenset()
    """The UUIDs of machines that clockstep has paused: a look at everything shows them too."""
    excluded: tuple[str, ...] = ()
    """Names and globs of machines that are not meant, whatever else says that they are."""
    hosts: tuple[str, ...] = ()
    """Hosts that are reached by ssh alone."""
    selector: Selector | None = None
    """Labels of the Nodes whose machines are meant."""
    node_names: NodeNames = field(default_factory=NodeNames)
    """What names and the selector mean by the Nodes of a Kubernetes cluster, as far as it was asked."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """What the arguments name: names and globs, or a selector."""
        return (*self.names, *((self.selector.pattern,) if self.selector else ()))

    @property
    def called(self) -> Mapping[str, str]:
        """Vagrant's names of machines by their UUIDs."""
        return self.project.called if self.project else {}

    @property
    def hosts_alone(self) -> bool:
        """Whether nothing but such hosts is asked for, so that no hypervisor need be asked."""
        others = self.chosen or self.everything or self.connect or (self.cluster and self.cluster.asked)
        return bool(self.hosts) and not others


def addresses(wanted: Wanted) -> tuple[str, ...]:
    """Return where to connect to, each address once; the empty one is libvirt's own default."""
    if wanted.hosts_alone:
        return ()
    sources = [wanted.connect, *(place.connect for place in (wanted.cluster, wanted.project) if place)]
    return tuple(dict.fromkeys(next(filter(None, sources), ("",))))


def refuse_contradiction(wanted: Wanted) -> None:
    """Raise UsageError where --all meets names or a cluster's name: it is unclear which of them is meant."""
    if wanted.selector and (wanted.names or wanted.everything):
        what = "node names" if wanted.names else "--all"
        raise UsageError(f"{what} and --selector exclude each other", "use one of them")
    if wanted.everything and wanted.names:
        raise UsageError("node names and --all exclude each other", "name the nodes, or use --all")
    if wanted.everything and wanted.cluster and wanted.cluster.asked:
        text = f"--all would select more than the cluster {wanted.cluster.name!r}"
        raise UsageError(text, "leave out --all for the cluster's nodes, or --cluster for all nodes")


def select(guests: Sequence[Guest], wanted: Wanted, *, changing: bool, held: bool | None = None) -> Selection:
    """Return the machines that are meant, each once, in the order of the guests, each with the reason.

    "All" are those that run, and with `held` also those that clockstep has paused: a look shows them, as does what is
    about pauses.

    Raises UsageError for a name that means nothing, because a typing error must not shrink a run silently; for
    a Vagrant machine without a domain; where nothing is named and machines are to be changed; and where there is none.
    """
    paused = wanted.held if held or (held is None and not changing) else frozenset[str]()
    selection = _with_hosts(guests, wanted, paused, changing=changing)
    if not selection.nodes:
        raise UsageError("no node is running", "start one, or choose another libvirt with --connect")
    out = excluded(guests, wanted)
    selection = replace(selection, nodes=tuple(one for one in selection.nodes if one.guest not in out))
    if not selection.nodes:
        raise UsageError("--exclude leaves no node", "clockstep nodes lists the nodes that a command would target")
    if changing:
        _refuse_twice(selection)
    return selection


def excluded(guests: Sequence[Guest], wanted: Wanted) -> list[Guest]:
    """Return the machines that --exclude takes out. Raises UsageError for a pattern that matches none: a typing error
    must not let a command work on what it should leave alone.
    """
    for pattern in wanted.excluded:
        if not any(_means(pattern, guest, wanted) for guest in guests):
            raise _unknown(pattern, guests, ", which --exclude names", wanted)
    return [guest for guest in guests if any(_means(pattern, guest, wanted) for pattern in wanted.excluded)]


def unknown(guests: Sequence[Guest], wanted: Wanted) -> tuple[str, ...]:
    """Return the names and globs that mean none of these machines: they may be names of Nodes."""
    unasked = replace(wanted, node_names=NodeNames())
    return tuple(
        pattern
        for pattern in (*_patterns(wanted, wanted.names), *wanted.excluded)
        if not any(_means_yet(pattern, guest, unasked) for guest in guests)
    )


def is_chosen(guest: Guest, wanted: Wanted) -> bool:
    """Whether a machine is meant, also one that came after `select`."""
    if any(_means(pattern, guest, wanted) for pattern in wanted.excluded):
        return False
    if patterns := _patterns(wanted, wanted.chosen):
        return any(_means_yet(pattern, guest, wanted) for pattern in patterns)
    return wanted.everything or guest.uuid in wanted.called


def matched(guests: Sequence[Guest], wanted: Wanted) -> frozenset[str]:
    """Return the names and globs that mean one of these machines at least."""
    return frozenset(
        pattern
        for pattern in _patterns(wanted, wanted.chosen)
        if any(_means_yet(pattern, guest, wanted) for guest in guests)
    )


def _patterns(wanted: Wanted, chosen: tuple[str, ...]) -> tuple[str, ...]:
    return chosen or (wanted.cluster.nodes if wanted.cluster and not wanted.everything else ())


def _with_hosts(guests: Sequence[Guest], wanted: Wanted, held: frozenset[str], *, changing: bool) -> Selection:
    """Return what is meant of the hypervisors' machines, if any of them is asked for, and all hosts."""
    hosts = tuple(Selected(guest, "named by --ssh") for guest in guests if guest.connection == SSH)
    if wanted.hosts_alone:
        return Selection(Choice.ARGUMENTS, "--ssh", hosts)
    listed = _select([guest for guest in guests if guest.connection != SSH], wanted, held, changing=changing)
    return replace(listed, text=f"{listed.text}, and --ssh", nodes=(*listed.nodes, *hosts)) if hosts else listed


def _select(guests: Sequence[Guest], wanted: Wanted, held: frozenset[str], *, changing: bool) -> Selection:
    if wanted.chosen:
        return Selection(Choice.ARGUMENTS, "the arguments", _matching(guests, wanted.chosen, "", wanted))
    if wanted.everything:
        return Selection(Choice.ARGUMENTS, "--all", _running(guests, held))
    if wanted.cluster:
        return _of_cluster(guests, wanted.cluster, wanted)
    if wanted.project:
        return _of_project(guests, wanted.project)
    if changing:
        hint = "name them (globs work: 'node*'), use --all, or write a clockstep.toml; clockstep nodes lists them"
        raise UsageError("no nodes specified", hint)
    return Selection(Choice.RUNNING, "default: everything that runs", _running(guests, held))


def _of_cluster(guests: Sequence[Guest], cluster: Cluster, wanted: Wanted) -> Selection:
    choice = Choice.CLUSTER if cluster.asked else Choice.CONFIGURATION
    text = f"[cluster.{cluster.name}] of {cluster.origin}"
    if cluster.nodes:
        return Selection(choice, text, _matching(guests, cluster.nodes, f", which {text} names", wanted))
    if wanted.project is None:
        raise UsageError(f"{text} names no nodes", "add nodes = [...]; only a Vagrant project has nodes without it")
    found = _of_project(guests, wanted.project)
    return Selection(choice, f"{text}, and {found.text}", found.nodes)


def _of_project(guests: Sequence[Guest], project: Project) -> Selection:
    machines = project.called
    nodes = tuple(
        Selected(guest, f"Vagrant's machine {machines[guest.uuid]}") for guest in guests if guest.uuid in machines
    )
    if gone := sorted(machines[uuid] for uuid in set(machines) - {one.guest.uuid for one in nodes}):
        text = f"the domain of Vagrant's machine {', '.join(gone)} is not here (project {project.folder})"
        raise UsageError(text, "choose the libvirt that it runs on with --connect, name the nodes, or use --all")
    return Selection(Choice.VAGRANT, f"the Vagrant project {project.folder}", nodes)


def _running(guests: Iterable[Guest], held: frozenset[str]) -> tuple[Selected, ...]:
    return tuple(
        Selected(guest, "running" if guest.state == "running" else "paused by clockstep")
        for guest in guests
        if guest.state == "running" or (guest.state == "paused" and guest.uuid in held)
    )


def _matching(guests: Sequence[Guest], patterns: Sequence[str], of: str, wanted: Wanted) -> tuple[Selected, ...]:
    why: dict[Guest, str] = {}
    for pattern in patterns:
        _refuse_two_meanings(pattern, guests, wanted.called)
        matching = [guest for guest in guests if _means(pattern, guest, wanted)] or _only(pattern, guests)
        if not matching:
            raise _unknown(pattern, guests, of, wanted)
        for guest in matching:
            why.setdefault(guest, _why(pattern, guest, wanted.node_names))
    return tuple(Selected(guest, why[guest]) for guest in guests if guest in why)


def _why(pattern: str, guest: Guest, node_names: NodeNames) -> str:
    if name := node_names.name_of(guest, pattern):
        return f"its Node is {name}"
    return "named" if pattern in guest.names else f"matches {pattern}"


def _means(pattern: str, guest: Guest, wanted: Wanted) -> bool:
    """Whether a name or a glob means a guest; with its connection only by the whole name."""
    if pattern in guest.names or any(fnmatchcase(name, pattern) for name in (guest.name, guest.recorded)):
        return True
    return bool(wanted.node_names.name_of(guest, pattern))


def _only(name: str, guests: Sequence[Guest]) -> list[Guest]:
    """Return the machine that has this name at its connection, if it is one alone; a host may have it too."""
    having = [guest for guest in guests if guest.recorded == f"{name}@{guest.connection}"]
    return having if len(having) == 1 else []


def _means_yet(pattern: str, guest: Guest, wanted: Wanted) -> bool:
    """Whether a name or a glob means a guest whose name may have changed since, as others of its name came."""
    if wanted.project and pattern in (called := wanted.called).values():
        return called.get(guest.uuid) == pattern
    return _means(pattern, guest, wanted) or pattern == guest.recorded.removesuffix(f"@{guest.connection}")


def _refuse_two_meanings(name: str, guests: Sequence[Guest], called: Mapping[str, str]) -> None:
    """Raise UsageError for Vagrant's name of one machine that is libvirt's name of another."""
    mine = [guest for guest in guests if called.get(guest.uuid) == name]
    others = [guest for guest in guests if name in guest.names and guest not in mine]
    if mine and others:
        meant = " or ".join(guest.names[-1] if guest in others else guest.name for guest in (*mine, *others))
        raise UsageError(f"{name!r} is Vagrant's machine {mine[0].name}, and another machine too", f"use {meant}")


def _unknown(pattern: str, guests: Sequence[Guest], of: str, wanted: Wanted) -> UsageError:
    if homeless := wanted.node_names.homeless.get(pattern):
        text = f"no machine here is known to be the Node {_listed(homeless)}{of}"
        return UsageError(text, "clockstep nodes --all lists what is matched; --connect chooses another libvirt")
    if wanted.selector and pattern == wanted.selector.pattern:
        text = f"no Node has the labels {wanted.selector.text!r}"
        return UsageError(text, "kubectl get nodes --show-labels lists all labels")
    return _no_machine(pattern, guests, of, wanted.called, wanted.node_names.known)


def _no_machine(
    pattern: str, guests: Sequence[Guest], of: str, called: Mapping[str, str], others: Sequence[str]
) -> UsageError:
    if several := [
        guest.name
        for guest in guests
        if guest.recorded == f"{pattern}@{guest.connection}" or called.get(guest.uuid) == pattern
    ]:
        text = f"more than one connection has a node {pattern!r}{of}"
        return UsageError(text, f"use {' or '.join(several)}")
    names = list(dict.fromkeys([*(guest.name for guest in guests), *others]))
    if near := get_close_matches(pattern, names):
        return UsageError(f"there is no node {pattern!r}{of}", f"did you mean {' or '.join(near)}?")
    return UsageError(f"there is no node {pattern!r}{of}", f"there are: {_listed(names) or 'none at all'}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _refuse_twice(selection: Selection) -> None:
    """Raise UsageError where one machine is there by two connections: two loops would both step its clock."""
    seen: dict[str, Guest] = {}
    for guest in (one.guest for one in selection.nodes):
        if (other := seen.setdefault(guest.uuid, guest)) is not guest:
            text = f"{other.name} and {guest.name} are the same machine, by two connections"
            raise UsageError(text, "name one of them, or leave out a connection")
