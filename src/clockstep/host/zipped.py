"""clockstep.pyz: the program as one file, which has less in it than a package."""

from pathlib import Path

import clockstep
from clockstep.errors import UsageError

INSTALL = "install clockstep's package, or its wheel with pipx"


def refuse_zip(what: str) -> None:
    """Raise UsageError for what needs clockstep's files, or another start of it, if it runs from one file."""
    if not Path(clockstep.__file__).is_file():
        raise UsageError(f"clockstep.pyz has no part for {what}", INSTALL)
