"""Time daemons: what they claim, and how to make them measure anew after a step.

To add one, write its file and list it here; where several are installed, the first that answers is the one.
"""

from clockstep.daemons import chrony
from clockstep.model import Claim
from clockstep.ports import Daemon

DAEMONS: dict[str, Daemon] = {chrony.DAEMON.name: chrony.DAEMON}

MARK = "#clockstep "


def ask_all() -> str:
    """Return one shell script that asks whichever daemon is there, so that asking costs one command in the node."""
    return "\n".join(f"echo '{MARK}{name}'\n{{ {daemon.ask}; }} && exit 0" for name, daemon in DAEMONS.items())


def parse_all(output: str) -> Claim | None:
    """Return the claim in what `ask_all` answered; None where no daemon answered it."""
    for part in output.split(MARK)[1:]:
        name, _, answer = part.partition("\n")
        daemon = DAEMONS.get(name)
        if daemon and (claim := daemon.parse(answer)):
            return claim
    return None
