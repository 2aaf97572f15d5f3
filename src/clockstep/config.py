"""clockstep.toml: clusters by name, each with its nodes, where they run, and what a step may do there."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from clockstep.core.selection import Cluster, Limits
from clockstep.errors import UsageError
from clockstep.host.trust import caller, objection
from clockstep.units import parse_duration

FILE = "clockstep.toml"
STARTS_PROGRAM = re.compile(r"^[^:/?]*\+ext\b|[?&](command|netcat|proxy|keyfile|sshauth|known_hosts)=", re.IGNORECASE)
T = TypeVar("T")


class Duration(int):
    """A length of time in nanoseconds, which is a text with a unit in the file."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cluster: dict[str, Any]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ()
    connect: str | tuple[str, ...] = ()
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


HINT = f"a [cluster.NAME] has {', '.join(_Table.__struct_fields__)}"


def read_cluster(file: str | None, name: str | None, folders: Sequence[Path] = (Path(),)) -> Cluster | None:
    """Return the cluster that is meant, of `file` or else of the first clockstep.toml in these folders.

    None where none of them has one, and no cluster is named.

    Raises UsageError where the file or the cluster is not there, the file cannot be read or has something wrong
    in it, and where it has several clusters and none is named.
    """
    found = file or next((str(folder / FILE) for folder in folders if (folder / FILE).exists()), None)
    if not found and not name:
        return None
    origin = found or FILE
    if not file:
        _refuse_foreign(Path(origin))
    clusters = parse(_text(origin), origin)
    if not file:
        _refuse_programs(clusters, origin)
    if name:
        return replace(_named(clusters, name, origin), asked=True)
    if len(clusters) > 1:
        raise UsageError(f"{origin} has several clusters: {', '.join(clusters)}", "say which with --cluster")
    return next(iter(clusters.values()))


def _refuse_foreign(file: Path) -> None:
    """Raise UsageError for a file that nobody has named and that somebody else may have written."""
    if why := objection((file, file.absolute().parent), caller()):
        raise UsageError(f"{file} is not used: {why}", "if it is to be believed, name it with --config")


def _refuse_programs(clusters: Mapping[str, Cluster], origin: str) -> None:
    """Raise UsageError for such a file that starts programs: by its addresses (libvirt.org/uri.html), or as a hook."""
    for cluster in clusters.values():
        if cluster.on_corrected:
            text = f"{origin} is not used: on_corrected of [cluster.{cluster.name}] starts a program"
            raise UsageError(text, "if that is meant, name the file with --config")
    for address in (one for cluster in clusters.values() for one in cluster.connect):
        if STARTS_PROGRAM.search(address):
            text = f"{origin} is not used: {address} has libvirt start a program"
            raise UsageError(text, "if that is meant, name the file with --config")


def parse(text: str, origin: str) -> dict[str, Cluster]:
    """Return the clusters that a file describes, at least one.

    Raises UsageError with the file's name and the path of the wrong key.
    """
    try:
        tables = _converted(tomllib.loads(text), _File, origin).cluster
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is one; so is a number of 5,000 digits
        raise UsageError(f"{origin}: {error}", "its form is TOML: see https://toml.io") from error
    if not tables:
        raise UsageError(f"{origin}: it has no cluster", HINT)
    return {name: _cluster(table, name, origin) for name, table in tables.items()}


def _cluster(found: Any, name: str, origin: str) -> Cluster:
    table = _converted(found, _Table, origin, f"cluster.{name}")
    connect = (table.connect,) if isinstance(table.connect, str) else table.connect
    limits = Limits(
        table.tolerance,
        table.deadline,
        table.max_forward,
        table.allow_backward,
        table.require_sync,
        table.require_synced_host,
    )
    freeze = (() if table.freeze else None) if isinstance(table.freeze, bool) else table.freeze
    return Cluster(name, origin, table.nodes, connect, limits, freeze=freeze, on_corrected=table.on_corrected or ())


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


def _named(clusters: dict[str, Cluster], name: str, origin: str) -> Cluster:
    if name not in clusters:
        raise UsageError(f"{origin} has no cluster {name!r}", f"it has: {', '.join(clusters)}")
    return clusters[name]


def _text(origin: str) -> str:
    try:
        return Path(origin).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {origin}", "name a configuration with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{origin} cannot be read: {error}") from error
