"""The freezer: freezes workloads of a node, and thaws them; a small process there lets none stay frozen for ever.

Inside the node it is shell scripts and nothing else, since every node has a shell. What they froze is written down in
the node's /run, which a snapshot's memory has as well; so whoever proves the clock after a revert finds it there.
Freezing is cgroup v2's (Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze, and `frozen` in cgroup.events).
"""

from collections.abc import Sequence

from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.ports import Output, Reach
from clockstep.units import SECOND_NS

LEASE_S = 60
HELD_S = 86_400
"""How long a node that is to be held stays frozen at most."""
COMPLETE_S = 10
TAKES_NS = (COMPLETE_S + 10) * SECOND_NS

GUARD = program("freeze/guard.sh")
PREPARE = program("freeze/prepare.sh")
FREEZE = program("freeze/freeze.sh", COMPLETE_S=COMPLETE_S)
THAW = program("freeze/thaw.sh")
RENEW = program("freeze/renew.sh")
FROZEN = program("freeze/frozen.sh")


def prepare(reach: Reach, cgroups: Sequence[str], deadline_ns: int, lease_s: int = LEASE_S) -> None:
    """Have all ready for freezing these cgroups, and freeze nothing yet.

    Raises ReachError, and leaves nothing behind, where one may not be frozen. The node's own guard thaws them when
    `lease_s` seconds of its monotonic clock are over.
    """
    _require(_sh(reach, PREPARE, [GUARD, str(lease_s), *cgroups], deadline_ns))


def freeze(reach: Reach, deadline_ns: int) -> None:
    """Freeze what was prepared, and return when it stands still.

    Raises ReachError, and leaves nothing frozen, where not all of it does.
    """
    _require(_sh(reach, FREEZE, [], deadline_ns))


def _require(output: Output) -> None:
    if output.code:
        text = output.out.strip().rpartition("\n")[2] or output.err.strip()
        raise ReachError(f"its workloads were not frozen: {text}", "leave them out, or freeze others", lasting=True)


def thaw(reach: Reach, deadline_ns: int, caller: str) -> bool | None:
    """Thaw what was frozen; whether all of it stood still until then, None where nothing was frozen by clockstep.

    A `caller`, by a name of its own, may ask again where an answer was lost.
    """
    said = _sh(reach, THAW, [caller], deadline_ns).out.strip()
    if said not in {"frozen", "running", "none"}:
        raise ReachError("the node does not report whether its workloads were thawed", "check the guest")
    return None if said == "none" else said == "frozen"


def renew(reach: Reach, lease_s: int, deadline_ns: int) -> bool:
    """Have the guard wait for that long from now on, a new one where it is gone; whether there is one."""
    return _sh(reach, RENEW, [str(lease_s)], deadline_ns).code == 0


def has_frozen(reach: Reach, deadline_ns: int) -> bool:
    """Whether clockstep has frozen workloads there that were not thawed yet."""
    return _sh(reach, FROZEN, [], deadline_ns).code == 0


def _sh(reach: Reach, script: str, arguments: Sequence[str], deadline_ns: int) -> Output:
    return reach.run(["/bin/sh", "-c", script, "clockstep", *arguments], b"", deadline_ns)
