"""Epochs: steps of the clock so large that what was issued before them may have lapsed. Pure.

A step larger than a certificate's whole life leaves none of it. Which certificates a cluster has nobody sees from its
nodes alone, so a day is enough: no longer live the tokens of network plugins (calico) and the identities of meshes
(Istio, Linkerd), as they are set up by default.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clockstep.core.certificates import is_valid
from clockstep.model import Certificate, Episode, Step
from clockstep.units import DAY_NS, MINUTE_NS, show_duration

LONGEST_NS = DAY_NS
LEAST_NS = MINUTE_NS
"""Nothing is issued for less."""
SAME_NS = 10 * MINUTE_NS
"""Nodes whose clocks are stepped within this time are in one epoch."""
DO = "run clockstep aftermath --repair"


@dataclass(frozen=True, slots=True)
class Epoch:
    """When it began, in nanoseconds of the monotonic clock, and whose clocks it moved."""

    began_ns: int
    machines: frozenset[str]


def stepped(episode: Episode) -> int:
    """Return by how much an Episode has moved the clock, in nanoseconds."""
    return sum(one.by_ns for one in episode.actions if isinstance(one, Step) and not one.unconfirmed)


def shortest_life(certificates: Iterable[Certificate]) -> int:
    """Return the shortest life of these certificates, and no more than `LONGEST_NS`."""
    lives = (one.not_after_ns - one.not_before_ns for one in certificates if one.not_after_ns is not None)
    return min((LONGEST_NS, *(life_ns for life_ns in lives if life_ns > 0)))


def proposal(by_ns: int, life_ns: int, certificates: Sequence[Certificate], now_ns: int) -> str:
    """Return what a step by so much proposes, in a sentence; nothing if that is nothing.

    `life_ns` is the shortest life of a certificate seen so far; `certificates` are the node's, and `now_ns` is by the
    reference.
    """
    lapsed = [one for one in certificates if not is_valid(one, now_ns)]
    if lapsed:
        why = f"{lapsed[0].path} is not valid now"
    elif abs(by_ns) <= life_ns:
        return ""
    elif life_ns < LONGEST_NS:
        why = f"the shortest certificate life seen is {show_duration(life_ns)}"
    else:
        why = f"tokens and identities that live for {show_duration(LONGEST_NS)} have lapsed"
    return f"clock stepped by {show_duration(abs(by_ns))}{'' if by_ns > 0 else ' backward'}, and {why}: {DO}"


def entered(epoch: Epoch | None, machine: str, now_ns: int) -> tuple[Epoch, bool]:
    """Return the epoch that a machine is in after such a step, and whether that has just begun.

    One that was in it already begins the next: it was reverted once more.
    """
    if epoch is None or machine in epoch.machines or now_ns - epoch.began_ns >= SAME_NS:
        return Epoch(now_ns, frozenset({machine})), True
    return Epoch(epoch.began_ns, epoch.machines | {machine}), False
