"""What happened, as somebody asks afterwards: what belongs together, what was healed, and what is left to do. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

from clockstep.core.summary import was_corrected
from clockstep.model import (
    AftermathReport,
    Broken,
    Entry,
    Episode,
    Healed,
    Looked,
    Offset,
    Repair,
    State,
    Thaw,
    Verdict,
)
from clockstep.units import MINUTE_NS

DIGITS = 20
APART_NS = MINUTE_NS
"""Work that begins so long after all before it has ended belongs to something else that happened."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that was broken, and the repair of it if there was one; `is_left` is whether there is more to do."""

    broken: Broken
    repair: Repair | None
    is_left: bool


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is left to do: of what, what is wrong with it, and what to do, in words or as a command."""

    on: str
    text: str
    remedy: str = ""
    command: str = ""


def begin_ns(episode: Episode) -> int:
    """Return since when an Episode's durations run, in nanoseconds since 1970, as far as it tells.

    A clock that was proven later than the work took was off before the work began.
    """
    return episode.started_at_ns - max(0, (episode.proven_ns or 0) - episode.took_ns)


def end_ns(episode: Episode) -> int:
    """Return when the work was over, in nanoseconds since 1970."""
    return episode.started_at_ns + episode.took_ns


def incidents(entries: Iterable[Entry]) -> list[tuple[Entry, ...]]:
    """Return entries by what happened, oldest first: those whose work overlapped, or was less than a minute apart."""
    found: list[list[Entry]] = []
    until_ns = 0
    for entry in sorted(entries, key=lambda one: begin_ns(one.episode)):
        if not found or begin_ns(entry.episode) - until_ns >= APART_NS:
            found.append([])
            until_ns = end_ns(entry.episode)
        found[-1].append(entry)
        until_ns = max(until_ns, end_ns(entry.episode))
    return [tuple(one) for one in found]


def by_node(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return entries by their nodes, in the order of the names: node-2 comes before node-10."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.episode.node, []).append(entry)
    return dict(sorted(found.items(), key=lambda one: in_order(one[0])))


def in_order(name: str) -> str:
    """Return what names are sorted by, so that numbers in them count as numbers."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(DIGITS), name)


def farthest(entries: Iterable[Entry]) -> Entry | None:
    """Return the entry whose clock was surely the farthest off when it was first measured."""
    return max((one for one in entries if one.episode.before), key=lambda one: far_ns(one.episode.before), default=None)


def far_ns(offset: Offset | None) -> int:
    """Return how far off a clock is at most, its bound included; 0 if it was not read."""
    return max(abs(offset.earliest_ns), abs(offset.latest_ns)) if offset else 0


def corrected(entries: Iterable[Entry]) -> set[str]:
    """Return the nodes whose clocks were stepped or reverted."""
    return {one.episode.node for one in entries if was_corrected(one.episode)}


def unverified(entries: Iterable[Entry]) -> list[Episode]:
    """Return the last Episode of each node whose clock was not verified in it."""
    last = (found[-1].episode for found in by_node(entries).values())
    return [one for one in last if one.verdict is not Verdict.GOOD]


def damages(repairs: Iterable[Repair], aftermath: AftermathReport | None) -> list[Damage]:
    """Return all that was broken, what is left first; `repairs` are a history's, each perhaps twice.

    What the last look finds is left; what it finds no more is not. A repair that nothing looked at since is believed.
    """
    checks = aftermath.checks if aftermath else ()
    found = {one.key: one for check in checks for one in check.broken}
    gone = {check.code for check in checks if check.state in {State.CLEAN, State.ABSENT}}
    ended = {(one.broken.key, one.at_ns): one for one in (*repairs, *(aftermath.repairs if aftermath else ()))}
    newest = {one.broken.key: one for one in ended.values()}
    came = []
    for one in ended.values():
        key = one.broken.key
        is_last = newest[key] is one and one.outcome is not Healed.HEALED
        broken = found.pop(key, None) if is_last else None
        is_left = is_last and (broken is not None or one.broken.code not in gone)
        came.append(Damage(broken or one.broken, one, is_left))
    came.extend(Damage(one, None, True) for one in found.values())
    return sorted(came, key=lambda one: not one.is_left)


def left(entries: Sequence[Entry], damaged: Sequence[Damage], checks: Sequence[Looked]) -> list[Left]:
    """Return what is left to do: clocks, then frozen workloads, then what is broken, then what was not looked at."""
    return [
        *(_of_clock(one) for one in unverified(entries)),
        *_frozen(entries),
        *(_of_damage(one) for one in damaged if one.is_left),
        *(Left(one.code, f"could not look: {one.why}") for one in checks if one.state is State.NOT_LOOKED),
        *(
            Left(one.code, f"could not look at everything: {one.why}")
            for one in checks
            if one.state is State.BROKEN and one.why
        ),
    ]


def _of_clock(episode: Episode) -> Left:
    findings = [one for one in episode.findings if one.verdict is not Verdict.GOOD]
    texts = "; ".join(dict.fromkeys(one.text for one in findings))
    remedies = "; ".join(dict.fromkeys(one.remedy for one in findings if one.remedy))
    return Left(episode.node, texts or f"its clock is {episode.verdict.value}", remedies)


def _frozen(entries: Sequence[Entry]) -> Iterable[Left]:
    for node, found in by_node(entries).items():
        freeze = next((one.freeze for one in reversed(found) if one.freeze or _has_thawed(one)), None)
        if freeze and freeze.cgroups and freeze.thaw is Thaw.FROZEN:
            text = f"its workloads were left frozen: {', '.join(freeze.cgroups)}"
            yield Left(node, text, command=f"clockstep thaw {quote(node)}")


def _has_thawed(entry: Entry) -> bool:
    """Whether it is of a `thaw`, which thaws if the clock is verified."""
    return entry.by == "thaw" and entry.episode.verdict is Verdict.GOOD


def _of_damage(damage: Damage) -> Left:
    why = damage.repair.why if damage.repair else ""
    text = f"{damage.broken.text} ({why})" if why else damage.broken.text
    return Left(f"{damage.broken.code} {damage.broken.on}", text, command=damage.broken.cure)
