"""Pages for people, in files that they name: written as a whole, and only over pages of our own."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from clockstep.errors import ClockstepError, UsageError
from clockstep.state.files import put

HEAD = 1024
"""How many bytes of a file are read to find the mark of a page of ours in it."""


def refuse_unfit(path: Path, mark: str) -> None:
    """Raise UsageError unless a page can be written there: over nothing, or over a page that has this mark."""
    if found := _objection(path, mark):
        raise UsageError(*found)


def publish(path: Path, page: str, mark: str) -> None:
    """Write a page so that nobody ever sees a part of it. Raises ClockstepError if that is not possible."""
    if found := _objection(path, mark):  # made since the work began, perhaps
        raise ClockstepError(*found)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        put(part, path, page.encode(), os.O_EXCL | os.O_NOFOLLOW)
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise ClockstepError(text, "free some space or allow writing there") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _objection(path: Path, mark: str) -> tuple[str, str] | None:
    """Return why a page cannot be written there, and what to do about it."""
    try:
        return _unfit(path, mark)
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}", "name another file"


def _unfit(path: Path, mark: str) -> tuple[str, str] | None:
    """Return the same of what can be asked about. Raises OSError."""
    folder = path.parent
    if not folder.is_dir():
        return f"{path} cannot be written: there is no folder {folder}", "make it, or name another file"
    if path.is_symlink():
        return f"{path} is a link, and is not followed", "name the file itself, or another one"
    if path.exists() and not _is_ours(path, mark):
        return f"{path} exists and was not written by clockstep", "name another file, or remove this one"
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return f"{folder} may not be written by this user", "name a file in another folder"
    return None


def _is_ours(path: Path, mark: str) -> bool:
    """Whether there is a regular file with this mark; one that cannot be read is somebody else's."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(HEAD)
    except OSError:
        return False
