"""What is slow is built once: a folder named by the hash of everything that went into it, made under a lock."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import LabError
from .places import cache_dir

Say = Callable[[str], None]
UNUSED_S = 14 * 24 * 3600


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on this file (flock(2)); `waiting` is called once when somebody else has it.

    Who holds the lock may remove the file: who waited for a file that is gone takes the new one.
    """
    while True:
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                yield
                return


def place(kind: str, ingredients: list[bytes]) -> Path:
    """The folder in the cache for these ingredients, whether or not it is there."""
    return cache_dir() / f"{kind}-{_digest(ingredients)}"


def built(kind: str, ingredients: list[bytes], build: Callable[[Path], None], say: Say) -> Path:
    """The folder for these ingredients, built now if it is not there.

    `build` fills an empty folder, which gets its name only when it is whole: an interrupted build leaves nothing.
    Raises LabError when the disk is full.
    """
    folder = place(kind, ingredients)
    if not folder.is_dir():
        with lock_of(kind, say):
            if not folder.is_dir():
                say(f"building {kind}")
                forget_unused(kind)
                with filling(folder) as part:
                    build(part)
    used(folder)
    return folder


@contextmanager
def lock_of(kind: str, say: Say) -> Iterator[None]:
    """Be the only one who builds what is of this kind."""
    with locked(cache_dir() / f"{kind}.lock", lambda: say(f"waiting for another build of {kind}")):
        yield


def used(folder: Path) -> None:
    """Note that what is in this folder is of use, so that it is not removed for its age."""
    with suppress(PermissionError):  # somebody else's cache, which is as good
        os.utime(folder)


def forget_unused(kind: str) -> None:
    """Remove what was made for an older version of the lab and not used for long."""
    for folder in cache_dir().glob(f"{kind}-????????????????"):
        if time.time() - folder.stat().st_mtime > UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


def _digest(ingredients: list[bytes]) -> str:
    parts = [hashlib.sha256(part).digest() for part in ingredients]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """An empty folder that gets this name when the block ends well; its lock is held meanwhile.

    Raises LabError when the disk is full.
    """
    for left in folder.parent.glob(f"{folder.name}.part-*"):  # by a build that was killed: the lock is ours now
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        part.chmod(0o755)
        yield part
        part.rename(folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise LabError(f"no space left in {folder.parent}", "free some space and try again") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
