"""Every command the lab runs goes through here, so that a failure always shows what was run and what it said."""

import errno
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError

OUTPUT_SHOWN = 1024
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
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{words[0]} is not installed", "run script/setup, which names the packages the lab needs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout_s:g} s: {shlex.join(words)}") from error
    if done.returncode:
        raise _failure(words, done)
    return done.stdout


def _failure(words: list[str], done: subprocess.CompletedProcess[bytes]) -> LabError:
    said = (done.stderr or done.stdout).decode(errors="replace").strip()[-OUTPUT_SHOWN:]
    if any(sign in said for sign in NO_SPACE):
        return LabError(f"no space left on the disk: {said.splitlines()[-1]}", "free some space and try again")
    return LabError(f"exit {done.returncode} from: {shlex.join(words)}\n{said}")


def need(*commands: str) -> None:
    """Raise LabError unless all of these commands can be found."""
    if missing := [name for name in commands if not find(name)]:
        raise LabError(
            f"not installed: {', '.join(missing)}", "run script/setup, which names the packages and installs them"
        )


def find(command: str) -> str | None:
    """The path of a command; system directories are looked into also where a user's PATH leaves them out."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
