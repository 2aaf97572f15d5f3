"""Every command the lab runs goes through here, so that a failure always shows what was run and what it said."""

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError

OUTPUT_SHOWN = 1024
GRACE_S = 10
# as the C library, mke2fs(8) and apt-get(8) put it
NO_SPACE = (os.strerror(errno.ENOSPC), "Could not allocate block", "have enough free space")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> bytes:
    """Run a command and return its stdout; `env` is added to this process's own.

    Raises LabError with the command and the end of its output when it fails, is missing, or takes too long.
    """
    words = [str(word) for word in argv]
    process = _start(words, subprocess.DEVNULL if stdin is None else subprocess.PIPE, env or {})
    try:
        out, err = process.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout_s:g} s: {shlex.join(words)}") from error
    finally:
        if process.returncode is None:
            _end(process)
    if process.returncode:
        raise _failure(words, process.returncode, (err or out).decode(errors="replace").strip())
    return out


def _start(words: list[str], stdin: int, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own: a Ctrl-C is for this process alone, which then ends all of it."""
    environment = {**os.environ, "LC_ALL": "C", **env}
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(words, stdin=stdin, stdout=pipe, stderr=pipe, env=environment, start_new_session=True)
    except FileNotFoundError as error:
        raise LabError(
            f"{words[0]} is not installed", "run script/setup, which names the packages the lab needs"
        ) from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command and all that it started; it is asked first, by SIGINT, after which fakeroot(1) too cleans up."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(words: list[str], code: int, said: str) -> LabError:
    if signs := [line for line in said.splitlines() if any(sign in line for sign in NO_SPACE)]:
        return LabError(f"no space left on the disk: {signs[-1].strip()}", "free some space and try again")
    return LabError(f"exit {code} from: {shlex.join(words)}\n{said[-OUTPUT_SHOWN:]}")


def need(*commands: str) -> None:
    """Raise LabError unless all of these commands can be found."""
    if missing := [name for name in commands if not find(name)]:
        raise LabError(
            f"not installed: {', '.join(missing)}", "run script/setup, which names the packages and installs them"
        )


def find(command: str) -> str | None:
    """The path of a command; system directories are looked into also where a user's PATH leaves them out."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
