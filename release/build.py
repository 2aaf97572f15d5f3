"""Build what people install: python release/build.py FOLDER, with the commit's time in SOURCE_DATE_EPOCH.

Everything is made from a copy of the files that git knows, so that nothing else gets in. The same sources and the same
SOURCE_DATE_EPOCH make the same bytes: names are sorted, times are that one, owners are root, modes are two.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import deb
import pyz

ROOT = Path(__file__).parents[1]
NEEDED = (
    "src",
    "docs/man",
    "release",
    "requirements",
    *"MANIFEST.in pyproject.toml README.md LICENSE CHANGELOG.md".split(),
)
BUILD = "from setuptools import build_meta; import sys; getattr(build_meta, sys.argv[1])(sys.argv[2])"
SUMS = "SHA256SUMS"


def main(folder: Path) -> None:
    """Fill a folder, which loses what is in it, with all packages and their checksums."""
    when = int(os.environ["SOURCE_DATE_EPOCH"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="clockstep-package-") as work:
        source = Path(work) / "source"
        copy_sources(ROOT, source)
        python_packages(source, folder, when)
        (wheel,) = folder.glob("*.whl")
        unpacked = Path(work) / "wheel"
        shutil.unpack_archive(wheel, unpacked, "zip")
        pyz.build(unpacked, folder / "clockstep.pyz")
        for package in deb.packages(source, unpacked):
            deb.build(package, Path(work) / "tree", folder, when)
    write_sums(folder)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size / 1e6:6.2f} MB  {file.name}")


def copy_sources(root: Path, into: Path) -> None:
    """Copy the files that git knows, or would add, of what packages are made of."""
    listed = run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *NEEDED])
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, into / name)
            (into / name).chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)


def python_packages(source: Path, folder: Path, when: int) -> None:
    """Build the wheel and the sdist with setuptools, which leaves its own times in the sdist."""
    for kind in ("build_sdist", "build_wheel"):
        run([sys.executable, "-c", BUILD, kind, folder], cwd=source)
    (sdist,) = folder.glob("*.tar.gz")
    pack_again(sdist, when)


def pack_again(archive: Path, when: int) -> None:
    """Replace a .tar.gz by one of the same files in order, of root's, at one time."""
    with tarfile.open(archive) as old, tempfile.TemporaryFile() as plain:
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as new:
            for member in sorted(old.getmembers(), key=lambda one: one.name):
                kept = tarfile.TarInfo(member.name)
                kept.type, kept.size, kept.mtime = member.type, member.size, when
                kept.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                new.addfile(kept, old.extractfile(member) if member.isfile() else None)
        plain.seek(0)
        packed = gzip.compress(plain.read(), mtime=when)
    archive.write_bytes(packed)


def write_sums(folder: Path) -> None:
    """Write what sha256sum(1) --check reads."""
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")


def run(words: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Return what a command prints; if it fails, end with what it said."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"package: {words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
