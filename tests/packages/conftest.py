"""What people install, built once for a run, and clean Debians to install it in."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from packages.roots import Root, clean

HERE = Path(__file__).parents[2]
NUMBERS = count()


def built_in(folder: Path, **environment: str) -> Path:
    """The folder, filled by script/package."""
    words: list[str | Path] = ["bash", HERE / "script/package", folder]
    subprocess.run(words, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all packages."""
    return built_in(tmp_path_factory.mktemp("packages") / "dist")


@pytest.fixture(scope="session", params=[12, 13], ids=["debian-12", "debian-13"])
def debians(
    request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Root, Root]]:
    """A Debian without anything of this project, and one that has only what the package needs."""
    if os.geteuid():
        pytest.skip("a folder that is a Debian takes root")
    at = tmp_path_factory.mktemp("root")
    yield clean(request.param, field(dist / deb(dist, request.param), "Depends"), dist, at)
    shutil.rmtree(at)


@pytest.fixture(scope="session")
def debian_with(debians: tuple[Root, Root]) -> Root:
    """A Debian with the package. Its tests change nothing there."""
    root = debians[1].above("installed")
    root.install(deb(root.dist, root.number))
    return root


@pytest.fixture
def bare(debians: tuple[Root, Root]) -> Iterator[Root]:
    """A Debian without anything of this project, of a test's own."""
    yield from _own(debians[0])


@pytest.fixture
def needy(debians: tuple[Root, Root]) -> Iterator[Root]:
    """A Debian with what the package needs, and without the package, of a test's own."""
    yield from _own(debians[1])


@pytest.fixture
def own(debian_with: Root) -> Iterator[Root]:
    """A Debian with the package, of a test's own."""
    yield from _own(debian_with)


def _own(below: Root) -> Iterator[Root]:
    root = below.above(f"test-{next(NUMBERS)}")
    yield root
    shutil.rmtree(root.layers[0])


def deb(dist: Path, number: int) -> str:
    """The name of the package for a Debian."""
    (found,) = dist.glob(f"clockstep_*+deb{number}_*.deb")
    return found.name


def field(package: Path, name: str) -> str:
    words: list[str | Path] = ["dpkg-deb", "--field", package, name]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
