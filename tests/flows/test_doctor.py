"""The doctor on real guests: what is wrong there is found, and nothing is changed by looking."""

from typing import Any

from conftest import Guests, pass_time
from flows.commands import clockstep, run


def sections(report: Any, name: str) -> set[str]:
    (node,) = [node for node in report["nodes"] if node["node"] == name]
    return {finding["check"] for finding in node["findings"]}


def test_what_is_wrong_with_stock_guests_is_found_with_its_evidence(nodes: Guests) -> None:
    name, other = nodes.names[:2]
    report = clockstep(nodes, "doctor", "--deadline", "60s")
    assert sections(report, name) == {"one-source", "makestep", "no-phc", "clocksource"}
    nodes.ssh(name, "mkdir -p /etc/chrony/conf.d; echo 'refclock PHC /dev/ptp7 poll 2' > /etc/chrony/conf.d/seed.conf")
    nodes.ssh(name, "echo 'makestep 1 -1' >> /etc/chrony/conf.d/seed.conf")
    try:
        found = sections(clockstep(nodes, "doctor", "--deadline", "60s", code=1), name)
        assert "wrong-phc" in found
        assert "makestep" not in found
    finally:
        nodes.ssh(name, "rm /etc/chrony/conf.d/seed.conf")
    assert "makestep" in sections(clockstep(nodes, "doctor", "--deadline", "60s"), other)
    shown = run(nodes, "doctor", "--deadline", "60s").stdout
    assert "docs/diagnosis.md" in shown


def test_snapshots_of_different_age_and_a_clock_that_a_revert_left_behind_are_found(guests: Guests) -> None:
    name, other = guests.names[:2]
    guests.snapshot(name, "theirs")
    pass_time(4)
    guests.revert(name, "theirs")
    report = clockstep(guests, "doctor", name, other, "--deadline", "60s", code=1)
    assert {"offset", "daemon"} <= sections(report, name)
    assert "offset" not in sections(report, other)
    assert guests.offset_ns(name) < -3_000_000_000
