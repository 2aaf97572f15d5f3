"""What a line of progress begins with: nothing on a terminal, a priority in the journal, and the time elsewhere."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from clockstep.units import show_moment

ERROR, WARNING, INFO = 3, 4, 6
"""Priorities as sd-daemon(3) has them."""


def prefix(out: IO[str], environ: Mapping[str, str], priority: int = INFO) -> str:
    """Return what a line to this stream begins with."""
    if out.isatty():
        return ""
    return f"<{priority}>" if in_journal(out, environ) else f"{show_moment(time.time_ns())}  "


def in_journal(out: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether a stream leads to systemd's journal (JOURNAL_STREAM in systemd.exec(5)), or a service's log."""
    if stream := environ.get("JOURNAL_STREAM"):
        with suppress(OSError, ValueError):
            there = os.fstat(out.fileno())
            return stream == f"{there.st_dev}:{there.st_ino}"
        return False
    return bool(environ.get("NOTIFY_SOCKET"))
