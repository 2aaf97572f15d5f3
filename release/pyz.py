"""clockstep.pyz: the program as one file for machines where nothing may be installed.

msgspec is compiled, and nothing compiled can be loaded out of a zip file: `files/pyz_main.py` loads it from memory. So
it is there for each Python and kind of machine that `PYTHONS` and `MACHINES` name.
"""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

import carried

MAIN = Path(__file__).with_name("files") / "pyz_main.py"
START = b"#!/usr/bin/env python3\n"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
PLAIN = ("click", "prometheus-client", "rich")
MADE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can have."""


def build(unpacked_wheel: Path, target: Path) -> None:
    """Write the file, from what the wheel has and the locked libraries."""
    with tempfile.TemporaryDirectory(prefix="clockstep-pyz-") as work:
        tree = Path(work)
        shutil.copytree(unpacked_wheel / "clockstep", tree / "clockstep")
        carried.unpack(carried.wheels(PLAIN, PYTHONS[0]), tree)
        for python in PYTHONS:
            for machine in MACHINES:
                carried.unpack(carried.wheels(("msgspec",), python, machine), tree)
        shutil.copyfile(MAIN, tree / "__main__.py")
        target.write_bytes(_zipped(tree))
        target.chmod(0o755)


def _zipped(tree: Path) -> bytes:
    buffer = io.BytesIO(START)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(tree)), MADE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()
