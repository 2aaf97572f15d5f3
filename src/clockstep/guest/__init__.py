"""What clockstep runs inside a node: programs in shell, Perl and Python, as files that linters read, and their loader.

A program includes another as its own language would: `. step/x.sh`, `require "step/x.pl";`, `from step.x import *`.
A word such as `__LEASE__` is a placeholder. Lines that begin with `##` or `# shellcheck` are not sent to a node.
"""

import pkgutil
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
NOTE = re.compile(r"^[ \t]*(?:##|# shellcheck ).*\n", re.MULTILINE)
INCLUSION = re.compile(r'^(?:\. (\S+\.sh)|require "(\S+\.pl)";|from (\S+) import \*)\n', re.MULTILINE)
PLACEHOLDER = re.compile(r"__([A-Z][A-Z0-9_]*)__")


def program(name: str, /, **values: object) -> str:
    """Return the text of a program, such as "clock/clock.sh", with its placeholders filled, without its last newline.

    Raises ValueError where a placeholder has no value, or a value has no placeholder.
    """
    text = _text(name)
    if differing := set(PLACEHOLDER.findall(text)) ^ set(values):
        raise ValueError(f"placeholders of {name}: {', '.join(sorted(differing))}")
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), text).removesuffix("\n")


@cache
def _text(name: str) -> str:
    found = pkgutil.get_data(__name__, name)  # a zipapp has no folder
    if found is None:
        raise FileNotFoundError(name)
    text = NOTE.sub("", found.decode())
    return INCLUSION.sub(lambda found: _text(_included(found)), text)


def _included(found: re.Match[str]) -> str:
    return found[1] or found[2] or f"{found[3].replace('.', '/')}.py"
