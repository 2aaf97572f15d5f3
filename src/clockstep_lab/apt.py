"""Debian packages with everything they depend on, fetched without root and without touching this machine's packages.

The mirror is the one this machine's own apt uses. Where that is not Debian's (Ubuntu), CLOCKSTEP_LAB_MIRROR names one.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from .cache import locked
from .errors import LabError
from .places import cache_dir
from .run import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def mirror() -> str:
    """The address of a Debian mirror. Raises LabError when this machine knows none."""
    if named := os.environ.get("CLOCKSTEP_LAB_MIRROR"):
        return named
    listed = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages"]).decode()
    for line in listed.splitlines():
        origin, label, site = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return site
    raise LabError(
        "apt on this host has no Debian mirror configured",
        "run apt-get update on Debian; elsewhere name a mirror's address in CLOCKSTEP_LAB_MIRROR",
    )


def source_line(suite: str) -> str:
    """The line of sources.list(5) for this suite."""
    return f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n"


def download(suite: str, packages: Iterable[str]) -> list[Path]:
    """The .deb files of these packages and of all they depend on, recommendations left out.

    Raises LabError when apt can't find or fetch one.
    """
    if not KEYRING.exists():
        raise LabError(f"{KEYRING} is missing", "install the package debian-archive-keyring (script/setup does)")
    home = cache_dir() / f"apt-{suite}"
    wanted = sorted(packages)
    with locked(cache_dir() / f"apt-{suite}.lock"):
        options = _private(home, suite)
        run(["apt-get", *options, "-qq", "update"])
        run(["apt-get", *options, "-qq", "--yes", "--download-only", "install", *wanted])
        named = run(
            [
                "apt-get",
                *options,
                "-qq",
                "--yes",
                "--print-uris",
                "--reinstall",
                "-o",
                "Dir::Cache::archives=/nonexistent",
                "install",
                *wanted,
            ]
        )
    return [home / "cache/archives" / line.split()[1] for line in named.decode().splitlines() if line.startswith("'")]


def _private(home: Path, suite: str) -> list[str]:
    for part in ("lists/partial", "cache/archives/partial"):
        (home / part).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()  # an empty one: nothing is installed, so everything needed is fetched
    (home / "sources.list").write_text(source_line(suite))
    settings = {
        "Dir::Etc::SourceList": home / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": home / "lists",
        "Dir::State::status": home / "status",
        "Dir::Cache": home / "cache",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
