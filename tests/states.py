"""States of whole Debians that tests begin from: a shell script each, run in one that has booted, and then kept."""

from clockstep.daemons.setup import script
from clockstep_lab.moments import BOOTED, State

__all__ = ["BOOTED", "CHRONY", "SERVICE", "SET_UP", "installed"]


def installed(*packages: str) -> str:
    """Install these packages from the lab's own repository."""
    words = " ".join(packages)
    return f"apt-get -qq update\nDEBIAN_FRONTEND=noninteractive apt-get -qq install -y {words} >/dev/null\n"


CHRONY = State(
    "chrony",
    installed("chrony") + "echo 0.0 0.1 >/var/lib/chrony/chrony.drift; systemctl restart chrony",  # as after a long run
)
SET_UP = State(
    "set-up",
    f"cat >/root/chrony.sh <<'END OF SCRIPT'\n{script()}END OF SCRIPT\n"
    "sh /root/chrony.sh >/root/said 2>&1 || { cat /root/said; exit 1; }\ntail -n 1 /root/said | grep -qx done",
)
"""By what `setup print shell` prints."""
SERVICE = State("service", installed("python3-libvirt", "python3-click", "python3-msgspec", "polkitd"))
"""What clockstep's watcher needs as a service of the system."""
