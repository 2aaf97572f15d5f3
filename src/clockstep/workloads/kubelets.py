"""How a node's kubelet is run, and its restart: once for each certificate, which the node itself remembers.

The note is in /run, so it goes back with the machine at a revert, and is gone when the node boots.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from clockstep.core.foreign import bounded, understood
from clockstep.core.sections import LAST, sections
from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.model.damage import KubeletUnit
from clockstep.ports import Reach
from clockstep.units import SECOND_NS

MOST, LONGEST = 50, 64
LOOK = program("kubelet/look.sh", MOST=MOST)
RESTART = program("kubelet/restart.sh")


def kubelet(reach: Reach, deadline_ns: int) -> KubeletUnit:
    """Return how a node's kubelet is run, without the node's name. Raises ReachError if the node does not say."""
    said = sections(reach.run(["/bin/sh", "-c", LOOK, "clockstep", ""], b"", deadline_ns).out)
    if LAST not in said:
        raise ReachError("the node does not say how its kubelet is run", "check that it has a shell and sed")
    unit = "".join(said.get("unit", ())[:1])[:LONGEST]
    started, now = ("".join(said.get(name, ())[:1]) for name in ("started", "now"))
    return KubeletUnit("", unit, dict(_restarts(said.get("restarts", ()), started, now)), "bootstraps" in said)


def _restarts(lines: Sequence[str], started: str, now: str) -> Iterator[tuple[str, int]]:
    """Give for what the unit was restarted, and how long ago; not what was noted and then not carried out."""
    for line in lines[:MOST]:
        words = line.split()
        if len(words) == 3 and words[1] != started and (ago_ns := understood(_ago, f"{now} {words[2]}")) is not None:
            yield words[0][:LONGEST], ago_ns


def _ago(uptimes: str) -> int:
    now, at = map(Decimal, uptimes.split())
    return bounded((now - at) * SECOND_NS)


def restart_kubelet(reach: Reach, mark: str, deadline_ns: int) -> None:
    """Have the kubelet of a node restarted, and noted there what for. Raises ReachError if that was not done."""
    done = reach.run(["/bin/sh", "-c", RESTART, "clockstep", "", mark], b"", deadline_ns)
    said = sections(done.out)
    if "missing" in said:
        raise ReachError("no service of systemd runs the kubelet there alone", lasting=True)
    if LAST not in said or "restarted" not in said:
        hint = "look at it there: systemctl status kubelet"
        raise ReachError(f"the kubelet was not restarted: {done.err.strip() or 'no reason was given'}", hint)
