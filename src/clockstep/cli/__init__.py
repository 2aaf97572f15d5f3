"""The command line: parse, call, render, exit code; one file per command.

Nothing heavy is imported before it is known that it is needed, so that `--version` and `--help` answer at once.
"""

import os
import signal
import sys

from clockstep import __version__

INTERRUPTED = 130
BUG = 4
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command line and end the process, whatever thread still hangs in a call that never returns."""
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
    from clockstep.errors import ClockstepError

    debug = "--debug" in argv
    try:
        code = root.main(argv, prog_name="clockstep", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted", "")
        return INTERRUPTED
    except ClockstepError as error:
        _complain(error.message, error.hint, debug=debug)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug, and it ends here
        _complain(f"a bug: {type(error).__name__}: {error}", "run it again with --debug and report it", debug=debug)
        return BUG
    return code if isinstance(code, int) else 0


def _print_version() -> int:
    print(f"clockstep {__version__}")  # noqa: T201
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    """Unwind once; a second signal must not interrupt what the first one set off, as resuming paused machines."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _complain(message: str, hint: str, *, debug: bool = False) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"clockstep: {message}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"  {hint}", file=sys.stderr)  # noqa: T201
