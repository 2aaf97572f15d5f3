"""Standard streams that have not every letter, as of a terminal without UTF-8: nothing fails because of that."""

import codecs
import sys
from io import TextIOWrapper

HANDLER = "clockstep"
SPELLED = {"±": "+-", "µ": "u", "…": "..."}
"""What is printed instead of letters of our own. Others, as of a node's name, become JSON's escapes."""


def print_anything() -> None:
    """Have letters spelled out that a standard stream cannot encode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            codecs.register_error(HANDLER, spelled)
            stream.reconfigure(errors=HANDLER)


def spelled(error: UnicodeError) -> tuple[str, int]:
    """Return what is printed instead, and where to go on (codecs.register_error)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(SPELLED.get(letter) or _escape(letter) for letter in letters), error.end


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
