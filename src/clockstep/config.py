"""clockstep.toml: clusters by name, each with its nodes, where they run, and what a step may do there."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from clockstep.core.selection import Cluster, Limits
from clockstep.errors import UsageError
from clockstep.host.trust import caller, objection
from clockstep.model import KubeAccess
from clockstep.units import parse_duration

FILE = "clockstep.toml"
OWN = "config.toml"
VARIABLE = "CLOCKSTEP_CONFIG"
STARTS_PROGRAM = re.compile(r"^[^:/?]*\+ext\b|[?&](command|netcat|proxy|keyfile|sshauth|known_hosts)=", re.IGNORECASE)
T = TypeVar("T")


class Duration(int):
    """A length of time in nanoseconds, which is a text with a unit in the file."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cluster: dict[str, Any]


class _Kubernetes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kubeconfig: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\0]*$")] | None = None
    context: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ()
    connect: Annotated[str, msgspec.Meta(min_length=1)] | tuple[str, ...] = ()
    tolerance: Duration | None = None
    deadline: Duration | None = None
    max_forward: Duration | None = None
    allow_backward: bool | None = None
    require_sync: bool | None = None
    require_synced_host: bool | None = None
    freeze: bool | tuple[str, ...] = False
    on_corrected: (
        Annotated[
            tuple[Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\0]*$")], ...], msgspec.Meta(min_length=1)
        ]
        | None
    ) = None
    kubernetes: _Kubernetes | None = None


NAMED = "name a configuration with --config"
HINT = f"a [cluster.NAME] has {', '.join(_Table.__struct_fields__)}"


class Source(Enum):
    """Why a configuration is the one that is meant, from what counts first to what counts last."""

    OPTION = "option"
    VARIABLE = "variable"
    FOLDER = "folder"
    ABOVE = "above"
    VAGRANT = "vagrant"
    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a configuration may be, and why it would be the one that is meant."""

    path: str
    source: Source

    @property
    def named(self) -> bool:
        """Whether somebody named the file."""
        return self.source in {Source.OPTION, Source.VARIABLE}

    @property
    def own(self) -> bool:
        """Whether it is in the folder that the user or the system has for it."""
        return self.source in {Source.USER, Source.SYSTEM}


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What `config show` prints: the file that is used, why it is, what it says, and where else one was looked for."""

    path: str
    source: Source | None
    clusters: tuple[Cluster, ...]
    searched: tuple[str, ...]
    schema_version: int = 2


def places(
    file: str | None, environ: Mapping[str, str], project: Path | None, *, here: Path = Path(), own: bool = True
) -> tuple[Place, ...]:
    """Return where a configuration is looked for, the first place first; only a file that is named need be there.

    That is FILE, CLOCKSTEP_CONFIG, the current folder and those above it, the Vagrant project's and the user's and the
    system's own. Without `own` these two do not count, nor what is above the project: it names the nodes itself.
    """
    if file:
        return (Place(file, Source.OPTION),)
    if named := environ.get(VARIABLE):
        return (Place(named, Source.VARIABLE),)
    inside = project is not None and _absolute(here).is_relative_to(project)
    folders = [one for one in _absolute(here).parents if own or not inside or one.is_relative_to(str(project))]
    above = [Place(str(here / FILE), Source.FOLDER), *(Place(str(one / FILE), Source.ABOVE) for one in folders)]
    vagrant = [Place(str(project / FILE), Source.VAGRANT)] if project else []
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config")
    owned = [
        Place(str(home / "clockstep" / OWN), Source.USER),
        Place(f"/etc/clockstep/{OWN}", Source.SYSTEM),
    ]
    return (*above, *vagrant, *(owned if own else ()))


def _absolute(folder: Path) -> Path:
    """Return the full path of a folder, or as it is if the current folder is gone."""
    try:
        return folder.absolute()
    except FileNotFoundError:
        return folder


def show(searched: Sequence[Place], name: str | None = None) -> ConfigReport:
    """Return the configuration that is used, with one cluster or all. Raises UsageError as `read_cluster` does."""
    looked = tuple(place.path for place in searched)
    found = find(searched)
    if found is None:
        return ConfigReport("", None, (), looked)
    clusters = _read(found)
    chosen = (_named(clusters, name, found.path),) if name else tuple(clusters.values())
    return ConfigReport(found.path, found.source, chosen, looked)


def find(searched: Sequence[Place]) -> Place | None:
    """Return the first place that has a configuration. Raises UsageError if somebody else may have written it.

    A file of the user's or the system's own that has comments alone, as packages bring it, is none.
    """
    there = (place for place in searched if place.named or _is_there(Path(place.path)))
    found = next((place for place in there if not (place.own and _only_comments(Path(place.path)))), None)
    if found and not found.named:
        _refuse_foreign(Path(found.path))
    return found


def _is_there(path: Path) -> bool:
    """Whether a configuration is there, even as a link that leads nowhere; not where this user may not look."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _only_comments(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ["?"]
    except (OSError, ValueError):
        return False  # whoever reads it as a configuration says why not
    return all(not line.strip() or line.lstrip().startswith("#") for line in lines)


def read_cluster(searched: Sequence[Place], name: str | None) -> Cluster | None:
    """Return the cluster that is meant, of the first of these places that has a configuration.

    None if none of them has one, and no cluster is named.

    Raises UsageError if the file or the cluster is not there, the file cannot be read, is invalid or may have been
    written by somebody else, or if it has several clusters and none is named.
    """
    found = find(searched)
    if found is None:
        if name:
            text = f"no configuration was found, so there is no cluster {name!r}"
            raise UsageError(text, f"write {FILE}, or name a configuration with --config")
        return None
    clusters = _read(found)
    if name:
        return replace(_named(clusters, name, found.path), asked=True)
    if len(clusters) > 1:
        raise UsageError(f"{found.path} has several clusters: {', '.join(clusters)}", "choose one with --cluster")
    return next(iter(clusters.values()))


def _read(found: Place) -> dict[str, Cluster]:
    clusters = parse(_text(found.path), found.path)
    for file in (one.kubernetes.kubeconfig for one in clusters.values() if one.kubernetes):
        if file and _is_there(Path(file)):
            _refuse_foreign(Path(file), "if you trust it, name it with --kubeconfig")
    if not (found.named or found.own):
        _refuse_programs(clusters, found.path)
        return {name: _passive(cluster) for name, cluster in clusters.items()}
    return clusters


def _passive(cluster: Cluster) -> Cluster:
    """Return a cluster whose kubeconfig may start no program: neither it nor its configuration was named by anybody."""
    access = cluster.kubernetes
    return replace(cluster, kubernetes=replace(access, passive=True)) if access and access.kubeconfig else cluster


def _refuse_foreign(file: Path, hint: str = "if you trust it, name it with --config") -> None:
    """Raise UsageError for a file that nobody has named and that somebody else may have written."""
    target = Path(os.path.realpath(file))
    try:
        regular = target.is_file()
        why = objection((file, file.absolute().parent, target, target.parent), caller())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", NAMED) from error
    if not regular:
        raise UsageError(f"{file} cannot be read: not a regular file", NAMED)
    if why:
        raise UsageError(f"{file} is not trusted: {why}", hint)


def _refuse_programs(clusters: Mapping[str, Cluster], origin: str) -> None:
    """Raise UsageError for such a file that starts programs: by its addresses (libvirt.org/uri.html), or as a hook."""
    for cluster in clusters.values():
        if cluster.on_corrected:
            text = f"{origin} is not trusted: on_corrected of [cluster.{cluster.name}] starts a program"
            raise UsageError(text, "if you trust it, name the file with --config")
    for address in (one for cluster in clusters.values() for one in cluster.connect):
        if STARTS_PROGRAM.search(address):
            text = f"{origin} is not trusted: {address} makes libvirt start a program"
            raise UsageError(text, "if you trust it, name the file with --config")


def parse(text: str, origin: str) -> dict[str, Cluster]:
    """Return the clusters that a file describes, at least one.

    Raises UsageError with the file's name and the path of the wrong key.
    """
    try:
        tables = _converted(tomllib.loads(text), _File, origin).cluster
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is one; so is a number of 5,000 digits
        raise UsageError(f"{origin}: not valid TOML: {error}", "see https://toml.io for the syntax") from error
    if not tables:
        raise UsageError(f"{origin}: no cluster in it", HINT)
    return {name: _cluster(table, name, origin) for name, table in tables.items()}


def _cluster(found: Any, name: str, origin: str) -> Cluster:
    table = _converted(found, _Table, origin, f"cluster.{name}")
    _refuse_nothing(table, origin, f"cluster.{name}")
    connect = (table.connect,) if isinstance(table.connect, str) else table.connect
    limits = Limits(
        _plain(table.tolerance),
        _plain(table.deadline),
        _plain(table.max_forward),
        table.allow_backward,
        table.require_sync,
        table.require_synced_host,
    )
    freeze = (() if table.freeze else None) if isinstance(table.freeze, bool) else table.freeze
    return Cluster(
        name,
        origin,
        table.nodes,
        connect,
        limits,
        freeze=freeze,
        on_corrected=table.on_corrected or (),
        kubernetes=_kubernetes(table.kubernetes, Path(origin).parent),
    )


def _plain(duration: Duration | None) -> int | None:
    """Return a length of time as records have it: JSON is made of no other kind of number."""
    return None if duration is None else int(duration)


def _kubernetes(table: _Kubernetes | None, folder: Path) -> KubeAccess | None:
    """Return which Kubernetes cluster is meant; a kubeconfig is found from the configuration's folder, as `~` is."""
    if table is None:
        return None
    file = str(folder / os.path.expanduser(table.kubeconfig)) if table.kubeconfig else ""  # noqa: PTH111 - raises never
    return KubeAccess(file, table.context or "")


def _converted(found: Any, kind: type[T], origin: str, path: str = "") -> T:
    try:
        return msgspec.convert(found, kind, dec_hook=_duration)
    except msgspec.ValidationError as error:
        text, _, below = str(error).partition(" - at `$")
        where = (path + below.rstrip("`")).lstrip(".")
        raise UsageError(f"{origin}: {where + ': ' if where else ''}{text}", HINT) from error


def _duration(_kind: type, found: Any) -> Duration:
    """Return what a text means; msgspec adds the path to a ValueError and a TypeError."""
    if not isinstance(found, str):
        raise TypeError(f"Expected `str`, got `{type(found).__name__}`")
    try:
        return Duration(parse_duration(found))
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error


def _refuse_nothing(table: _Table, origin: str, path: str) -> None:
    """Raise UsageError for a tolerance or a deadline that nothing can meet."""
    for name, value in (("tolerance", table.tolerance), ("deadline", table.deadline)):
        if value is not None and value <= 0:
            raise UsageError(f"{origin}: {path}.{name}: must be more than 0", HINT)


def _named(clusters: dict[str, Cluster], name: str, origin: str) -> Cluster:
    if name not in clusters:
        raise UsageError(f"{origin} has no cluster {name!r}", f"it has: {', '.join(clusters)}")
    return clusters[name]


def _text(origin: str) -> str:
    try:
        return Path(origin).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {origin}", NAMED) from error
    except OSError as error:
        raise UsageError(f"{origin} cannot be read: {error.strerror}", NAMED) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{origin} cannot be read: {error}", NAMED) from error
