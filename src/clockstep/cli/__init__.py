"""The command line: parse, call, render, exit code; one file per command.

Nothing heavy is imported before it is known that it is needed, so that `--version` and `--help` answer at once.
"""

import logging
import os
import signal
import sys

from clockstep import __version__

SIGNALLED = 128
"""What a shell adds to the number of a signal."""
BUG = 4
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STILL = b"""clockstep: ending what is under way, which can take minutes
  Ctrl-C once more leaves it as it is: what is paused stays paused until clockstep resume
"""


def main() -> None:
    """Run the command line and end the process, whatever thread still hangs in a call that never returns."""
    _open_closed()
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

    from clockstep.cli.root import root
    from clockstep.errors import ClockstepError, InternalError

    debug = "--debug" in argv
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        code = root.main(argv, prog_name="clockstep", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort) as error:
        _complain("interrupted", "")
        return SIGNALLED + _signal_of(error)
    except ClockstepError as error:
        _complain(error.message, error.hint, debug=debug)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug, and it ends here
        bug = InternalError(error)
        _complain(bug.message, bug.hint, debug=debug)
        return BUG
    return code if isinstance(code, int) else 0


def _print_version() -> int:
    print(f"clockstep {__version__}")  # noqa: T201
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
    """Let whoever types have his way the next time; a terminal that closes sends more than one signal, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(2, STILL)


def _signal_of(error: BaseException) -> int:
    """Which signal an interruption is of; click's has the one that was raised as its cause."""
    raised = error.__cause__ or error
    return next((number for number in raised.args if isinstance(number, int)), signal.SIGINT)


def _complain(message: str, hint: str, *, debug: bool = False) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"clockstep: {message}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"  {hint}", file=sys.stderr)  # noqa: T201
