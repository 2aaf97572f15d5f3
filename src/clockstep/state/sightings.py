"""When each machine's clock was last seen within tolerance, in one file in the state folder."""

import os
from collections.abc import Mapping
from contextlib import suppress
from heapq import nlargest
from pathlib import Path

from clockstep.wire import decoded, encoded

MOST = 10_000
"""How many machines are remembered, those that were seen last: a host may have many that live for minutes."""
LARGEST = 1 << 20


class FileSightings:
    """The sightings, in a file in `folder`. One that is damaged or cannot be read says nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "within-tolerance.json"

    def kept(self) -> dict[str, int]:
        """Return the host's wall clock when each clock was last seen within tolerance, by UUID."""
        with suppress(OSError), self._path.open("rb") as file:
            return decoded(file.read(LARGEST), dict[str, int]) or {}
        return {}

    def keep(self, within_ns: Mapping[str, int]) -> None:
        """Keep these instead of those before, as a whole; what cannot be written is not kept."""
        latest = dict(nlargest(MOST, within_ns.items(), key=lambda one: one[1]))
        part = self._path.with_suffix(f".{os.getpid()}.part")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(encoded(latest))
            part.replace(self._path)
