"""Which machines a revert or a deletion is about, decided from the snapshots that there are. Pure.

A set of clockstep's records its members. A snapshot of another tool does not: somebody has to say of which machines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clockstep.errors import UsageError
from clockstep.model import Guest, Snapshot

Found = Mapping[Guest, Sequence[Snapshot]]
LIST = "clockstep snapshot list shows all snapshots"


@dataclass(frozen=True, slots=True)
class Scope:
    """Who is meant: machines that are `named`, or those that a cluster or project is `of`, or all if it says so.

    Those of `without` are left out, whatever else says that they are meant.
    """

    named: tuple[Guest, ...] = ()
    of: tuple[Guest, ...] | None = None
    everything: bool = False
    without: tuple[Guest, ...] = ()


def targets(found: Found, name: str | None, scope: Scope, *, whole: bool = True) -> dict[Guest, Snapshot]:
    """Return which snapshot of each machine is meant; without a name, the newest set of clockstep's within the scope.

    Raises UsageError with every reason why that is unclear or, where the `whole` set is wanted, cannot be had.
    """
    among = _among(found, scope)
    name = newest(among) if name is None else name
    having = {guest: one for guest, listed in among.items() for one in listed if one.name == name}
    ids = {one.set_id for one in having.values()}
    if not having:
        raise UsageError(f"no node has a snapshot {name!r}", LIST)
    if scope.named or ids == {None}:
        if not (scope.named or scope.everything or scope.of):
            text = f"the snapshot {name!r} was taken by another tool, and does not record its nodes"
            raise UsageError(text, f"name them, or use --all; {LIST}")
        chosen = {guest: having.get(guest) for guest in among if scope.named or scope.of or guest in having}
    else:
        _refuse_several(name, ids)
        members = _members(name, found, having, whole=whole)
        _refuse_beyond(name, members, among)
        chosen = {guest: having.get(guest) for guest in members}
    return _complete(name, _without(chosen, scope.without), whole=whole)


def _without(chosen: Mapping[Guest, Snapshot | None], left_out: Sequence[Guest]) -> dict[Guest, Snapshot | None]:
    keys = {guest.key for guest in left_out}
    kept = {guest: snapshot for guest, snapshot in chosen.items() if guest.key not in keys}
    if not kept:
        raise UsageError("--exclude leaves no node", LIST)
    return kept


def newest(found: Found) -> str:
    """Return the name of the newest set; raises UsageError where there is none."""
    ours = [snapshot for listed in found.values() for snapshot in listed if snapshot.set_id is not None]
    if not ours:
        raise UsageError("no snapshot was taken by clockstep", LIST)
    return max(ours, key=lambda snapshot: snapshot.created_ns).name


def _among(found: Found, scope: Scope) -> Found:
    chosen = scope.named or scope.of
    if not chosen:
        return found
    keys = {guest.key for guest in chosen}
    return {guest: listed for guest, listed in found.items() if guest.key in keys}


def _members(name: str, found: Found, having: Iterable[Guest], *, whole: bool) -> list[Guest]:
    recorded = {member for guest in having for one in found[guest] if one.name == name for member in one.members or ()}
    recorded |= {guest.recorded for guest in having}
    there = [guest for guest in found if guest.recorded in recorded]
    gone = sorted(recorded - {guest.recorded for guest in there})
    if gone and whole:
        text = f"{name!r} is a snapshot of {', '.join(gone)} too, and there is no such node"
        raise UsageError(text, "name the nodes to revert those alone")
    return there


def _refuse_several(name: str, ids: Iterable[str | None]) -> None:
    if len(set(ids)) > 1:
        text = f"there are snapshots {name!r} that were not taken together"
        raise UsageError(text, "nothing was changed; name the nodes, or the cluster; " + LIST)


def _refuse_beyond(name: str, members: Sequence[Guest], among: Found) -> None:
    if beyond := [guest.name for guest in members if guest not in among]:
        text = f"the snapshot {name!r} is of {', '.join(beyond)} too, which the cluster or project does not name"
        raise UsageError(text, "nothing was changed; name the nodes to work on those alone")


def _complete(name: str, chosen: Mapping[Guest, Snapshot | None], *, whole: bool) -> dict[Guest, Snapshot]:
    having = {guest: one for guest, one in chosen.items() if one is not None}
    if whole and (missing := [guest.name for guest in chosen if guest not in having]):
        raise UsageError(f"no snapshot {name!r}: {', '.join(missing)}", f"nothing was changed; {LIST}")
    _refuse_several(name, {one.set_id for one in having.values()})
    return having
