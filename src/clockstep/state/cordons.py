"""Which Nodes of Kubernetes clockstep has cordoned, on disk: after a kill, the next command uncordons them.

The mark on a Node says the same: which host, which of its processes, when, and for what. A process is told from a later
one of its number by when it began (proc(5), starttime).
"""

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from clockstep.errors import cut
from clockstep.model import Cordon
from clockstep.state.files import keep
from clockstep.units import show_moment
from clockstep.wire import decoded, encoded

MARK = re.compile(r"(?P<host>\S{1,255}) (?P<process>\d{1,10}/\d{1,20}) .*", re.ASCII | re.DOTALL)
STARTTIME = 19
"""Which word it is of those behind the program's name."""


class FileCordons:
    """The cordons, in files below `folder`, one for each Node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "cordoned"

    def mark(self, operation: str, at_ns: int) -> str:
        """Return the mark of what this process cordons, in no more characters than are read of it."""
        return cut(f"{socket.gethostname()} {_process(os.getpid())} {show_moment(at_ns)}, {operation}")

    def is_over(self, mark: str) -> bool:
        """Whether a mark is of a process of this host that has ended."""
        found = MARK.fullmatch(mark)
        if found is None or found["host"] != socket.gethostname():
            return False
        return _process(int(found["process"].partition("/")[0])) != found["process"]

    def notes(self) -> list[Cordon]:
        """Return all that is written down; a file that cannot be read tells nothing."""
        found: list[Cordon] = []
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError):
                if cordon := decoded(path.read_bytes(), Cordon):
                    found.append(cordon)
        return found

    def note(self, cordon: Cordon) -> None:
        """Write down a cordon so that it survives this process, and a power cut."""
        keep(self._path(cordon), encoded(cordon))

    def strike(self, cordon: Cordon) -> None:
        """Forget a cordon, unless another one of the same Node was written down since."""
        with suppress(OSError):
            path = self._path(cordon)
            if decoded(path.read_bytes(), Cordon) == cordon:
                path.unlink(missing_ok=True)

    def _path(self, cordon: Cordon) -> Path:
        import hashlib  # which loads OpenSSL, and every command has these notes

        return self._folder / f"{hashlib.sha256(f'{cordon.uid} {cordon.name}'.encode()).hexdigest()}.json"


def _process(pid: int) -> str:
    """Return what tells a process from all others, as its number and when it began; empty of none."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return f"{pid}/{words[STARTTIME]}"
    except (OSError, IndexError):
        return ""
