"""script/package: the same commit makes the same bytes, wherever and whenever it is built."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clockstep import __version__
from packages.conftest import HERE

pytestmark = pytest.mark.packages

BUILD = "umask 077; exec bash script/package dist"


def test_the_same_sources_make_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere with a space"
    words: list[str | Path] = ["git", "-C", HERE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, reversed(names)):  # in another order, at another time
        if (HERE / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, copy / name)
    subprocess.run(["git", "init", "--quiet", copy], check=True)
    (copy / ".venv").symlink_to(HERE / ".venv")
    (copy / "src/clockstep/not-ours.pyc").write_bytes(b"?")
    (copy / ".gitignore").write_text("*.pyc\n.venv\n")
    committed = subprocess.run(["git", "-C", HERE, "log", "-1", "--format=%ct"], capture_output=True, check=True).stdout
    environment = {**os.environ, "SOURCE_DATE_EPOCH": committed.decode().strip(), "TZ": "Asia/Kolkata", "LC_ALL": "C"}
    subprocess.run(["bash", "-c", BUILD], cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert (copy / "dist/SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_the_checksums_are_of_all_that_is_there(dist: Path) -> None:
    said = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=dist, capture_output=True, text=True, check=True)
    names = {line.removesuffix(": OK") for line in said.stdout.splitlines()}
    assert names == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}
    expected = {f"clockstep_{__version__}+deb12_amd64.deb", f"clockstep_{__version__}+deb13_all.deb"}
    expected |= {f"clockstep-agent_{__version__}_all.deb", f"clockstep-{__version__}-py3-none-any.whl"}
    assert names == expected | {f"clockstep-{__version__}.tar.gz", "clockstep.pyz"}
