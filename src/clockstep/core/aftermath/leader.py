"""Leader leases from the future.

client-go's leader election goes by the observer's own monotonic clock (tools/leaderelection), so another candidate
takes over one lease duration after the last renewal that it saw. One that stays ahead is renewed by a process whose
clock is.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import AHEAD_NS
from clockstep.model import Broken
from clockstep.model.damage import Input, Seen
from clockstep.units import SECOND_NS, show_duration, show_moment

CODE = "CS-LEADER"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the leases that are renewed in the future."""
    for lease in seen.leases:
        if lease.renewed_ns is None or lease.renewed_ns - seen.now_ns <= AHEAD_NS:
            continue
        text = f"renewed {show_duration(lease.renewed_ns - seen.now_ns)} in the future"
        evidence = f"renewTime {show_moment(lease.renewed_ns)}, by {lease.holder or 'nobody'}"
        cure = "correct the clock of the node that its holder runs on, or restart the holder"
        yield Broken(CODE, lease.ref, text, evidence, cure)


CHECK = Check(CODE, "Leader leases", find, (Input.LEASES,), patience_ns=60 * SECOND_NS)
