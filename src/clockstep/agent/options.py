"""What an agent is asked for: one record, whether it was typed for the command or for the small entry of the zipapp."""

import argparse
from dataclasses import dataclass

from clockstep import __version__
from clockstep.agent.limits import ACCUMULATED_NS
from clockstep.errors import UsageError
from clockstep.units import DAY_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS, parse_duration, show_duration

LEAST_EVERY_NS = SECOND_NS

HELP = {
    "--explain": "Print what this machine's agent can see, and exit.",
    "--observe": "Report only: never step, and never resync the time daemon.",
    "--every": "How often the clock is measured without a signal.",
    "--metrics": "Serve metrics and health at [HOST:]PORT of loopback.",
    "--host-error": "How far the hypervisor's own clock may be off; added to every bound.",
    "--tolerance": "Largest offset that is within tolerance.",
    "--max-forward": "Largest step forward.  [default: what the cause explains, 1d at most]",
    "--max-accumulated": "How far all steps together may go until the agent is restarted.",
    "--allow-backward": "Step backward too, by up to a day. This may break tokens, leases and databases.",
    "--deadline": "Time limit of one correction.",
    "--output": "Output format.",
}
"""By option, as the help prints it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How an agent is to run; `metrics` is an address."""

    explain: bool = False
    observe: bool = False
    every_ns: int = MINUTE_NS
    metrics: str | None = None
    host_error_ns: int | None = None
    tolerance_ns: int = 10 * MILLISECOND_NS
    max_forward_ns: int | None = None
    max_accumulated_ns: int = ACCUMULATED_NS
    allow_backward: bool = False
    deadline_ns: int = 30 * SECOND_NS
    as_json: bool = False

    @property
    def max_backward_ns(self) -> int:
        """How far back a step may go."""
        return DAY_NS if self.allow_backward else 0


def parse(argv: list[str]) -> Options:
    """Return what a command line asks for. Exits for --help, --version and what cannot be parsed (argparse)."""
    parser = argparse.ArgumentParser(prog="clockstep-agent", description="Correct the clock of this machine.")
    parser.add_argument("--version", action="version", version=f"clockstep {__version__}")
    for option in ("--explain", "--observe", "--allow-backward"):
        parser.add_argument(option, action="store_true", help=HELP[option], dest=_field(option))
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help=HELP["--output"])
    parser.add_argument("--metrics", metavar="ADDR", help=HELP["--metrics"])
    for option, least_ns in LEAST.items():
        default = getattr(Options(), _field(option))
        shown = f"  [default: {show_duration(default)}]" if default is not None else ""
        kind = _Duration(least_ns)
        parser.add_argument(
            option, metavar="TIME", type=kind, default=default, help=HELP[option] + shown, dest=_field(option)
        )
    given = vars(parser.parse_args(argv))
    as_json = given.pop("output") == "json"
    return Options(**given, as_json=as_json)


LEAST = {
    "--every": LEAST_EVERY_NS,
    "--host-error": 0,
    "--tolerance": 1,
    "--max-forward": 0,
    "--max-accumulated": 0,
    "--deadline": 1,
}
"""The options that are lengths of time, and the least that each may be."""


def _field(option: str) -> str:
    name = option.removeprefix("--").replace("-", "_")
    return f"{name}_ns" if option in LEAST else name


class _Duration:
    """A length of time with its unit."""

    def __init__(self, least_ns: int) -> None:
        self._least_ns = least_ns

    def __call__(self, text: str) -> int:
        try:
            written = parse_duration(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from error
        if written < self._least_ns:
            raise argparse.ArgumentTypeError(f"{text!r} is less than {show_duration(self._least_ns)}")
        return written
