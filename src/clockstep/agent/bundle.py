"""The agent as one file: a zipapp of what its entry imports, for a node that has python3 and nothing else.

The same sources make the same bytes.
"""

import ast
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from clockstep.host.zipped import refuse_zip

PACKAGE = Path(__file__).parents[1]
ENTRY = "clockstep.agent.__main__"
DATA = ("guest/daemons", "guest/step", "guest/survey")
"""Programs that run beside the agent, as files."""
START = b"#!/usr/bin/python3 -IS\n"
MAIN = "import runpy\n\nrunpy.run_module('clockstep.agent', run_name='__main__')\n"
MADE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can have."""


def bundle() -> bytes:
    """Return the zipapp. Raises UsageError if this program is one file itself."""
    refuse_zip("making the agent's one file")
    buffer = io.BytesIO(START)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", MAIN.encode())
        for file in sorted({*_modules(), *_data()}):
            _add(archive, str(file.relative_to(PACKAGE.parent)), file.read_bytes())
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, MADE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _data() -> Iterator[Path]:
    for folder in DATA:
        yield from (file for file in (PACKAGE / folder).rglob("*") if file.suffix in {".sh", ".pl", ".py"})


def _modules() -> set[Path]:
    """Return the files of all modules that the entry imports, directly or by others, also when a function runs."""
    found: set[Path] = set()
    waiting = [ENTRY]
    while waiting:
        for file in _files(waiting.pop()):
            if file not in found:
                found.add(file)
                waiting += _imports(file)
    return found


def _files(name: str) -> Iterator[Path]:
    """Yield the file of a module and those of the packages that it is in; none for what is no module of ours."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = PACKAGE.parent.joinpath(*parts[:count])
        yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())


def _imports(file: Path) -> Iterator[str]:
    """Yield the names of ours that a module imports; what comes from a package may be a module of it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "clockstep":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "clockstep")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_bytes(bundle())
    target.chmod(0o755)
