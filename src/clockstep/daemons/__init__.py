"""Time daemons: what they claim, and how to make them measure anew after a step.

To add one, write its file and list it here; where several are installed, the first that answers is the one.
"""

from clockstep.core.sections import sections
from clockstep.daemons import chrony, timesyncd
from clockstep.errors import ConfinedError
from clockstep.guest import program
from clockstep.model import Claim
from clockstep.ports import Daemon

DAEMONS: dict[str, Daemon] = {daemon.name: daemon for daemon in (chrony.DAEMON, timesyncd.DAEMON)}

SILENT, FAILED, DENIED = "silent", "failed", "denied"
PROGRAMS = ("chronyd", "systemd-timesyncd", "ntpd", "ntp-daemon", "clockbound")
"""Daemons that are looked for by their process where none has answered: hung, or of a kind that is not asked.
ntpd is NTPsec's, OpenNTPD's and the reference implementation's alike, ntp-daemon is ntpd-rs, clockbound AWS's."""
UNITS = ("chronyd", "chrony", "systemd-timesyncd", "ntpsec", "ntp", "ntpd", "openntpd", "ntpd-rs", "clockbound")
"""What systemd calls them: one that has ended by itself, as some do when a clock jumps, is one that failed."""


def ask_all() -> str:
    """Return one shell script that asks whichever daemon is there, so that asking costs one command in the node."""
    each = [program("daemons/ask_one.sh", NAME=name, ASK=daemon.ask) for name, daemon in DAEMONS.items()]
    return program("daemons/ask.sh", EACH="\n".join(each), PROGRAMS=" ".join(PROGRAMS), UNITS=" ".join(UNITS))


def parse_all(output: str) -> Claim | None:
    """Return the claim in what `ask_all` answered; None where there is no daemon.

    Raises ConfinedError where whoever asked is not allowed to run what asks it.
    """
    said = sections(output)
    for name, daemon in DAEMONS.items():
        if claim := daemon.parse("\n".join(said.get(name, ()))):
            return claim
    if denied := " ".join(filter(None, said.get(DENIED, ()))):
        raise ConfinedError(f"not permitted to query the node's time daemon: {denied}")
    running = [program for program in PROGRAMS if program in said.get(SILENT, ())]
    failed = [unit for number, unit in enumerate(UNITS, 1) if f"{number}:failed" in said.get(FAILED, ())]
    if running or not failed:
        return Claim(running[0], synchronised=None) if running else None
    return Claim(failed[0], synchronised=None, failed=True)
