"""Make a cluster look as one does that was kept long ago: its leases are old, and its pods' tokens have lapsed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote

from clockstep_lab.domain import Machine, hand_socket
from clockstep_lab.hand import tell
from clockstep_lab.tls import Validity

from .control_plane import ControlPlane
from .leases import LEASES, micro_time
from .readiness import VOLUMES
from .workloads import NAMESPACE, TOKEN_S

WRITE_S = 60


def make_older(plane: ControlPlane, folder: Path, machines: Sequence[Machine], by_s: int) -> None:
    """Date leases and tokens back by this many seconds; no kubelet runs. Raises LabError, ApiError and OSError."""
    then = datetime.now(UTC) - timedelta(seconds=by_s)
    lapsed = plane.token_for(NAMESPACE, "default", Validity(then, then + timedelta(seconds=TOKEN_S)))
    for machine in machines:
        plane.admin.patch(f"{LEASES}/{machine.name}", {"spec": {"renewTime": micro_time(then)}})
        tell(hand_socket(folder, machine.name), f"for at in {VOLUMES}; do echo {quote(lapsed)} >$at; done", WRITE_S)
