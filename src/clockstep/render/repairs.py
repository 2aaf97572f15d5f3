"""What became of each finding of the aftermath that was to be repaired, on a line."""

from clockstep.model import Healed, Repair
from clockstep.units import show_duration

OUTCOMES = {
    Healed.HEALED: "healed",
    Healed.NOT_HEALED: "not healed",
    Healed.SKIPPED: "skipped",
    Healed.LEFT: "left",
}


def repair_line(one: Repair) -> str:
    """Say what became of one finding."""
    act = f"{one.act.deed.value} {one.act.on}" if one.act else str(one.broken.on)
    took = f" after {show_duration(one.proven_ns - one.at_ns)}" if one.proven_ns and one.at_ns else ""
    why = f": {one.why}" if one.why else ""
    return f"{one.broken.code}  {act}: {OUTCOMES[one.outcome]}{took}{why}"
