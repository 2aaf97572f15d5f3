"""Files of the state folder: written as a whole, and to the disk."""

import os
from pathlib import Path

from clockstep.errors import JournalError


def keep(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file, in a folder that is made for it, as a whole and to the disk; `mode` is open(2)'s.

    Raises JournalError where that cannot be done.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(part, path, content, os.O_TRUNC, mode)
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise JournalError(text, "free some space or allow writing there") from error


def put(part: Path, path: Path, content: bytes, flags: int, mode: int = 0o666) -> None:
    """Write `part` to the disk, opened with these flags of open(2) too, and have it take the place of `path`.

    Raises OSError.
    """
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
