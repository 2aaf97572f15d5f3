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
    "--kubernetes": "Report to the Kubernetes cluster that this node is part of, by the kubelet's own kubeconfig.",
    "--kubeconfig": "Report to Kubernetes by this kubeconfig.",
    "--server": "Report to the Kubernetes API server at this address, with --ca and --token-file.",
    "--ca": "CA certificate for --server.",
    "--token-file": "File with the token for --server; it is read again for each request.",
    "--node": "Name of this machine's Node.  [default: of the kubelet's certificate, or the host name]",
    "--output": "Output format.",
}
"""By option, as the help prints it."""


TEXTS = {"--kubeconfig": "FILE", "--server": "URL", "--ca": "FILE", "--token-file": "FILE", "--node": "NAME"}
"""The options that are texts, and what they name."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """How a node's clock is reported to Kubernetes: by a kubeconfig, or by an address with its authority and a token.

    Without both it is the kubelet's own kubeconfig. An empty `node` is the name that the kubelet's certificate has.
    """

    kubeconfig: str = ""
    server: str = ""
    ca: str = ""
    token_file: str = ""
    node: str = ""


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
    kubernetes: bool = False
    kubeconfig: str | None = None
    server: str | None = None
    ca: str | None = None
    token_file: str | None = None
    node: str | None = None
    as_json: bool = False

    @property
    def max_backward_ns(self) -> int:
        """How far back a step may go."""
        return DAY_NS if self.allow_backward else 0

    @property
    def reporting(self) -> Reporting | None:
        """How to report to Kubernetes; None if that is not asked for. Raises UsageError for what does not fit."""
        server, ca, token_file = (one or "" for one in (self.server, self.ca, self.token_file))
        if server and self.kubeconfig:
            raise UsageError("--kubeconfig and --server exclude each other")
        if len({bool(one) for one in (server, ca, token_file)}) > 1:
            raise UsageError("--server, --ca and --token-file are needed together", "or use a --kubeconfig")
        if server and not server.startswith("https://"):
            raise UsageError(f"--server {server} is no address by https://", "use https://HOST:PORT")
        if not (self.kubernetes or self.kubeconfig or server):
            if self.node:
                raise UsageError("--node names a Node of Kubernetes", "add --kubernetes, --kubeconfig or --server")
            return None
        return Reporting(self.kubeconfig or "", server, ca, token_file, self.node or "")


def parse(argv: list[str]) -> Options:
    """Return what a command line asks for. Exits for --help, --version and what cannot be parsed (argparse)."""
    parser = argparse.ArgumentParser(prog="clockstep-agent", description="Correct the clock of this machine.")
    parser.add_argument("--version", action="version", version=f"clockstep {__version__}")
    for option in ("--explain", "--observe", "--allow-backward", "--kubernetes"):
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
    for option, names in TEXTS.items():
        parser.add_argument(option, metavar=names, type=_text, help=HELP[option])
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


def _text(text: str) -> str:
    """Return a text that is not empty, as a script's variable is that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


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
