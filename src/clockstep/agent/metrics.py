"""What the agent knows, in Prometheus' text format: the watcher's names, by a few lines on the standard library."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from clockstep import __version__
from clockstep.core.checks import measured
from clockstep.errors import visible
from clockstep.model import Episode, Step, Verdict
from clockstep.ports import Listed
from clockstep.units import SECOND_NS

Labels = tuple[tuple[str, str], ...]
BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)

HELP = {
    "clockstep_build_info": ("gauge", "The version of clockstep."),
    "clockstep_signal_up": ("gauge", "Whether a signal of the agent's can see anything."),
    "clockstep_disruptions_total": ("counter", "What signals have told of, by signal."),
    "clockstep_agent_held": ("gauge", "1 while the agent steps nothing: the PHC and the time sources disagree."),
    "clockstep_steps_total": ("counter", "Steps made to a node's clock, by cause."),
    "clockstep_wrong_seconds_total": ("counter", "How long a node ran with its clock out of tolerance."),
    "clockstep_event_to_right_seconds": ("histogram", "Time from the event to the first reading within tolerance."),
    "clockstep_node_offset_seconds": ("gauge", "A node's clock minus its reference, at the last measurement."),
    "clockstep_node_offset_error_seconds": ("gauge", "Error bound of the offset, in either direction."),
    "clockstep_node_round_trip_seconds": ("gauge", "Shortest round trip to the node, at the last measurement."),
    "clockstep_node_verdict": ("gauge", "1 for the last verdict, 0 for the others."),
    "clockstep_node_last_look_timestamp_seconds": ("gauge", "When the node was last measured."),
    "clockstep_kubernetes_up": ("gauge", "Whether the Kubernetes cluster took what was last reported to it."),
}
"""What each metric is, in the order in which they are printed."""


class AgentMetrics:
    """All that the agent has seen since it began; one thread writes, another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, Labels], float]] = {name: {} for name in HELP}
        self._set("clockstep_build_info", {(("version", __version__),): 1})
        self.held(held=False)
        self.kubernetes_up: Callable[[], bool | None] = lambda: None

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what hypervisors listed: an agent asks none."""

    def signals(self, up: Mapping[str, bool]) -> None:
        """Take which signals see something."""
        self._set("clockstep_signal_up", {(("signal", name),): is_up for name, is_up in up.items()})

    def disrupted(self, signal: str) -> None:
        """Count what a signal has told of."""
        with self._lock:
            self._add("clockstep_disruptions_total", (("signal", signal),), 1)

    def held(self, *, held: bool) -> None:
        """Take whether steps are held back."""
        self._set("clockstep_agent_held", {(): held})

    def seen(self, episode: Episode, *, new: bool) -> None:  # noqa: ARG002 - what is not new is counted too
        """Take an Episode."""
        node, cause = ("node", visible(episode.node)), ("cause", episode.cause.kind)
        for name, samples in _latest(episode, node).items():
            self._set(name, samples)
        with self._lock:
            if steps := sum(isinstance(one, Step) and not one.unconfirmed for one in episode.actions):
                self._add("clockstep_steps_total", (node, cause), steps)
            if episode.wrong_for_ns:
                self._add("clockstep_wrong_seconds_total", (node,), episode.wrong_for_ns / SECOND_NS)
                if episode.cause.since_ns is not None:
                    self._observe("clockstep_event_to_right_seconds", cause, episode.wrong_for_ns / SECOND_NS)

    def ended(self) -> None:
        """Take that the agent ends."""

    def text(self) -> str:
        """Return all of it as text."""
        up = self.kubernetes_up()
        self._set("clockstep_kubernetes_up", {} if up is None else {(): up})
        with self._lock:
            return "".join(line for name in HELP for line in self._family(name))

    def _set(self, name: str, samples: Mapping[Labels, float]) -> None:
        with self._lock:
            self._values[name] = {("", labels): value for labels, value in samples.items()}

    def _add(self, name: str, labels: Labels, by: float, suffix: str = "") -> None:
        self._values[name][suffix, labels] = self._values[name].get((suffix, labels), 0) + by

    def _observe(self, name: str, label: tuple[str, str], took_s: float) -> None:
        for most_s in (*BUCKETS_S, float("inf")):
            self._add(name, (label, ("le", _number(most_s))), took_s <= most_s, "_bucket")
        self._add(name, (label,), took_s, "_sum")
        self._add(name, (label,), 1, "_count")

    def _family(self, name: str) -> Iterator[str]:
        kind, text = HELP[name]
        yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        for (suffix, labels), value in self._values[name].items():
            shown = ",".join(f'{label}="{_escaped(said)}"' for label, said in labels)
            yield f"{name}{suffix}{f'{{{shown}}}' if shown else ''} {_number(value)}\n"


def _latest(episode: Episode, node: tuple[str, str]) -> dict[str, dict[Labels, float]]:
    """Return what the last look has shown: an offset that was not measured is absent, and no zero."""
    offset, readings = measured(episode.facts), episode.facts.readings
    ended_ns = episode.started_at_ns + episode.took_ns
    return {
        "clockstep_node_offset_seconds": {(node,): offset.value_ns / SECOND_NS} if offset else {},
        "clockstep_node_offset_error_seconds": {(node,): offset.error_ns / SECOND_NS} if offset else {},
        "clockstep_node_round_trip_seconds": {
            (node, ("source", reading.source)): reading.round_trip_ns / SECOND_NS for reading in readings
        },
        "clockstep_node_verdict": {(node, ("verdict", one.value)): episode.verdict is one for one in Verdict},
        "clockstep_node_last_look_timestamp_seconds": {(node,): ended_ns / SECOND_NS},
    }


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
