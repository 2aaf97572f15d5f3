"""chrony: what chronyd claims, from `chronyc -c`, and how to resync it.

`tracking` alone cannot be asked whether the clock is right: after a revert it goes on saying "Normal". So the claim
is shown beside a measurement and never believed.
"""

from decimal import Decimal

from clockstep.core.foreign import bounded, understood
from clockstep.guest import program
from clockstep.model import Claim, Offset
from clockstep.ports import Daemon

TRACKING_FIELDS = 14
SOURCE_FIELDS = 10
REACH = 5
"""The place of a source's reachability register: in octal, a bit for each of its last eight polls (chronyc(1))."""
SELECTED = "*"
NOT_SYNCHRONISED = "Not synchronised"

ASK = program("daemons/chrony/ask.sh")
RESYNC = program("daemons/chrony/resync.sh")
WAIT = program("daemons/chrony/wait.sh")


def parse(output: str) -> Claim | None:
    """Return what chronyd claims; None where it did not answer, or not in the form of chronyc(1)."""
    return understood(_parsed, output)


def _parsed(output: str) -> Claim | None:
    rows = [line.split(",") for line in output.splitlines()]
    tracking = next((row for row in rows if len(row) == TRACKING_FIELDS), None)
    sources = [row for row in rows if len(row) == SOURCE_FIELDS]
    if tracking is None:
        return None
    source = next((row for row in sources if row[1] == SELECTED), sources[0] if sources else None)
    return _claim(tracking, source, heard=any(int(row[REACH], 8) for row in sources))


def _claim(tracking: list[str], source: list[str] | None, *, heard: bool) -> Claim:
    leap = tracking[13]
    return Claim(
        daemon="chrony",
        synchronised=leap != NOT_SYNCHRONISED and source is not None and source[1] == SELECTED,
        source=f"{source[0]}{source[1]} {source[2]}" if source else None,
        offset=_offset(source, _nanoseconds(tracking[4])) if source else None,
        leap=leap,
        root_delay_ns=_nanoseconds(tracking[10]),
        root_dispersion_ns=_nanoseconds(tracking[11]),
        heard=heard,
    )


def _offset(source: list[str], pending_ns: int) -> Offset | None:
    """Return how far off chronyd takes the system clock to be; None without a measurement.

    What it measures is against its own idea of the time, which is the system clock plus the correction it has yet to
    make ("System time" in chronyc(1), positive where the clock is behind).
    """
    error_ns = _nanoseconds(source[9])
    return Offset(_nanoseconds(source[7]) - pending_ns, error_ns) if error_ns else None


def _nanoseconds(seconds: str) -> int:
    return bounded(Decimal(seconds).scaleb(9))


DAEMON = Daemon("chrony", ASK, parse, RESYNC, WAIT)
