"""Hypervisors: which machines there are, their snapshots, and the way into each.

To add one, write its file with the roles of `ports/machines.py` that its machines have, and list it here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clockstep.errors import HypervisorError
from clockstep.ports import Clock, Machines, Reference, Ways

INSTALL = (
    "install your system's python3-libvirt, or pip install 'clockstep[libvirt]'; hosts of --ssh, and the agent, need "
    "neither"
)


def _libvirt(address: str | None, clock: Clock, reference: Reference, ways: Ways) -> Machines:
    with binding_needed():
        from clockstep.machines.libvirt.hypervisor import Libvirt
    return Libvirt(address, clock, reference, ways)


@contextmanager
def binding_needed() -> Iterator[None]:
    """Import what needs libvirt's Python binding. Raises HypervisorError if that, or libvirt itself, is not here."""
    try:
        yield
    except ImportError as error:
        raise HypervisorError(f"libvirt's Python binding cannot be used: {error}", INSTALL) from error


HYPERVISORS: dict[str, Callable[[str | None, Clock, Reference, Ways], Machines]] = {"libvirt": _libvirt}
