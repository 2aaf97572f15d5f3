"""What else on this machine sets its clock: it is named, and not fought."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clockstep.core.diagnosis import SWITCH_OFF

LONGEST = 256
TALOS = "-talos"


class Other(NamedTuple):
    """Somebody else who sets the clock, and how to keep one of the two from it."""

    name: str
    text: str


CLOCKBOUND = "ClockBound 3 keeps the time without chronyd: run the agent with --observe, or stop ClockBound"
VMWARE = f"VMware's tools may set the clock: {SWITCH_OFF['vmtoolsd']}"
VIRTUALBOX = f"VirtualBox' tools may set the clock: {SWITCH_OFF['VBoxService']}"
TALOS_TIMED = "Talos' own time service slews against a step: set machine.time.disabled, or run with --observe"
PROGRAMS = {"clockbound": CLOCKBOUND, "vmtoolsd": VMWARE, "VBoxService": VIRTUALBOX}


def others(root: Path = Path("/")) -> list[Other]:
    """Return who else there is, by the names of the programs that run and by the kernel's own.

    ClockBound before 3 works beside chronyd and sets nothing, so it is no other where chronyd runs.
    """
    running = set(_running(root))
    ignored = {"clockbound"} if "chronyd" in running else set()
    found = [Other(name, text) for name, text in PROGRAMS.items() if name in running - ignored]
    with suppress(OSError):
        if TALOS in (root / "proc/sys/kernel/osrelease").read_text(encoding="ascii", errors="replace")[:LONGEST]:
            found.append(Other("timed", TALOS_TIMED))
    return found


def _running(root: Path) -> Iterator[str]:
    for file in (root / "proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            yield file.read_text(encoding="ascii", errors="replace")[:LONGEST].strip()
