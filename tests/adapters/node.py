"""A node whose clock exists only as numbers: its kernel, its hypervisor's PHC behind the ioctls, and its /sys and /dev.

No test has anything that could move the clock of the machine it runs on: `SimKernel` is the only kernel here that moves
anything.
"""

import errno
import struct
from dataclasses import dataclass, field
from pathlib import Path

from clockstep.host.phc import MODES, TIME

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
NOW = 1_800_000_000 * SECOND


@dataclass
class SimKernel:
    """The clocks of a node: `true` is the hypervisor's, and each look at any of them takes 200 ns."""

    offset: int = 0
    true: int = NOW
    raw: int = 5000 * SECOND
    tick: int = 10_000
    refusal: int = 0
    steps: list[int] = field(default_factory=list)

    def realtime_ns(self) -> int:
        self.pass_ns(200)
        return self.true + self.offset

    def raw_ns(self) -> int:
        self.pass_ns(200)
        return self.raw

    monotonic_ns = raw_ns

    def boottime_ns(self) -> int:
        return self.raw_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        self.pass_ns(duration_ns)

    def tick_us(self) -> int:
        return self.tick

    def add(self, by_ns: int, *, reset_tick: bool) -> None:
        if self.refusal:
            raise OSError(self.refusal, "Operation not permitted")
        self.offset += by_ns
        self.steps.append(by_ns)
        self.tick = 10_000 if reset_tick else self.tick

    def pass_ns(self, duration_ns: int) -> None:
        self.true += duration_ns
        self.raw += duration_ns

    def stand_still(self, for_ns: int) -> None:
        """The machine is paused, or reverted to a snapshot of that age: only the hypervisor's clock goes on."""
        self.true += for_ns
        self.offset -= for_ns


@dataclass
class SimPhc:
    """What the kernel answers to PTP's ioctls: a clock `ahead` of the true one, by those of the modes that it has."""

    kernel: SimKernel
    modes: set[str] = field(default_factory=lambda: {mode.name for mode in MODES})
    ahead: int = 0
    gone: bool = False
    brackets: tuple[int, ...] = (4_000, 900, 6_000, 2_000, 3_000)
    asked: list[str] = field(default_factory=list)

    def ioctl(self, _file: int, number: int, buffer: bytearray) -> None:
        mode = next(mode for mode in MODES if mode.number == number)
        assert len(buffer) == mode.size
        self.asked.append(mode.name)
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        if mode.name not in self.modes:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        for place, at_ns in enumerate(self._precise() if mode.code == 8 else self._samples(buffer, mode.code)):
            first = (0 if mode.code == 8 else 16) + place * TIME.size
            TIME.pack_into(buffer, first, *divmod(at_ns, SECOND), 0)

    def _precise(self) -> list[int]:
        return [self.kernel.true + self.ahead, self.kernel.realtime_ns() - 200]

    def _samples(self, buffer: bytearray, code: int) -> list[int]:
        (count,) = struct.unpack_from("=I", buffer)
        assert 0 < count <= 25
        times = []
        for sample in range(count):
            bracket = self.brackets[sample % len(self.brackets)]
            times.append(self.kernel.realtime_ns())
            self.kernel.pass_ns(bracket // 2)
            times.append(self.kernel.true + self.ahead)
            self.kernel.pass_ns(bracket // 2)
            if code == 9:
                times.append(self.kernel.realtime_ns())
        return times if code == 9 else [*times, self.kernel.realtime_ns()]


def made_up(root: Path, *names: str) -> Path:
    """Make PHCs of these names below a root, `ptp0` the first, with files for devices; return the root."""
    (root / "dev").mkdir(exist_ok=True)
    for number, name in enumerate(names):
        folder = root / f"sys/class/ptp/ptp{number}"
        folder.mkdir(parents=True)
        (folder / "clock_name").write_text(f"{name}\n")
        (root / f"dev/ptp{number}").touch()
    return root
