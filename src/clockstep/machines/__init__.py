"""Hypervisors: which machines there are, their snapshots, and the way into each.

To add one, write its file with the `Hypervisor` protocol and list it here.
"""

from collections.abc import Callable

from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.ports import Clock, Hypervisor, Ways

HYPERVISORS: dict[str, Callable[[str | None, Clock, Ways], Hypervisor]] = {"libvirt": Libvirt}
