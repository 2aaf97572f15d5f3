"""The way to the machine itself, for an agent that runs on it."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clockstep.core.anchoring import JUMP_NS
from clockstep.errors import NoProgramError, ReachError
from clockstep.host.programs import output
from clockstep.host.steps import Steps
from clockstep.model import Reading
from clockstep.ports import Clock, Kernel, Output, Reference
from clockstep.reach.injection import MEMORY
from clockstep.reach.sampling import sampled
from clockstep.units import SECOND_NS

LONGEST = 1 << 20
"""Characters of a program's output that are kept."""


@contextmanager
def told(content: bytes) -> Iterator[int]:
    """Lend a file in memory from which a program reads this."""
    with os.fdopen(os.memfd_create("stdin"), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


class LocalReach:
    """Reads this machine's clock against a reference that is not it, and steps it.

    A step is not made if the clock was set since it was read last: CLOCK_REALTIME and CLOCK_MONOTONIC, which a daemon
    slews alike, are then further apart than they were.
    """

    source = "local"

    def __init__(self, kernel: Kernel, clock: Clock, reference: Reference, memory: Path = Path(MEMORY)) -> None:
        self._kernel = kernel
        self._clock = clock
        self._reference = reference
        self._steps = Steps(memory, kernel)
        self._anchor_ns = self._apart_ns()

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a program to its end, or until the deadline; what it has started ends with it."""
        within_s = max(deadline_ns - self._clock.monotonic_ns(), 0) / SECOND_NS
        try:
            with told(stdin) as file:
                done = output(argv, within_s, stdin=file)
        except FileNotFoundError as error:
            raise NoProgramError(f"there is no {argv[0]} on this machine") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ReachError(f"{argv[0]} did not end: {error}", "check the load of this machine") from error
        return Output(done.returncode, done.stdout[:LONGEST], done.stderr[:LONGEST])

    def clock(self, within_ns: int | None = None) -> Reading:
        """Measure CLOCK_REALTIME against the reference."""
        self._anchor_ns = self._apart_ns()
        return sampled(self.source, self._read, self._clock, self._reference, 1, within_ns)

    def step(self, by_ns: int, token: str) -> int | None:
        """Move CLOCK_REALTIME by that, once for a token."""
        return self._steps.add(by_ns, token, lambda: abs(self._apart_ns() - self._anchor_ns) > JUMP_NS)

    def fate(self, token: str) -> int | None:
        """Return what was added under a token."""
        return self._steps.fate(token)

    def close(self) -> None:
        """Let go of nothing: nothing is held open."""

    def _read(self) -> tuple[int, int]:
        return divmod(self._kernel.realtime_ns(), SECOND_NS)

    def _apart_ns(self) -> int:
        return self._kernel.realtime_ns() - self._clock.monotonic_ns()
