"""systemd-timesyncd: what it claims, from `timedatectl show-timesync`, and how to resync it.

It has no opinion of how far off the clock is, only of whether its server has answered. Its own `synchronized` and the
kernel's flag survive a revert, so they say nothing; a restart is what makes it count its server's packets anew.
"""

import re

from clockstep.core.foreign import bounded, understood
from clockstep.errors import UsageError
from clockstep.guest import program
from clockstep.model import Claim
from clockstep.ports import Daemon
from clockstep.units import parse_duration

UNIT = "systemd-timesyncd"

ASK = program("daemons/timesyncd/ask.sh")
RESYNC = program("daemons/timesyncd/resync.sh")

MESSAGE = re.compile(r"^NTPMessage=\{(?P<fields>.*)\}$", re.MULTILINE)
UNSYNCHRONISED_SERVER = "3"
"""The leap indicator of a server that is not synchronised itself (RFC 5905, section 7.3)."""


def parse(output: str) -> Claim | None:
    """Return what timesyncd claims; None where it did not answer, or not in the form of timedatectl(1)."""
    return understood(_parsed, output)


def _parsed(output: str) -> Claim | None:
    properties = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if "PollIntervalUSec" not in properties:
        return None
    server = properties.get("ServerName") or properties.get("ServerAddress") or None
    found = MESSAGE.search(output)
    if found is None:
        return Claim(UNIT, synchronised=False, source=server, heard=False)
    message = dict(field.strip().split("=", 1) for field in found["fields"].split(",") if "=" in field)
    leap = message.get("Leap")
    heard = message.get("Ignored") == "no" and message.get("PacketCount", "0") != "0"
    return Claim(
        daemon=UNIT,
        synchronised=heard and leap != UNSYNCHRONISED_SERVER,
        source=server,
        leap=leap,
        root_delay_ns=_nanoseconds(message.get("RootDelay", "")),
        root_dispersion_ns=_nanoseconds(message.get("RootDispersion", "")),
        heard=message.get("PacketCount", "0") != "0",
    )


def _nanoseconds(span: str) -> int | None:
    """Return a systemd.time(7) span, where 0 has no unit; None for what is none."""
    try:
        return 0 if span == "0" else bounded(parse_duration(span))
    except (UsageError, ArithmeticError, ValueError):
        return None


DAEMON = Daemon(UNIT, ASK, parse, RESYNC)
