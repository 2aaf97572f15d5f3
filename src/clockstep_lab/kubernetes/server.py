"""A server of a lab's Kubernetes: one process, known by its program and the lab's folder, whoever started it."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from clockstep_lab.places import Account
from clockstep_lab.processes import end, of_lab, start, wait_for

READY_S = 300
"""Many times what the slowest takes, for a machine that does much else."""
Flags = Mapping[str, object]


class Server:
    """A program that serves for the lab in a folder, with its flags, and how it is seen that it does."""

    def __init__(
        self, folder: Path, account: Account, program: Path, flags: Flags, is_ready: Callable[[], bool]
    ) -> None:
        self._folder, self._account, self._program, self._is_ready = folder, account, program, is_ready
        self._command = [str(program), *(f"--{name}={value}" for name, value in flags.items())]
        self.log = folder / f"{program.name}.log"

    def start(self) -> None:
        """Start it, unless it runs, and wait until it is ready. Raises LabError with the end of its log."""
        if not self.pids():
            process = start(self._command, self._account, self.log, self._environment())
            wait_for(self._is_ready, process, self.log, READY_S)

    def stop(self) -> None:
        """End it; returns when it has ended."""
        end(self.pids)

    def pids(self) -> list[int]:
        """The ids of its processes: one, or none."""
        return [pid for pid in of_lab(self._folder) if self._is_this(pid)]

    def _is_this(self, pid: int) -> bool:
        with suppress(OSError):  # it has ended
            return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(self._program) + b"\0")
        return False

    def _environment(self) -> dict[str, str]:
        """The lab's processes are found by XDG_RUNTIME_DIR (processes.py)."""
        return {"HOME": str(self._folder), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(self._folder / "run")}
