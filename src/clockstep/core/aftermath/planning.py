"""Which cures are carried out, in which order: by what was found, each object once, and not too many. Pure."""

from collections.abc import Iterator, Sequence

from clockstep.core.aftermath.checking import Remedy
from clockstep.model import Broken, Healed, KubeRef, Looked, Repair
from clockstep.model.damage import Seen

MOST = 20
"""How many cures one run carries out."""
BY_USER = "clockstep leaves this to you"


def plan(looked: Sequence[Looked], remedies: Sequence[Remedy[Seen]], seen: Seen) -> tuple[Repair, ...]:
    """Return what would be done about each finding, in the order of the checks."""
    return tuple(_planned(looked, remedies, seen))


def _planned(looked: Sequence[Looked], remedies: Sequence[Remedy[Seen]], seen: Seen) -> Iterator[Repair]:
    taken: set[KubeRef] = set()
    for broken in (one for check in looked for one in check.broken):
        repair = one_repair(broken, remedies, seen)
        if repair.act is None:
            yield repair
        elif repair.act.on in taken:
            yield Repair(broken, Healed.SKIPPED, why=f"{repair.act.on} is cured already, for another finding")
        elif len(taken) >= MOST:
            yield Repair(broken, Healed.SKIPPED, why=f"only {MOST} cures are carried out at once: run it again")
        else:
            taken.add(repair.act.on)
            yield repair


def one_repair(broken: Broken, remedies: Sequence[Remedy[Seen]], seen: Seen) -> Repair:
    """Return what would be done about one finding; its outcome is LEFT until something was."""
    remedy = next((one for one in remedies if one.code == broken.code), None)
    planned = remedy.plan(seen, broken) if remedy else BY_USER
    if isinstance(planned, str):
        return Repair(broken, Healed.LEFT, why=planned)
    return Repair(broken, Healed.LEFT, planned)
