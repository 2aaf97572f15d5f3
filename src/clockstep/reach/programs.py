"""Other programs, run to their end, with nothing of them left behind."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def output(
    argv: Sequence[str],
    within_s: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    told: str = "",
) -> "subprocess.CompletedProcess[str]":
    """Return what a program printed that is told this and nothing more; what it has started ends with it.

    Raises OSError where it cannot be started, and TimeoutExpired when it has not ended within so many seconds.
    """
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE if told else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(told or None, timeout=within_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)
