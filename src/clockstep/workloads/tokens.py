"""When the tokens of a node's pods are valid: read in the node, and no token leaves it."""

from clockstep.core.foreign import bounded, understood
from clockstep.core.sections import LAST, sections
from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.model.damage import PodToken
from clockstep.ports import Reach
from clockstep.units import SECOND_NS

MOST, LONGEST = 300, 64
READ = program("certificates/tokens.sh", MOST=MOST)
UNREADABLE = "unreadable "


def tokens(reach: Reach, deadline_ns: int) -> tuple[PodToken, ...]:
    """Return when the tokens of a node's pods are valid; none where it has none. Raises ReachError."""
    said = sections(reach.run(["/bin/sh", "-c", READ, "clockstep", ""], b"", deadline_ns).out)
    if LAST not in said:
        raise ReachError("the node does not report its pods' tokens", "check that it has a shell, sed and base64")
    if hidden := [name.removeprefix(UNREADABLE) for name in said if name.startswith(UNREADABLE)]:
        hint = "reach it as root, or by a login that may use sudo"
        raise ReachError(f"{hidden[0]} may not be read there", hint, lasting=True)
    found = [understood(_token, line) for line in said.get("tokens", ())[:MOST]]
    return tuple(one for one in found if one)


def _token(line: str) -> PodToken:
    issued, begin, end, uid = line.split()
    return PodToken(uid[:LONGEST], *(_moment(said) for said in (issued, begin, end)))


def _moment(said: str) -> int | None:
    return None if said == "-" else bounded(int(said) * SECOND_NS)
