"""Other programs, run to their end, with nothing of them left behind."""

import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 16 << 20
"""How much a program may print."""
CHUNK_BYTES = 65_536


def output(
    argv: Sequence[str],
    within_s: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.CompletedProcess[str]":
    """Return what a program printed that reads `stdin`, by default nothing; what it has started ends with it.

    Raises OSError where it cannot be started or prints more than `MOST_BYTES`, and TimeoutExpired when it has not ended
    within so many seconds.
    """
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = _printed(process, within_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def _printed(process: "subprocess.Popen[bytes]", within_s: float) -> list[str]:
    """Return both outputs of a program once it has ended; raises as `output` does."""
    assert process.stdout and process.stderr
    until_s = time.monotonic() + within_s
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as ready:
        for file in texts:
            ready.register(file, selectors.EVENT_READ)
        while ready.get_map():
            if time.monotonic() > until_s:
                raise subprocess.TimeoutExpired(process.args, within_s)
            for key, _ in ready.select(max(0, until_s - time.monotonic())):
                if not (chunk := os.read(key.fd, CHUNK_BYTES)):
                    ready.unregister(key.fd)
                texts[key.fd] += chunk
                if len(texts[key.fd]) > MOST_BYTES:
                    raise OSError(errno.EFBIG, f"it printed more than {MOST_BYTES >> 20} MiB")
    process.wait(max(0, until_s - time.monotonic()))
    return [text.decode(errors="replace") for text in texts.values()]
