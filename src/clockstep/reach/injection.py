"""The step itself, as it is carried out in a node: one adjtimex(2) that adds to the clock, atomically, and once.

Every step has a token, and the node remembers in its /run, under a lock, which tokens were begun and what was added:
a repetition, by whatever way and however late the first one comes, adds nothing and says what became of it. To ask for
a token that the node does not know closes it, so that whoever asks knows from then on. The memory is gone at boot, and
goes back with the clock when the node is reverted.

A relative step does not mind being late. But something else may have moved the clock since it was looked at: so each
step also carries what the node's clock is expected to say, and is not made when the clock is elsewhere. And a daemon
that has noticed the offset may be slewing it away, by up to 83 ms in each second: so what was slewed since then is
taken off the step, and the slewing is ended.
"""

import re
from pathlib import Path

from clockstep.core.foreign import bounded, understood
from clockstep.errors import NotSteppedError, ReachError
from clockstep.guest import program
from clockstep.ports import Clock, Output
from clockstep.units import SECOND_NS

MEMORY = "/run/clockstep/steps"
"""Where a node remembers its steps; a line for each thing that became of one."""

WINDOW_NS = 5 * SECOND_NS
"""How far from where it is expected a clock may be and still be stepped; also how long a step may take to begin."""

DONE = 0
UNAVAILABLE = 69
ELSEWHERE = 75
KNOWN = 76
REFUSED = 77
"""Exit codes of the scripts, after sysexits.h: no tool for it; the clock is elsewhere; the token is known already, or
was asked for; adjtimex or the memory said no."""

ADJTIMEX = {"X86_64": 159, "AARCH64": 171}
"""The numbers of the system call."""
PERL = program("step/main.pl", **ADJTIMEX)
PYTHON = program("step/main.py")
CHOICE = program("step/choose.sh")

FATE = re.compile(r"done (-?\d{1,11}) (\d{1,9})|begun|closed", re.ASCII)


def new_token(clock: Clock) -> str:
    """Return what a step is known by: this boot of this machine, and then the monotonic clock, so that a node can tell
    which of two steps was asked for later."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")[:12]
    return f"{boot}{clock.monotonic_ns():016x}"


def by_shell(words: list[str]) -> list[str]:
    """Return the command that carries out what these words say, by whatever the node has for it."""
    return ["/bin/sh", "-c", CHOICE, "clockstep", PERL, PYTHON, *words]


def by_perl(words: list[str]) -> list[str]:
    """Return the same without a shell, for a node that has perl: on a guest that is emulated a shell costs 50 ms."""
    return ["perl", "-e", PERL, *words]


def step_words(token: str, by_ns: int, expected_ns: int, window_ns: int = WINDOW_NS) -> list[str]:
    """Return what the scripts' `step` is told to add `by_ns` to a clock that says `expected_ns` since 1970.

    The second half of a negative step is positive nanoseconds, too (timekeeping_validate_timex in the kernel).
    """
    return [
        MEMORY,
        token,
        *(str(part) for ns in (by_ns, expected_ns) for part in divmod(ns, SECOND_NS)),
        str(window_ns),
    ]


def fate_words(token: str) -> list[str]:
    """Return what the scripts' `step` is told to say what became of a step, and to close one that was not begun."""
    return [MEMORY, token]


def added(output: Output, hint: str) -> int | None:
    """Return what the script has added to the clock, now or under the same token before: 0 where the token is closed,
    None where the step was begun and it is not known whether it was made.

    Raises NotSteppedError where nothing was added now; `hint` is for a node that is not allowed to. Any other code, as
    of a script that was killed, leaves open what was done.
    """
    if output.code == ELSEWHERE:
        raise NotSteppedError("something else moved the clock since it was measured")
    if output.code == REFUSED:
        raise NotSteppedError(f"the clock could not be stepped: {output.err}", hint, lasting=True)
    fate = FATE.fullmatch(output.out.strip()) if output.code in {DONE, KNOWN} else None
    if fate is None:
        said = f"exit code {output.code}: {output.out[:80]!r} {output.err[:200]}"
        raise ReachError(f"asked for a step, the node answers {said}", "check the guest")
    if fate[1]:
        added_ns = understood(_nanoseconds, fate[0])
        if added_ns is None:
            raise ReachError(f"the node says that it has stepped by {fate[1]} s", "check the guest")
        return added_ns
    return 0 if fate[0] == "closed" else None


def _nanoseconds(done: str) -> int:
    _, seconds, nanoseconds = done.split()
    return bounded(int(seconds) * SECOND_NS + int(nanoseconds))
