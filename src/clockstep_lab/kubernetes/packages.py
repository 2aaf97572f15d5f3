"""Debian's packages and sources of several suites at once, each alone, without what it depends on.

The guests' images get theirs from `apt.py`, which is among what those are made of: any change there builds them anew.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clockstep_lab.apt import KEYRING, mirror
from clockstep_lab.cache import locked
from clockstep_lab.errors import LabError
from clockstep_lab.places import cache_dir
from clockstep_lab.run import need, run


class Suites:
    """Some suites of Debian, as apt knows them now. Everything raises LabError if apt can't do it."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options

    def offered(self, packages: Iterable[str]) -> set[str]:
        """Which of these packages there are, as apt-get(8) names them: `NAME=VERSION`, and `NAME/SUITE`."""
        found = set()
        for line in run(["apt-cache", *self._options, "madison", *packages]).decode().splitlines():
            name, version, origin = (part.strip() for part in line.split("|"))
            found |= {f"{name}={version}", f"{name}/{origin.split()[1].partition('/')[0]}"}
        return found

    def fetch(self, packages: Iterable[str], into: Path) -> None:
        """Put the .deb files of these packages into a folder."""
        run(["env", f"--chdir={into}", "apt-get", *self._options, "download", *packages])

    def fetch_source(self, package: str, into: Path) -> None:
        """Put a source package (.dsc and what belongs to it) into a folder."""
        run(["env", f"--chdir={into}", "apt-get", *self._options, "--download-only", "source", package])


@contextmanager
def suites(*names: str, kinds: Sequence[str] = ("deb",)) -> Iterator[Suites]:
    """These suites of Debian, with nothing of this machine's own; `kinds` are those of sources.list(5).

    Nobody else has the same ones meanwhile. Raises LabError.
    """
    need("apt-get", "apt-cache")
    if not KEYRING.exists():
        raise LabError(f"{KEYRING} is missing", "install the package debian-archive-keyring (script/setup does)")
    home = cache_dir() / f"apt-alone-{'+'.join((*names, *kinds[1:]))}"
    with locked(cache_dir() / f"{home.name}.lock"):
        options = ["-qq", "-o", f"Dir={home}", "-o", "Acquire::Languages=none"]
        options += ["-o", f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}"]
        _make_home(home, [f"{kind} [signed-by={KEYRING}] {mirror()} {name} main\n" for name in names for kind in kinds])
        run(["apt-get", *options, "update"])
        yield Suites(options)


def _make_home(home: Path, sources: Iterable[str]) -> None:
    """What apt expects below its `Dir` (apt.conf(5)), with no package installed."""
    for part in (
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ):
        (home / part).mkdir(parents=True, exist_ok=True)
    (home / "var/lib/dpkg/status").touch()
    (home / "etc/apt/sources.list").write_text("".join(sources))
