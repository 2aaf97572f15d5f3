"""Empty the cache, but for what a running lab stands on and what somebody is building."""

import fcntl
import shutil
from contextlib import ExitStack
from pathlib import Path

from .cache import Say
from .lab import all_labs
from .places import cache_dir


def prune(say: Say) -> int:
    """Remove what no running lab uses and nobody is building; the number of bytes that this freed.

    What was started from the cache is found by its command line, so that labs in other folders count as well.
    """
    entries = sorted(path for path in cache_dir().iterdir() if path.suffix != ".lock")
    labs = all_labs()
    used = {Path(folder).name for lab in labs for folder in lab.uses}
    freed = 0
    with ExitStack() as held:
        building = _locks(held)
        commands = _commands()
        for entry in entries:
            name = entry.name
            if name in used or any(f"/{name}/".encode() in command for command in commands):
                say(f"{name} kept: a running lab uses it")
            elif any(name == kind or name.startswith(f"{kind}-") for kind in building):
                say(f"{name} kept: it is being built")
            elif not (labs and name.startswith("libvirt-")):
                freed += _size(entry)
                shutil.rmtree(entry, ignore_errors=True)
    return freed


def _locks(held: ExitStack) -> set[str]:
    """Take the locks of all kinds that nobody else has; the kinds of which somebody has it."""
    busy = set()
    for path in cache_dir().glob("*.lock"):
        lock = held.enter_context(path.open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy.add(path.stem)
    return busy


def _commands() -> list[bytes]:
    """The command lines of all processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes())
        except OSError:  # it has ended
            continue
    return found


def _size(entry: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in entry.rglob("*"))
