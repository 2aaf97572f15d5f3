"""Names of snapshots: what every part that has to keep one can keep."""

from clockstep.errors import UsageError

LONGEST = 200
"""Bytes: libvirt keeps a snapshot in a file of its name, which has room for 255 with what it adds."""


UNLOADABLE = '"\\'
"""A snapshot with one of these in its name is taken, and then not found: seen with libvirt 9.0, which escapes them in
the monitor command that takes it (qemuMonitorEscapeArg), and QEMU 7.2."""


ID_DIGITS = 6
"""QEMU takes a short number for the ID of a snapshot, and looks for that before it looks for a name
(bdrv_snapshot_goto): a revert to "1" may put the disks back to another. virsh's own names are longer numbers."""


def cannot_be_loaded(name: str) -> bool:
    """Whether libvirt can take a snapshot of this name, and not revert to it: the revert would end the machine."""
    return any(letter in name for letter in UNLOADABLE) or (name.isdecimal() and len(name) <= ID_DIGITS)


def refuse_bad_name(name: str) -> None:
    """Raise UsageError for a name that libvirt or QEMU would refuse once the guests are paused."""
    if not name or name != name.strip() or not name.isprintable():
        raise UsageError(f"{name!r} can name no snapshot", "use printable characters, and no spaces around them")
    if "/" in name or name.startswith((".", "-")):
        raise UsageError(f"{name!r} can name no snapshot", "leave out '/', and '.' or '-' at its beginning")
    if cannot_be_loaded(name):
        raise UsageError(f"{name!r} can name no snapshot", f"leave out {' and '.join(UNLOADABLE)}, and use letters")
    if len(name.encode(errors="surrogateescape")) > LONGEST:
        raise UsageError(f"the name {name[:20]!r}... is too long for a snapshot", f"use at most {LONGEST} bytes")
