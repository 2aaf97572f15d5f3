"""The command line: parse, call, render, exit code; one file per command.

Nothing heavy is imported before it is known that it is needed, so that `--version` and `--help` answer at once.
"""

import errno
import logging
import os
import signal
import sys
from contextlib import suppress

from clockstep import __version__

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to a standard stream fails with if its file system is full or fails."""
STILL = b"""clockstep: finishing what is in progress, which can take minutes
  press Ctrl-C again to leave it unfinished: what is paused stays paused until clockstep resume
"""


def main() -> None:
    """Run the command line and end the process, whatever thread still hangs in a call that never returns."""
    _open_closed()
    if sys.stdout.encoding != "utf-8" or sys.stderr.encoding != "utf-8":
        from clockstep.host.streams import print_anything

        print_anything()
    if sys.argv[1:] == ["--version"]:
        code = _print_version()
    else:
        for number in INTERRUPTS:
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGINT:  # nohup(1) has SIGHUP ignored
                signal.signal(number, _interrupt)
        code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; every error has become a line on stderr."""
    import click

    from clockstep.cli.context import called
    from clockstep.cli.exits import Exit, of_error, of_signal
    from clockstep.cli.root import root
    from clockstep.errors import ClockstepError, InternalError

    _log_nothing()
    try:
        code = root.main(argv, prog_name=called(), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return _failed(argv, error.format_message(), "see its --help", Exit.USAGE)
    except (KeyboardInterrupt, click.Abort) as error:
        return _complain(argv, "interrupted", "", of_signal(_signal_of(error)), trace=False)
    except ClockstepError as error:
        return _complain(argv, error.message, error.hint, of_error(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug, and it ends here
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            return _complain(argv, f"cannot write the output: {error.strerror}", "", Exit.REFUSED)
        bug = InternalError(error)
        return _complain(argv, bug.message, bug.hint, of_error(bug))
    return code if isinstance(code, int) else Exit.GOOD


def _log_nothing() -> None:
    """Log nothing, until a command line asks for it."""
    log = logging.getLogger("clockstep")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


def _print_version() -> int:
    try:
        print(f"clockstep {__version__}", flush=True)  # noqa: T201
    except OSError as error:
        print(f"clockstep: cannot write the output: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 6
    return 0


def _open_closed() -> None:
    """Open standard streams that are closed (`>&-`) on nothing: a file that is opened later would get their number."""
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, mode))


def _interrupt(number: int, _frame: object) -> None:
    """Unwind once: what that sets off, as resuming paused machines, is not interrupted by a second signal."""
    for one in INTERRUPTS:
        signal.signal(one, _insist if one == signal.SIGINT else signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _insist(_number: int, _frame: object) -> None:
    """Have the next Ctrl-C end the process; a terminal that closes sends more than one signal, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(2, STILL)


def _signal_of(error: BaseException) -> int:
    """Which signal an interruption is of; click's has the one that was raised as its cause."""
    raised = error.__cause__ or error
    return next((number for number in raised.args if isinstance(number, int)), signal.SIGINT)


def _complain(argv: list[str], message: str, hint: str, code: int, *, trace: bool = True) -> int:
    """Print what has ended the run, with a traceback if debug log lines are printed; return the exit code."""
    from clockstep.render.stamps import ERROR, in_journal

    if trace and logging.getLogger("clockstep").isEnabledFor(logging.DEBUG):
        import traceback

        traceback.print_exc()
    priority = f"<{ERROR}>" if in_journal(sys.stderr, os.environ) else ""
    print(f"{priority}clockstep: {message}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"{priority}  {hint}", file=sys.stderr)  # noqa: T201
    return _failed(argv, message, hint, code)


def _failed(argv: list[str], message: str, hint: str, code: int) -> int:
    """Print an error as an object if JSON is asked for, and return the exit code."""
    from clockstep.cli.context import wants_json

    if wants_json(argv):
        from clockstep.model import ErrorReport, Failure
        from clockstep.render.output import print_json_line

        with suppress(OSError):  # nobody may be reading any more, and that may be the error
            print_json_line(ErrorReport(Failure(message, hint, int(code))))
    return int(code)
