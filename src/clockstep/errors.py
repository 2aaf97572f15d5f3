"""The errors a person may meet: one clear line, and a hint that says what to do about it.

Adapters translate what their libraries raise into these at the edge; the command line turns them into an exit code.
"""

LONGEST = 1024


class ClockstepError(Exception):
    """Something the user can act on. `exit_code` is what the process ends with when nothing else catches it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = cut(message)
        self.hint = hint


class UsageError(ClockstepError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class BusyError(ClockstepError):
    """Another clockstep acts on a node, and did not let go of it in time."""


class HostError(ClockstepError):
    """This machine's own clock is not good enough for what was asked."""


class JournalError(ClockstepError):
    """What is to be paused cannot be written down, so it is not paused."""


class HypervisorError(ClockstepError):
    """The hypervisor cannot be reached, or refused an operation."""

    exit_code = 3


class LostConnectionError(HypervisorError):
    """The connection to the hypervisor broke; what was asked for last may or may not have been done."""


class ReachError(ClockstepError):
    """A node does not answer, or answers nonsense. `lasting`: asking again in a moment will not help."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", *, lasting: bool = False) -> None:
        super().__init__(message, hint)
        self.lasting = lasting


class ExecBlockedError(ReachError):
    """The guest refuses to run commands at all; its clock may still be read and set."""


class NoProgramError(ReachError):
    """The guest has no program of this name."""


class NotSteppedError(ReachError):
    """The node answers that its clock was not stepped; any other error leaves that open."""


class NotRunningError(ReachError):
    """The machine does not run. One that ran a moment ago may be in the middle of a revert."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, lasting=True)


class DeadlineError(ReachError):
    """A node was still busy when its time was up."""


def cut(text: str) -> str:
    """Return `text` in at most 1 KiB, so that no tool's output drowns the line that matters."""
    stripped = text.strip()
    return stripped if len(stripped) <= LONGEST else stripped[: LONGEST - 1] + "…"
