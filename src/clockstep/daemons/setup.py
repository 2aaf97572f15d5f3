"""Setting chrony up in a node: one shell script that looks, does it and undoes it, and a pure parse of what it says.

The script is also what `setup print` prints: what is provisioned is what is applied, and neither needs the other.
It says what is there in sections, each begun by a marked line; files come line by line behind a `|`.
"""

import shlex
from functools import partial

from clockstep.core.foreign import understood
from clockstep.core.sections import LAST, phrase, sections, words
from clockstep.core.setup import FileChange, SetupPlan
from clockstep.core.unnoticed import HOST_CLOCKS
from clockstep.daemons import PROGRAMS
from clockstep.guest import program

EMBEDDED = ("ahead", "answers")
"""What the script does by perl or python3, whichever is there."""
FOLDER = "/var/lib/clockstep-setup"
"""Not below /var/lib/clockstep: where the watcher is a service, that is its account's, and it is root who runs this."""
FILE = f"{FOLDER}/setup.sh"
LOG = f"{FOLDER}/log"
BEFORE, AFTER = "before ", "after "

STORE = program("setup/store.sh", FOLDER=FOLDER, FILE=FILE)
START = f"/bin/sh {FILE} start"
STATUS = f"/bin/sh {FILE} status"
CLEAR = f"/bin/sh {FILE} clear"

WORKING = "working"
DONE = "done"
REFUSED = "refused"
FAILED = "failed"
BROKEN = "broken"
"""The results: nothing was changed; all was put back; it was not."""


def script(phc: str = "", *, trust: bool = False, short_polls: bool = False) -> str:
    """Return the whole script, for the device `phc` where one is forced, and with chrony's `trust` where wanted.

    With `short_polls` time servers are asked every 64 s, where no clock can be followed.
    """
    text = program(
        "setup/setup.sh",
        PHC=shlex.quote(phc),
        TRUST="yes" if trust else "no",
        HOST_CLOCKS=shlex.quote("\n".join(HOST_CLOCKS)),
        POLLS="short" if short_polls else "as-they-are",
        PROGRAMS=shlex.quote(" ".join(PROGRAMS)),
        **{f"{name}_{kind}".upper(): program(f"setup/{name}.{kind}") for name in EMBEDDED for kind in ("pl", "py")},
    )
    return f"{text}\n"


def parse(output: str) -> SetupPlan | None:
    """Return the plan in what `plan` answered; None of an answer that is not whole."""
    return understood(_parsed, output)


def _parsed(output: str) -> SetupPlan | None:
    lines = sections(output)
    if LAST not in lines:
        return None

    several, said = partial(words, lines), partial(phrase, lines)
    return SetupPlan(
        system=said("system"),
        manager=said("manager"),
        chrony=said("chrony"),
        clock=said("clock"),
        kept=said("kept"),
        trusted=said("trusted") == "yes",
        forced=said("forced") == "yes",
        not_taken=several("not-taken"),
        objection=said("objection"),
        interrupted=said("interrupted") == "yes",
        applied=said("applied") == "yes",
        install=several("install"),
        replaces=several("replaces"),
        others=several("others"),
        silent=several("silent"),
        acts=several("acts"),
        files=_files(lines),
        agent=said("agent") == "yes",
    )


def _files(lines: dict[str, list[str]]) -> tuple[FileChange, ...]:
    paths = dict.fromkeys(name.partition(" ")[2] for name in lines if name.startswith((BEFORE, AFTER)))
    return tuple(FileChange(path, _text(lines.get(BEFORE + path)), _text(lines.get(AFTER + path))) for path in paths)


def _text(lines: list[str] | None) -> str | None:
    return None if lines is None else "".join(f"{line.removeprefix('|')}\n" for line in lines)


def read_status(output: str) -> tuple[str, bool, str]:
    """Return the result so far, whether the work still goes on, and its last words; an empty result is none yet."""
    lines = output.splitlines()
    result = lines[0] if lines else ""
    going_on = any(line in {"active", "activating", "deactivating"} for line in lines[1:2])
    return result, going_on, lines[-1] if len(lines) > 2 else ""
