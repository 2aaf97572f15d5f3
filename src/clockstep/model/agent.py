"""What a node's agent can see, and what it goes by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignalState:
    """A signal of the agent's: what it notices and what it cannot, and why it is not `up` if it is not."""

    signal: str
    up: bool
    sees: str
    blind: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What `agent --explain` prints.

    `clock` is what the node's clock is compared with, in words, and `daemon` the time daemon that runs. `steps` says
    whether this process may step the clock. `others` is who else sets it, each with how to change that. `reports_to` is
    which Kubernetes cluster is told of the clock, in words, or why it cannot be yet; empty if none is.
    """

    signals: tuple[SignalState, ...]
    clock: str
    daemon: str
    steps: bool
    others: tuple[str, ...] = ()
    reports_to: str = ""
    schema_version: int = 2
