"""What the watcher sees as metrics, in Prometheus' text format, over HTTP.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows.
"""

import threading
from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clockstep import __version__
from clockstep.core.checks import measured
from clockstep.errors import UsageError, visible
from clockstep.host.timex import read_host_clock
from clockstep.model import Episode, HostClock, Step, Verdict
from clockstep.ports import Listed
from clockstep.units import SECOND_NS

LOOPBACK = "127.0.0.1"
RIGHT_AFTER_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)


class Metrics(Collector):
    """All that is known of the nodes now, and what was done to them since the watcher began."""

    def __init__(
        self,
        host: Callable[[], HostClock] = read_host_clock,
        kubernetes_up: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._kubernetes_up = kubernetes_up
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._listed: dict[str, Listed] = {}
        self._latest: dict[str, Episode] = {}
        self._counted: set[tuple[str, str]] = set()
        self._read_host, self._host = host, HostClock(synchronised=False, max_error_ns=0)
        text = "Steps made to a node's clock, by cause."
        self._steps = Counter("clockstep_steps", text, ["node", "cause"], registry=self.registry)
        text = "How long a node ran with its clock out of tolerance before it was corrected."
        self._wrong = Counter("clockstep_wrong_seconds", text, ["node"], registry=self.registry)
        text = "Time from the event to the first reading within tolerance."
        self._right = Histogram(
            "clockstep_event_to_right_seconds", text, ["cause"], buckets=RIGHT_AFTER_S, registry=self.registry
        )
        Info("clockstep_build", "The version of clockstep.", registry=self.registry).info({"version": __version__})
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed; how good the host's own clock is, is read at that moment."""
        host = self._read_host()
        with self._lock:
            self._host = host
            for one in listed:
                known = self._listed.get(one.connection)
                self._listed[one.connection] = one._replace(guests=known.guests) if one.error and known else one
            states = {visible(guest.name): guest.state for one in self._listed.values() for guest in one.guests}
            self._latest = {name: episode for name, episode in self._latest.items() if states.get(name) == "running"}
            gone = {(name, cause) for name, cause in self._counted if name not in states}
            self._counted -= gone
        for name, cause in gone:  # else a host whose machines have names of their own each would never forget one
            with suppress(KeyError):
                self._steps.remove(name, cause)
            with suppress(KeyError):
                self._wrong.remove(name)

    def seen(self, episode: Episode, *, new: bool) -> None:  # noqa: ARG002 - what is not new is counted too
        """Take what one look, or one pass of the loop, has shown of a node."""
        episode = replace(episode, node=visible(episode.node))
        with self._lock:
            self._latest[episode.node] = episode
            cause = episode.cause.kind
            self._counted.add((episode.node, cause))
        if steps := sum(isinstance(one, Step) and not one.unconfirmed for one in episode.actions):
            self._steps.labels(episode.node, cause).inc(steps)
        if episode.wrong_for_ns:
            self._wrong.labels(episode.node).inc(episode.wrong_for_ns / SECOND_NS)
            if episode.cause.since_ns is not None:
                self._right.labels(cause).observe(episode.wrong_for_ns / SECOND_NS)

    def ended(self) -> None:
        """Take that the watch is over; what was seen can be read until the process ends."""

    def collect(self) -> Iterable[Metric]:
        """Return what is known now; called at each scrape."""
        with self._lock:
            episodes, listed, host = list(self._latest.values()), list(self._listed.values()), self._host
        yield from _of_nodes(episodes)
        yield from _of_connections(listed)
        synchronised = "Whether this host's clock, the reference for all nodes, is synchronised."
        yield GaugeMetricFamily("clockstep_host_synchronised", synchronised, value=host.synchronised)
        error = "Largest error of this host's clock against UTC, by its kernel; only while it is synchronised."
        family = GaugeMetricFamily("clockstep_host_max_error_seconds", error, labels=[])
        if host.synchronised:
            family.add_metric([], host.max_error_ns / SECOND_NS)
        yield family
        if (up := self._kubernetes_up()) is not None:
            text = "Whether the Kubernetes cluster took what was last reported to it."
            yield GaugeMetricFamily("clockstep_kubernetes_up", text, value=up)

    def serve(self, address: str) -> str:
        """Serve them from now on, and return where. Raises UsageError where that cannot be done."""
        host, port = parse_address(address)
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served at {address}: {error}", "name another address or port with --metrics"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{server.server_port}/metrics"


def parse_address(address: str) -> tuple[str, int]:
    """Return the host and port of `HOST:PORT`, `[HOST]:PORT` or `PORT`, of loopback where no host is said."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise UsageError(f"{address!r} is not an address for metrics", "use PORT or HOST:PORT, such as 127.0.0.1:9123")
    return host.removeprefix("[").removesuffix("]") or LOOPBACK, int(port)


def _of_nodes(episodes: Sequence[Episode]) -> Iterable[Metric]:
    offset = GaugeMetricFamily(
        "clockstep_node_offset_seconds", "A node's clock minus this host's, at the last measurement.", labels=["node"]
    )
    error = GaugeMetricFamily(
        "clockstep_node_offset_error_seconds", "Error bound of the offset, in either direction.", labels=["node"]
    )
    trip = GaugeMetricFamily(
        "clockstep_node_round_trip_seconds",
        "Shortest round trip to the node, at the last measurement.",
        labels=["node", "source"],
    )
    verdict = GaugeMetricFamily(
        "clockstep_node_verdict", "1 for the last verdict, 0 for the others.", labels=["node", "verdict"]
    )
    at = GaugeMetricFamily(
        "clockstep_node_last_look_timestamp_seconds", "When the node was last measured.", labels=["node"]
    )
    for episode in episodes:
        if (found := measured(episode.facts)) is not None:
            offset.add_metric([episode.node], found.value_ns / SECOND_NS)
            error.add_metric([episode.node], found.error_ns / SECOND_NS)
        for reading in episode.facts.readings:
            trip.add_metric([episode.node, reading.source], reading.round_trip_ns / SECOND_NS)
        for one in Verdict:
            verdict.add_metric([episode.node, one.value], episode.verdict is one)
        at.add_metric([episode.node], (episode.started_at_ns + episode.took_ns) / SECOND_NS)
    return offset, error, trip, verdict, at


def _of_connections(listed: Sequence[Listed]) -> Iterable[Metric]:
    up = GaugeMetricFamily(
        "clockstep_connection_up", "Whether the hypervisor at this address answers.", labels=["connection"]
    )
    nodes = GaugeMetricFamily("clockstep_nodes", "VMs, by state.", labels=["state"])
    for one in listed:
        up.add_metric([one.connection or "default"], one.error is None)
    for state, count in sorted(Count(guest.state for one in listed for guest in one.guests).items()):
        nodes.add_metric([state], count)
    return up, nodes
