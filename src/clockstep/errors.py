"""The errors that users see: one clear line, and a hint that says what to do about it.

Adapters translate what their libraries raise into these at the edge; the command line turns them into an exit code
(`cli/exits.py`).
"""

import logging

LONGEST = 1024


class ClockstepError(Exception):
    """Something the user can act on: one line, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = cut(visible(message))
        self.hint = visible(hint)


class UsageError(ClockstepError):
    """The command line asks for something that does not exist or does not fit together."""


class BusyError(ClockstepError):
    """Another clockstep acts on a node, and did not let go of it in time."""


class HostError(ClockstepError):
    """This machine's own clock is not good enough for what was asked."""


class JournalError(ClockstepError):
    """What is to be paused cannot be written down, so it is not paused."""


class HypervisorError(ClockstepError):
    """The hypervisor cannot be reached, or refused an operation."""


class LostConnectionError(HypervisorError):
    """The connection to the hypervisor broke; what was asked for last may or may not have been done."""


class KubernetesError(ClockstepError):
    """A Kubernetes cluster cannot be asked, or refused what was asked; clocks are corrected all the same.

    `lasting`: asking again in a moment will not help. `status` is the HTTP status of the API server's answer; 0 if
    there was none.
    """

    def __init__(self, message: str, hint: str = "", *, lasting: bool = False, status: int = 0) -> None:
        super().__init__(message, hint)
        self.lasting = lasting
        self.status = status

    @property
    def not_found(self) -> bool:
        """Whether the API server answered that there is no such object."""
        return self.status == 404


class InternalError(ClockstepError):
    """A bug in this program."""

    def __init__(self, bug: BaseException) -> None:
        super().__init__(f"internal error: {type(bug).__name__}: {bug}", "run it again with -v and report it")
        logging.getLogger("clockstep").debug("%s", self.message, exc_info=bug)


class ReachError(ClockstepError):
    """A node does not answer, or answers nonsense. `lasting`: asking again in a moment will not help."""

    def __init__(self, message: str, hint: str = "", *, lasting: bool = False) -> None:
        super().__init__(message, hint)
        self.lasting = lasting


CONFINED_HINT = "reach it by ssh (--reach ssh), or run in it: semanage permissive -a virt_qemu_ga_t"
"""What helps where SELinux confines a guest agent (virt_qemu_ga_selinux(8)). The policy has a switch too,
virt_qemu_ga_run_unconfined, but that is for programs that are labelled virt_qemu_ga_unconfined_exec_t."""


class ExecBlockedError(ReachError):
    """The guest refuses to run commands at all; its clock may still be read and set."""


class ConfinedError(ExecBlockedError):
    """The guest forbids its agent to run programs, or to run what matters here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFINED_HINT, lasting=True)


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


def visible(text: str) -> str:
    """Return `text` with control and bidirectional characters spelled out: no terminal or log should get them.

    A line feed is one of them, since a line of a log is one line.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode() if letter != "\n" else "\\n"


def cut(text: str) -> str:
    """Return `text` in at most 1 KiB, so that no tool's output drowns the line that matters."""
    stripped = text.strip()
    return stripped if len(stripped) <= LONGEST else stripped[: LONGEST - 1] + "…"
