"""Time daemons: what they claim, and how to make them measure anew after a step.

To add one, write its file and list it here; where several are installed, the first that answers is the one.
"""

from clockstep.daemons import chrony, timesyncd
from clockstep.model import Claim
from clockstep.ports import Daemon

DAEMONS: dict[str, Daemon] = {daemon.name: daemon for daemon in (chrony.DAEMON, timesyncd.DAEMON)}

MARK = "#clockstep "
SILENT = "silent"
PROGRAMS = ("chronyd", "systemd-timesyncd", "ntpd")
"""Daemons that are looked for by their process where none has answered: hung, or of a kind that is not asked.
ntpd is NTPsec's, OpenNTPD's and the reference implementation's alike."""


def ask_all() -> str:
    """Return one shell script that asks whichever daemon is there, so that asking costs one command in the node."""
    asked = [f"echo '{MARK}{name}'\n{{ {daemon.ask}; }} && exit 0" for name, daemon in DAEMONS.items()]
    look = f"echo '{MARK}{SILENT}'\nfor name in {' '.join(PROGRAMS)}; do pidof $name >/dev/null && echo $name; done"
    return "\n".join([*asked, look])


def parse_all(output: str) -> Claim | None:
    """Return the claim in what `ask_all` answered; None where there is no daemon."""
    for part in output.split(MARK)[1:]:
        name, _, answer = part.partition("\n")
        daemon = DAEMONS.get(name)
        if daemon and (claim := daemon.parse(answer)):
            return claim
        if name == SILENT and (running := [program for program in PROGRAMS if program in answer.split()]):
            return Claim(running[0], synchronised=None)
    return None
