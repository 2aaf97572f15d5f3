"""Metrics: what Prometheus reads, checked by Prometheus' own tool."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from clockstep.errors import HypervisorError, UsageError
from clockstep.model import Cause, Episode, Facts, Guest, HostClock, Offset, Reading, Resync, Step, Verdict
from clockstep.ports import Listed
from clockstep.sinks.metrics import Metrics, parse_address
from clockstep_lab import apt
from clockstep_lab.cache import built
from clockstep_lab.image import unpack
from conftest import quiet

SECOND = 1_000_000_000
RIGHT = Offset(200_000, 300_000)
SYNCED = HostClock(synchronised=True, max_error_ns=5_000_000)
Check = Callable[[bytes], str]


@pytest.fixture(scope="module")
def promtool() -> Check:
    """What promtool says of a page of metrics: nothing of one that is in order."""

    def build(into: Path) -> None:
        (package,) = (deb for deb in apt.download("stable", ["promtool"]) if deb.name.startswith("promtool_"))
        unpack(package, into)

    tool = built("promtool", [b"1"], build, quiet) / "usr/bin/promtool"

    def check(page: bytes) -> str:
        done = subprocess.run([tool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
        return (done.stdout + done.stderr).decode() or ("" if done.returncode == 0 else "failed")

    return check


def episode(node: str, verdict: Verdict, *, reverted: bool = False) -> Episode:
    """One look at a node, or a revert that was mended after 0.3 s."""
    cause = Cause("reverted", SECOND, 5) if reverted else Cause("found")
    readings = (Reading("guest agent", RIGHT, 0, 900_000),) if verdict is Verdict.GOOD else ()
    return Episode(
        node=node,
        cause=cause,
        verdict=verdict,
        before=Offset(-60 * SECOND, 1) if reverted else None,
        actions=(Step(60 * SECOND), Step(5), Resync("chrony")) if reverted else (),
        after=RIGHT,
        facts=Facts(readings),
        findings=(),
        started_at_ns=1_800_000_000 * SECOND,
        took_ns=2 * SECOND,
        wrong_for_ns=3 * SECOND // 10 if reverted else None,
    )


def page(metrics: Metrics) -> list[str]:
    return generate_latest(metrics.registry).decode().splitlines()


def test_all_that_is_known_is_shown_in_base_units_and_prometheus_finds_no_fault(promtool: Check) -> None:
    metrics = Metrics(lambda: SYNCED)
    guests = [Guest("web", "1", "running"), Guest("db", "2", "running"), Guest("old", "3", "shut off")]
    metrics.surveyed([Listed("", guests), Listed("b", error=HypervisorError("gone"))])
    metrics.seen(episode("web", Verdict.GOOD, reverted=True), new=True)
    metrics.seen(episode("db", Verdict.UNREACHABLE), new=True)
    lines = page(metrics)
    for line in (
        'clockstep_node_offset_seconds{node="web"} 0.0002',
        'clockstep_node_offset_error_seconds{node="web"} 0.0003',
        'clockstep_node_round_trip_seconds{node="web",source="guest agent"} 0.0009',
        'clockstep_node_verdict{node="web",verdict="good"} 1.0',
        'clockstep_node_verdict{node="db",verdict="good"} 0.0',
        'clockstep_node_verdict{node="db",verdict="unreachable"} 1.0',
        'clockstep_steps_total{cause="reverted",node="web"} 2.0',
        'clockstep_wrong_seconds_total{node="web"} 0.3',
        'clockstep_event_to_right_seconds_bucket{cause="reverted",le="0.3"} 1.0',
        'clockstep_event_to_right_seconds_bucket{cause="reverted",le="0.2"} 0.0',
        'clockstep_nodes{state="running"} 2.0',
        'clockstep_nodes{state="shut off"} 1.0',
        'clockstep_connection_up{connection="default"} 1.0',
        'clockstep_connection_up{connection="b"} 0.0',
        "clockstep_host_synchronised 1.0",
        "clockstep_host_max_error_seconds 0.005",
    ):
        assert line in lines
    assert not any(line.startswith('clockstep_node_offset_seconds{node="db"}') for line in lines)
    assert promtool(generate_latest(metrics.registry)) == ""


def test_a_fault_would_be_found(promtool: Check) -> None:
    assert promtool(b"# TYPE clockstep_offset_milliseconds gauge\nclockstep_offset_milliseconds 1\n")


def test_a_node_that_is_gone_is_shown_no_more_and_one_whose_hypervisor_is_silent_is() -> None:
    metrics = Metrics(lambda: SYNCED)
    running = [Listed("", [Guest("web", "1", "running")]), Listed("b", [Guest("far", "2", "running")])]
    metrics.surveyed(running)
    metrics.seen(episode("web", Verdict.GOOD), new=True)
    metrics.seen(episode("far", Verdict.GOOD), new=True)
    metrics.surveyed([Listed(""), Listed("b", error=HypervisorError("silent"))])
    shown = [line for line in page(metrics) if line.startswith("clockstep_node_offset_seconds")]
    assert shown == ['clockstep_node_offset_seconds{node="far"} 0.0002']


def test_what_was_counted_of_a_node_is_forgotten_with_it_and_not_when_it_only_stops() -> None:
    metrics = Metrics(lambda: SYNCED)
    metrics.surveyed([Listed("", [Guest("job", "1", "running"), Guest("web", "2", "running")])])
    for name in ("job", "web"):
        metrics.seen(episode(name, Verdict.GOOD), new=True)
        metrics.seen(episode(name, Verdict.GOOD, reverted=True), new=True)
    metrics.surveyed([Listed("", [Guest("web", "2", "shut off")])])
    assert not [line for line in page(metrics) if 'node="job"' in line]
    assert 'clockstep_steps_total{cause="reverted",node="web"} 2.0' in page(metrics)
    assert 'clockstep_wrong_seconds_total{node="web"} 0.3' in page(metrics)


def test_while_the_host_is_not_synchronised_it_has_no_error() -> None:
    metrics = Metrics(lambda: HostClock(synchronised=False, max_error_ns=16 * SECOND))
    metrics.surveyed([])
    assert "clockstep_host_synchronised 0.0" in page(metrics)
    assert not any(line.startswith("clockstep_host_max_error_seconds ") for line in page(metrics))


@pytest.mark.parametrize(
    ("address", "meant"),
    [("9123", ("127.0.0.1", 9123)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:80", ("::1", 80)), (":0", ("127.0.0.1", 0))],
)
def test_metrics_are_served_on_loopback_unless_said_otherwise(address: str, meant: tuple[str, int]) -> None:
    assert parse_address(address) == meant


@pytest.mark.parametrize("address", ["", "web", "web:", "1.2.3.4", "h:65536", "h:-1", "h:²"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        parse_address(address)


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    taken = Metrics().serve("0").rpartition(":")[2].removesuffix("/metrics")
    with pytest.raises(UsageError, match="cannot be served"):
        Metrics().serve(taken)
