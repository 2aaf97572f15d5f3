"""Hypervisors: which machines there are, their snapshots, and the way into each.

To add one, write its file with the roles of `ports/machines.py` that its machines have, and list it here.
"""

from collections.abc import Callable

from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.ports import Clock, Machines, Ways

HYPERVISORS: dict[str, Callable[[str | None, Clock, Ways], Machines]] = {"libvirt": Libvirt}
