"""Time daemons: what they claim, and how to make them measure anew after a step.

To add one, write its file and list it here; where several are installed, the first that answers is the one.
"""

from clockstep.core.sections import SAY, sections
from clockstep.daemons import chrony, timesyncd
from clockstep.model import Claim
from clockstep.ports import Daemon

DAEMONS: dict[str, Daemon] = {daemon.name: daemon for daemon in (chrony.DAEMON, timesyncd.DAEMON)}

SILENT = "silent"
PROGRAMS = ("chronyd", "systemd-timesyncd", "ntpd")
"""Daemons that are looked for by their process where none has answered: hung, or of a kind that is not asked.
ntpd is NTPsec's, OpenNTPD's and the reference implementation's alike."""


def ask_all() -> str:
    """Return one shell script that asks whichever daemon is there, so that asking costs one command in the node."""
    asked = [f"say {name}; {{ {daemon.ask}; }} && exit 0" for name, daemon in DAEMONS.items()]
    look = f"say {SILENT}; for name in {' '.join(PROGRAMS)}; do pidof $name >/dev/null && echo $name; done"
    return "\n".join([SAY, *asked, look])


def parse_all(output: str) -> Claim | None:
    """Return the claim in what `ask_all` answered; None where there is no daemon."""
    said = sections(output)
    for name, daemon in DAEMONS.items():
        if claim := daemon.parse("\n".join(said.get(name, ()))):
            return claim
    running = [program for program in PROGRAMS if program in said.get(SILENT, ())]
    return Claim(running[0], synchronised=None) if running else None
