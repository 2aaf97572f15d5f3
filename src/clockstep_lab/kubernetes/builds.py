"""The programs of the two Kubernetes servers and their etcd: built or fetched once, each in a folder of the cache.

No package has a Kubernetes API server. Debian 12 has the source of 1.20.2, whole, and unstable has the libraries that
a current one is made of: `build/kubelite` links those into a server of its own (evidence of what is real in it, and
what is not, in `build/kubelite/main.go`).
"""

import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from clockstep_lab.cache import Say, built
from clockstep_lab.errors import LabError
from clockstep_lab.image import unpack
from clockstep_lab.run import need, run

from .packages import Suites, suites

BUILD = Path(__file__).parent / "build"
GIVEN_KUBELITE = "CLOCKSTEP_KUBELITE"
"""The environment variable that names a finished kubelite, as it is or as `.xz`, to be used instead of a build."""
KUBERNETES = ("golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev")
GO = ("1.26", "1.27")
NEWER = ("trixie-backports", "sid")
BUILD_S = 3600
"""When a build is given up: it takes minutes, and many times that beside other work."""


def kubernetes(say: Say) -> Path:
    """The folder of Kubernetes 1.20.2: kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kubectl.

    Raises LabError.
    """
    script = BUILD / "kubernetes.sh"

    def make(work: Path, packages: Path) -> None:
        with suites("bookworm", kinds=("deb", "deb-src")) as debian:
            debian.fetch(KUBERNETES, packages)
            debian.fetch_source("kubernetes", work)

    ingredients = [script.read_bytes(), repr(KUBERNETES).encode()]
    return built("kubernetes", ingredients, lambda into: _compile(script, make, into, say), say)


def kubelite(say: Say) -> Path:
    """The folder of kubelite, an API server of today for tests. Raises LabError.

    Where unstable has moved on from the packages that it was made with, newer ones are taken.
    """
    script, sources = BUILD / "kubelite.sh", sorted((BUILD / "kubelite").iterdir())

    def make(work: Path, packages: Path) -> None:
        shutil.copytree(BUILD / "kubelite", work / "kubelite")
        with suites(*NEWER) as debian:
            debian.fetch([*_go(debian), *_libraries(debian, say)], packages)

    def fill(into: Path) -> None:
        if given := os.environ.get(GIVEN_KUBELITE):
            take(Path(given), into / "kubelite")
        else:
            _compile(script, make, into, say)

    return built("kubelite", [path.read_bytes() for path in (script, *sources)], fill, say)


def etcd(say: Say) -> Path:
    """The folder of Debian 13's etcd, which runs on Debian 12 too; 3.4 is too old for kubelite. Raises LabError."""

    def fill(into: Path) -> None:
        with suites("trixie") as debian:
            debian.fetch(["etcd-server"], into)
        (package,) = into.glob("*.deb")
        unpack(package, into)
        (into / "usr/bin/etcd").rename(into / "etcd")

    return built("etcd", [b"trixie"], fill, say)


def _compile(script: Path, make: Callable[[Path, Path], None], into: Path, say: Say) -> None:
    """Run a build script on what `make` puts into a work folder and its folder of packages."""
    need("dpkg-deb", "dpkg-source")
    work = into / "work"
    packages = work / "packages"
    packages.mkdir(parents=True)
    say("fetching packages")
    make(work, packages)
    say(f"compiling {script.stem}: some four minutes on two cores")
    run(["bash", script, work, into], timeout_s=BUILD_S)
    shutil.rmtree(work)


def _go(debian: Suites) -> list[str]:
    """The packages of the Go that kubelite was made with, or of the one after it."""
    sources = [(version, suite) for version in GO for suite in NEWER]
    there = debian.offered(f"golang-{version}-go" for version in GO)
    for version, suite in sources:
        if f"golang-{version}-go/{suite}" in there:
            return [f"golang-{version}-go/{suite}", f"golang-{version}-src/{suite}"]
    raise LabError(
        f"Debian's {' and '.join(NEWER)} have no Go {' or '.join(GO)}",
        f"name a finished kubelite in {GIVEN_KUBELITE}",
    )


def _libraries(debian: Suites, say: Say) -> list[str]:
    """The packages that kubelite was made with; instead of those that are gone, the newest."""
    wanted = (BUILD / "kubelite/packages").read_text().split()
    names = {package: package.partition("=")[0] for package in wanted}
    there = debian.offered(names.values())
    if gone := [package for package in wanted if package not in there]:
        say(f"unstable has moved on from {', '.join(gone)}")
    return [package if package in there else f"{names[package]}/sid" for package in wanted]


def take(given: Path, program: Path) -> None:
    """Copy a finished kubelite, and see that it is one and runs here. Raises LabError."""
    hint = f"name a kubelite, or its .xz, in {GIVEN_KUBELITE}, or unset it to have one built"
    try:
        content = given.read_bytes()
        program.write_bytes(lzma.decompress(content) if given.suffix == ".xz" else content)
        program.chmod(0o755)
        said = subprocess.run([program, "--help"], capture_output=True, timeout=60, check=False).stderr
    except (OSError, lzma.LZMAError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{given} can't be used: {error}", hint) from error
    if b"Usage of kubelite:" not in said:
        raise LabError(f"{given} is no kubelite", hint)


if __name__ == "__main__":
    for build in (kubernetes, kubelite, etcd):
        build(lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
