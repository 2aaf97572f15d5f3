"""Stand-ins for ssh: a shell on this machine that has only the tools it is given, and nothing that moves a clock."""

import shutil
import sys
from pathlib import Path

from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference

SECOND = 10**9


class Host(SystemClock, HostReference):
    """This machine's clocks; it does not sleep, but keeps for how long it should have."""

    def __init__(self) -> None:
        self.naps: list[int] = []

    def sleep_ns(self, duration_ns: int) -> None:
        self.naps.append(duration_ns)

    def within(self, seconds: float = 20) -> int:
        return self.monotonic_ns() + int(seconds * SECOND)


def client(script: str, configuration: str = "") -> list[str]:
    """A client that does this instead of connecting, whatever its options, and answers `-G` with a configuration."""
    answer = f"for word; do [ \"$word\" != -G ] || {{ echo '{configuration}'; exit; }}; done"
    return ["/bin/sh", "-c", f"{answer}\n{script}", "ssh"]


def shell_with(tools: Path) -> list[str]:
    """A client that leads to a shell which finds only these tools."""
    return client(f"exec /usr/bin/env PATH='{tools}' /bin/sh")


def real(tools: Path, *names: str) -> None:
    """Put tools of this machine there."""
    for name in names:
        found = sys.executable if name == "python3" else shutil.which(name)
        assert found, f"{name} is not installed"
        (tools / name).symlink_to(Path(found).resolve())


def fake(tools: Path, name: str, script: str) -> None:
    """Put a tool there that is this shell script."""
    path = tools / name
    path.unlink(missing_ok=True)  # it may be a link to this machine's own, which root would write through
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
