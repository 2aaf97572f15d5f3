"""Running a command of the user's on the host: bounded in time and output, and no danger to the caller."""

import math
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from clockstep.errors import cut, visible

WITHIN_S = 30.0
MOST = 1 << 20
"""How many bytes a hook may print."""
SHOWN = 512
POLL_MS = 20
LAST_S = 0.5
"""For how long what is left of the output is read, once the process has ended."""
NOT_ITS_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables by which a service manager knows the watcher, and nobody else."""


class Hook:
    """Runs commands without a shell, each in a process group of its own, and ends what runs too long."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._over = False

    def run(self, command: Sequence[str], line: bytes) -> str:
        """Run a command with this on its standard input; return in words what went wrong, or an empty text."""
        environ = {name: value for name, value in os.environ.items() if name not in NOT_ITS_OWN}
        try:
            with tempfile.TemporaryFile() as stdin:
                stdin.write(line)
                stdin.seek(0)
                process = self._begun(command, stdin, environ)
        except (OSError, ValueError) as error:
            return f"cannot be started: {visible(str(error))}"
        try:
            return self._ended(process)
        finally:
            with self._lock:
                self._running.discard(process.pid)
            if process.stdout:
                process.stdout.close()

    def cut_off(self) -> None:
        """End what runs, and start nothing any more."""
        with self._lock:
            self._over = True
            for pid in self._running:
                end_group(pid)

    def _begun(self, command: Sequence[str], stdin: IO[bytes], environ: dict[str, str]) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._over:
                raise OSError("the watch is over")
            process = subprocess.Popen(
                list(command),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
            self._running.add(process.pid)
            return process

    def _ended(self, process: "subprocess.Popen[bytes]") -> str:
        assert process.stdout
        output = _Output(process.stdout.fileno(), lambda: end_group(process.pid))
        try:
            code = process.wait(self._within_s)
        except subprocess.TimeoutExpired:
            end_group(process.pid)
            process.wait()
            return f"was ended, since it ran for longer than {self._within_s:g} s"
        finally:
            tail = output.end()
        if output.flooded:
            return f"was ended, since it printed more than {MOST} bytes"
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            last = cut(visible(tail.decode(errors="replace").strip().rpartition("\n")[2]))
            return f"failed: {how}{': ' + last if last else ''}"
        return ""


def end_group(pid: int) -> None:
    """End all processes of a group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class _Output:
    """What a process prints, read by a thread: the last of it is kept, and one that prints too much is ended."""

    def __init__(self, file: int, end: Callable[[], None]) -> None:
        self.flooded = False
        self._file = file
        self._end = end
        self._tail = bytearray()
        self._over_s = math.inf
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end(self) -> bytes:
        """Return the last of it, once the process has ended; what that has started may print on for ever."""
        self._over_s = time.monotonic() + LAST_S
        self._thread.join()
        return bytes(self._tail)

    def _read(self) -> None:
        ready, total = select.poll(), 0
        ready.register(self._file, select.POLLIN)
        while time.monotonic() < self._over_s:
            if not ready.poll(POLL_MS):
                if self._over_s < math.inf:
                    return
                continue
            chunk = os.read(self._file, 65_536)
            total += len(chunk)
            self._tail = (self._tail + chunk)[-SHOWN:]
            if total > MOST:
                self.flooded = True
                self._end()
            if not chunk or self.flooded:
                return
