"""The hypervisor's clock as a PTP hardware clock (PHC) of this machine, by the kernel's ioctls (linux/ptp_clock.h).

One is found by the name that its driver gives it in `/sys/class/ptp/*/clock_name`, never by its number: `ptp0` is often
a network card's, which follows this machine's own time or none.

Three ioctls compare it with CLOCK_REALTIME. PRECISE is one moment of both, EXTENDED and SYS_OFFSET read the one between
two readings of the other, several times. Which of them a driver has, and when, differs: ptp_kvm has PRECISE only while
kvm-clock is the clocksource. So an error leads one down, and a disruption to the top again, as in chrony's sys_linux.c.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clockstep.core.offset import spanning
from clockstep.core.unnoticed import is_hosts
from clockstep.errors import ReachError, visible
from clockstep.model import Offset
from clockstep.units import SECOND_NS

SAMPLES = 5
"""Read in one call, of at most 25 (PTP_MAX_SAMPLES)."""
LONGEST_NAME = 64
TIME = struct.Struct("=qII")
"""struct ptp_clock_time: seconds, nanoseconds, reserved."""
LATEST_NS = 2**63
"""The kernel's own last moment."""
PRECISE_NS = 1_000
"""How far the two times of PRECISE may be apart: both are computed from one reading of the counter, each rounded."""

Pairs = Iterator[tuple[int, int, int]]
"""CLOCK_REALTIME before, the PHC, and CLOCK_REALTIME after, in nanoseconds."""
Ioctl = Callable[[int, int, bytearray], object]
"""ioctl(2) of an open file with a number and a buffer that it fills; raises OSError."""


class Mode(NamedTuple):
    """One of the ioctls: its number is made of the direction, the size of its struct, the magic `=` and `code`."""

    name: str
    direction: int
    size: int
    code: int
    read: Callable[[bytes], Pairs]

    @property
    def number(self) -> int:
        """The number as linux/ioctl.h makes it."""
        return self.direction << 30 | self.size << 16 | ord("=") << 8 | self.code


def _times(buffer: bytes, first: int, count: int) -> list[int]:
    """Return so many times in nanoseconds, from a place in a struct."""
    parts = TIME.iter_unpack(buffer[first : first + count * TIME.size])
    return [seconds * SECOND_NS + nanoseconds for seconds, nanoseconds, _ in parts]


def _precise(buffer: bytes) -> Pairs:
    phc_ns, realtime_ns = _times(buffer, 0, 2)
    yield realtime_ns - PRECISE_NS, phc_ns, realtime_ns + PRECISE_NS


def _extended(buffer: bytes) -> Pairs:
    times = _times(buffer, 16, 3 * SAMPLES)
    yield from zip(times[0::3], times[1::3], times[2::3], strict=True)


def _sys_offset(buffer: bytes) -> Pairs:
    times = _times(buffer, 16, 2 * SAMPLES + 1)
    yield from zip(times[0:-1:2], times[1::2], times[2::2], strict=True)


MODES = (
    Mode("PTP_SYS_OFFSET_PRECISE", 3, 64, 8, _precise),
    Mode("PTP_SYS_OFFSET_EXTENDED", 3, 1216, 9, _extended),
    Mode("PTP_SYS_OFFSET", 1, 832, 5, _sys_offset),
)
"""From best to worst."""


class PhcError(ReachError):
    """A PHC cannot be read."""


class Device(NamedTuple):
    """A PHC: its name by its driver, its device, and the file that has the name."""

    name: str
    path: Path
    named: Path | None = None


def host_devices(root: Path = Path("/")) -> list[Device]:
    """Return the PHCs of this machine that are its hypervisor's, in the order of their numbers."""
    return [device for device in all_devices(root) if is_hosts(device.name)]


def all_devices(root: Path = Path("/")) -> list[Device]:
    """Return all PHCs that have a name, also network cards'."""
    found = []
    for folder in (root / "sys/class/ptp").glob("ptp*"):
        named = folder / "clock_name"
        with suppress(OSError):
            found.append(Device(_name(named), root / "dev" / folder.name, named))
    return sorted(found, key=lambda device: (len(device.path.name), device.path.name))


def _name(named: Path) -> str:
    with named.open(encoding="ascii", errors="replace") as file:
        return visible(file.read(LONGEST_NAME).strip())


def kernel_ioctl(file: int, number: int, buffer: bytearray) -> None:
    """Have the kernel fill a buffer."""
    fcntl.ioctl(file, number, buffer)


class Phc:
    """One PHC, opened at its first use and after each error again."""

    def __init__(self, device: Device, ioctl: Ioctl = kernel_ioctl) -> None:
        self.device = device
        self._ioctl = ioctl
        self._file: int | None = None
        self._mode = 0

    @property
    def mode(self) -> str:
        """The ioctl that is used, as long as it works."""
        return MODES[self._mode].name

    def rise(self) -> None:
        """Try the best ioctl again: after a disruption the clocksource may be another."""
        self._mode = 0

    def offset(self) -> Offset:
        """Return CLOCK_REALTIME minus the PHC, by the sample with the tightest bracket. Raises PhcError."""
        while True:
            try:
                return self._measured(MODES[self._mode])
            except OSError as error:
                self.close()
                if self._mode + 1 == len(MODES):
                    self._mode = 0
                    text = f"{self.device.path} ({self.device.name}) cannot be read: {error.strerror or error}"
                    raise PhcError(text, "check that it exists, and that clockstep may open it") from error
                self._mode += 1

    def _measured(self, mode: Mode) -> Offset:
        if self._file is None:
            self._file = os.open(self.device.path, os.O_RDONLY | os.O_CLOEXEC)
            self._check_name()
        buffer = bytearray(mode.size)
        if mode.read is not _precise:
            struct.pack_into("=I", buffer, 0, SAMPLES)
        self._ioctl(self._file, mode.number, buffer)
        offsets = [
            spanning(before - phc, after - phc) for before, phc, after in mode.read(bytes(buffer)) if before <= after
        ]
        if not offsets:
            raise OSError("the system clock was set meanwhile")
        if not all(0 <= phc < LATEST_NS for _, phc, _ in mode.read(bytes(buffer))):
            raise OSError("it reports no time between 1970 and 2262")
        return min(offsets, key=lambda offset: offset.error_ns)

    def _check_name(self) -> None:
        """Raise OSError where the number is another clock's by now: they are given anew as drivers come and go."""
        if self.device.named is None:
            return
        if (name := _name(self.device.named)) != self.device.name:
            raise OSError(f"it is now {name}'s")

    def close(self) -> None:
        """Close it until its next use."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
