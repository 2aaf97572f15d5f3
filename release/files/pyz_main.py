"""The start of clockstep.pyz.

Its compiled module is loaded from memory (memfd_create(2)), so that no folder need be writable.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

COMPILED = "msgspec._core"
VERSION = ".".join(map(str, sys.version_info[:2]))
HINT = "take a Debian package, or the wheel with pipx"
HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - old Pythons come this far, too


def _module() -> bytes:
    """Return the compiled module for this Python on this machine; end if there is none."""
    name = COMPILED.replace(".", "/") + importlib.machinery.EXTENSION_SUFFIXES[0]
    loader = globals()["__loader__"]
    try:
        return bytes(loader.get_data(os.path.join(HERE, name)))  # noqa: PTH118
    except OSError:
        sys.exit(f"clockstep.pyz has no part for Python {VERSION} on this kind of machine; {HINT}")


class FromMemory(importlib.abc.MetaPathFinder):
    """Finds the one compiled module."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> "importlib.machinery.ModuleSpec | None":
        """Return how to load it."""
        if name != COMPILED:
            return None
        file = os.memfd_create(name)  # left open: the module is mapped from it
        os.write(file, _module())
        path = f"/proc/self/fd/{file}"
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        return importlib.util.spec_from_file_location(name, path, loader=loader)


if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs it has not installed it, so nothing else has checked that
    sys.exit(f"clockstep.pyz needs Python 3.11 or newer, and this is {VERSION}")
sys.meta_path.insert(0, FromMemory())

from clockstep.cli import main  # noqa: E402

main()
