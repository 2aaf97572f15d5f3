"""What a check and a remedy are, and how checks are carried out. Pure.

After istio's analyzers (pkg/config/analysis: inputs are declared, a check is pure) and linkerd's (pkg/healthcheck: a
deadline for each, and its own word for "could not look").
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from clockstep.model import Act, Broken, Looked, State
from clockstep.model.damage import Input, Seen, Unread

F = TypeVar("F")
FROM_NODES = {Input.SERVED, Input.FILES, Input.TOKENS, Input.KUBELETS, Input.STEPS}
MOST_GAPS = 3
"""How many gaps are named."""


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """One look for one kind of damage.

    `code` is its section in docs/aftermath.md. `needs` is what has to be gathered; of `any_of` one input is enough.
    `also` is what has to be gathered where the cluster has such a kind, and `for_cure` what only its remedy, or
    how long it waits, goes by.
    `after` are checks that must have found nothing, or this one's findings would mean nothing. `patience_ns` is how
    long it takes at most until the damage has healed by itself. `gaps` says what could not be looked at although all
    inputs are there: then nothing found is not "clean".
    """

    code: str
    title: str
    find: Callable[[F], Iterable[Broken]]
    needs: tuple[Input, ...]
    any_of: tuple[Input, ...] = ()
    also: tuple[Input, ...] = ()
    for_cure: tuple[Input, ...] = ()
    after: tuple[str, ...] = ()
    patience_ns: int = 0
    gaps: Callable[[F], Iterable[str]] = lambda _seen: ()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All that is gathered for it; what is seen from nodes takes knowing which machine is which Node."""
        named = (*self.needs, *self.any_of, *self.also, *self.for_cure)
        return (*named, Input.NODES) if FROM_NODES & set(named) else named


@dataclass(frozen=True, slots=True)
class Remedy(Generic[F]):
    """What cures the findings of one check: an act, or the reason why clockstep does none."""

    code: str
    plan: Callable[[F, Broken], Act | str]


def inputs(checks: Iterable[Check[F]]) -> frozenset[Input]:
    """Return all that these checks need."""
    return frozenset(needed for check in checks for needed in check.inputs)


def look(checks: Sequence[Check[Seen]], seen: Seen) -> tuple[Looked, ...]:
    """Return what each check comes to, in their order."""
    done: dict[str, Looked] = {}
    for check in checks:
        done[check.code] = _looked(check, seen, done)
    return tuple(done.values())


def _looked(check: Check[Seen], seen: Seen, before: Mapping[str, Looked]) -> Looked:
    if why := _missing(check, seen.unread):
        return Looked(check.code, check.title, State.ABSENT if why.absent else State.NOT_LOOKED, why.why)
    for code in check.after:
        if code in before and (found := before[code].broken):
            why_not = f"{code} comes first: {found[0].text}"
            return Looked(check.code, check.title, State.NOT_LOOKED, why_not)
    broken, gaps = tuple(check.find(seen)), sorted(set(check.gaps(seen)))
    state = State.BROKEN if broken else State.NOT_LOOKED if gaps else State.CLEAN
    more = f", and {len(gaps) - MOST_GAPS} more" if len(gaps) > MOST_GAPS else ""
    return Looked(check.code, check.title, state, f"{'; '.join(gaps[:MOST_GAPS])}{more}", broken=broken)


def _missing(check: Check[Seen], unread: Mapping[Input, Unread]) -> Unread | None:
    """Return why a check cannot look; what could not be read counts before what the cluster does not have."""
    missing = [unread[needed] for needed in check.needs if needed in unread]
    missing += [unread[one] for one in check.also if one in unread and not unread[one].absent]
    if check.any_of and all(needed in unread for needed in check.any_of):
        missing += [unread[needed] for needed in check.any_of]
    return min(missing, key=lambda one: one.absent, default=None)


def at_once(checks: Sequence[Check[F]]) -> tuple[Check[F], ...]:
    """Return checks that do not wait for what may heal by itself."""
    return tuple(replace(one, patience_ns=0) for one in checks)


def chosen(checks: Sequence[Check[F]], only: Collection[str], without: Collection[str]) -> tuple[Check[F], ...]:
    """Return the checks with these codes, or all, without those."""
    return tuple(one for one in checks if (not only or one.code in only) and one.code not in without)


def with_earlier(checks: Sequence[Check[F]], wanted: Collection[str]) -> tuple[Check[F], ...]:
    """Return the checks with these codes, and those before them that must have found nothing."""
    needed = set(wanted)
    for one in reversed(checks):
        if one.code in needed:
            needed.update(one.after)
    return tuple(one for one in checks if one.code in needed)
