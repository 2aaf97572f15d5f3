"""The lab's processes: started detached, found again by the lab's folder, ended by their id.

A process belongs to a lab when the lab's folder stands in its command line or is its XDG_RUNTIME_DIR. That holds for
libvirtd, for every QEMU and helper it starts, and for chronyd, also after the process that started them was killed.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from .errors import LabError
from .places import Account
from .run import OUTPUT_SHOWN

REAPER = """\
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(sys.argv[1:], restore_signals=True, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""
"""Runs a command, and ends after all that the command leaves behind: PR_SET_CHILD_SUBREAPER of prctl(2) makes that
its children. QEMU detaches itself, and libvirt waits until its process is gone. Where init is slow to reap, as in some
containers, that takes a second for each revert."""


def reaping(command: Sequence[str]) -> list[str]:
    """A command that runs this one and reaps what it leaves behind."""
    return ["python3", "-I", "-S", "-c", REAPER, *command]


def start(argv: Sequence[str | Path], account: Account, log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own, so that a terminal's Ctrl-C doesn't reach it, under this account."""
    words = account.command([str(word) for word in argv])
    with log.open("ab") as output:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd="/", start_new_session=True
        )


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until a started daemon is ready. Raises LabError with the end of its log when it ends or takes too long."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            said = log.read_text(errors="replace")[-OUTPUT_SHOWN:].strip()
            what = "ended" if process.poll() is not None else f"is not ready after {seconds:g} s"
            raise LabError(f"{Path(str(process.args[0])).name} {what}: {said or 'no output'}")  # type: ignore[index]
        time.sleep(0.02)


def of_lab(folder: Path) -> list[int]:
    """The ids of all processes of the lab in this folder."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _belongs(entry, folder)]


def _belongs(entry: Path, folder: Path) -> bool:
    if int(entry.name) == os.getpid():
        return False
    below = f"{folder}/".encode()
    with suppress(OSError):  # gone meanwhile, or not ours to read
        words = (entry / "cmdline").read_bytes()
        if words and _is_daemon(words) and below in words:
            return True
        return f"XDG_RUNTIME_DIR={folder}/run".encode() in (entry / "environ").read_bytes().split(b"\0")
    return False


def _is_daemon(words: bytes) -> bool:
    """Not somebody's editor or ssh client that has a file of the lab open."""
    return any(name in words for name in (b"qemu-system", b"libvirtd", b"virtlogd", b"chronyd"))


def end_all(folder: Path) -> None:
    """End all processes of the lab. Returns when none is left."""
    end(lambda: of_lab(folder))


def end(find: Callable[[], Sequence[int]], grace_s: float = 3) -> None:
    """End all processes that `find` finds: SIGTERM, and SIGKILL for those that stay. Returns when it finds none."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace_s
        while (pids := find()) and time.monotonic() < deadline:
            _signal_and_wait(pids, sent, deadline)


def _signal_and_wait(pids: Sequence[int], sent: signal.Signals, deadline: float) -> None:
    """Signal all, then wait for each: the reaper ends after all others."""
    with ExitStack() as closing:
        handles: list[tuple[int, int]] = []
        for pid in pids:
            with suppress(OSError):  # it has ended
                handle = os.pidfd_open(pid)
                closing.callback(os.close, handle)
                signal.pidfd_send_signal(handle, sent)
                handles.append((pid, handle))
        for pid, handle in handles:
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
