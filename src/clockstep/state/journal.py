"""What clockstep has paused or defined anew, on disk: after a kill, the next command knows of it.

One file for each machine, so that nothing need be read to write, and two commands on two machines do not meet.
"""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from clockstep.errors import JournalError
from clockstep.model import Guest, Pause
from clockstep.state.cordons import FileCordons
from clockstep.state.files import keep
from clockstep.wire import decoded, encoded

LEFT_S = 3600


def state_folder(environment: Mapping[str, str], *, root: bool) -> Path:
    """Return where state is kept: CLOCKSTEP_STATE, else root's in /var/lib, others' by the XDG base directory rules."""
    if chosen := environment.get("CLOCKSTEP_STATE"):
        return Path(chosen).absolute()
    if root:
        return Path("/var/lib/clockstep")
    home = environment.get("XDG_STATE_HOME") or f"{environment.get('HOME', '/')}/.local/state"
    return Path(home) / "clockstep"


class FileJournal:
    """The pauses, in files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "paused"
        self.cordons = FileCordons(folder)

    def pauses(self) -> dict[str, Pause]:
        """Return all that is written down, by UUID; a file that cannot be read tells nothing."""
        found: dict[str, Pause] = {}
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError):
                if pause := decoded(path.read_bytes(), Pause):
                    found[pause.uuid] = pause
        return found

    def note(self, pause: Pause) -> None:
        """Write down a pause so that it survives this process, and a power cut."""
        keep(self._path(pause.uuid), encoded(pause))

    def strike(self, uuid: str) -> None:
        """Forget a pause."""
        with suppress(OSError):
            self._path(uuid).unlink(missing_ok=True)

    def tidy(self, there: Collection[Guest], connections: Collection[str]) -> list[str]:
        """Forget pauses of machines that are gone, and what killed runs have left; return what it was, in words.

        `there` are all machines of these `connections`. An address that means another place another time, as libvirt's
        default one and a lab's do, tells nothing of a machine that is not there, nor does one that went elsewhere.
        """
        steady = {address for address in connections if address and not address.startswith("lab")}
        uuids = {guest.uuid for guest in there}
        paused = list(self.pauses().values())
        gone = [pause for pause in paused if pause.connection in steady and pause.uuid not in uuids]
        for pause in gone:
            self.strike(pause.uuid)
        left = [path for path in self._folder.parent.rglob("*.part") if _is_left(path)]
        for path in left:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        said = [f"forgot that {pause.node} was paused for {pause.text}: the domain no longer exists" for pause in gone]
        return [*said, *(f"removed {path}, left by a run that was killed" for path in left)]

    def _path(self, uuid: str) -> Path:
        return self._folder / f"{UUID(uuid)}.json"


class FileDefinitions:
    """How machines were defined before and after clockstep changed that, in files below `folder`.

    A definition may have passwords, so only its owner may read the file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "definitions"

    def keep(self, uuid: str, which: str, definition: str) -> None:
        """Keep a definition so that it survives a power cut; `which` is "before" or "after"."""
        keep(self._path(uuid, which), definition.encode(), mode=0o600)

    def kept(self, uuid: str, which: str) -> str | None:
        """Return the definition that is kept; None where there is none."""
        path = self._path(uuid, which)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"{path} cannot be read: {error.strerror}", "allow reading it") from error

    def forget(self, uuid: str, *which: str) -> None:
        """Forget what was kept under these words; without any, both definitions."""
        for one in which or ("before", "after"):
            with suppress(OSError):
                self._path(uuid, one).unlink(missing_ok=True)

    def _path(self, uuid: str, which: str) -> Path:
        return self._folder / f"{UUID(uuid)}.{which}.xml"


def _is_left(part: Path) -> bool:
    """Whether a file that was being written is so no more: its process is gone, and it is old, wherever that ran."""
    pid = part.stem.rpartition(".")[2]
    if pid.isdecimal() and Path(f"/proc/{pid}").exists():
        return False
    with suppress(OSError):
        return time.time() - part.stat().st_mtime > LEFT_S
    return False
