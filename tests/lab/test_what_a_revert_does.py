"""The ground that everything else stands on: what reverts and pauses do to a guest, and what its daemon makes of it."""

import re
import time

import pytest

from clockstep_lab.witness import judge
from conftest import Guests, pass_time, until

pytestmark = pytest.mark.usefixtures("stamps")

SECOND_NS = 1_000_000_000
AWAY_S = 10


def test_a_reverted_guest_is_behind_by_the_snapshots_age_and_its_daemon_does_not_notice(guests: Guests) -> None:
    marks = {}
    for name in guests.names:
        guests.snapshot(name, "before")
        marks[name] = time.monotonic_ns()
    heard = guests.witness.heard
    tolerances = {name: heard[name].since(marks[name] - 5 * SECOND_NS).tolerance_ns() for name in guests.names}
    pass_time(AWAY_S)
    connections = {name: guests.witness.heard[name].connections for name in guests.names}
    for name in guests.names:
        guests.revert(name, "before")
        gone_ns = time.monotonic_ns() - marks[name]
        guests.witness.await_looks()
        verdict = judge(guests.witness.heard[name].returned(connections[name]), tolerances[name])
        assert AWAY_S * SECOND_NS < verdict.behind_by_ns < gone_ns + SECOND_NS
        assert verdict.right_within_ns is None

    for name in guests.names:
        before_ns = guests.offset_ns(name)
        assert guests.ssh(name, "chronyc makestep") == "200 OK\n"
        assert abs(guests.offset_ns(name) - before_ns) < SECOND_NS
        assert guests.offset_ns(name) < -AWAY_S * SECOND_NS

        assert "Leap status     : Normal" in guests.ssh(name, "chronyc tracking")
        claimed = re.search(r"correction: ([\d.]+)", guests.ssh(name, "chronyc waitsync 1"))
        assert claimed and float(claimed[1]) < 1
        assert guests.offset_ns(name) < -AWAY_S * SECOND_NS


SLEWED_NS = 1_000_000
"""What chronyd may have left to slew when a lab says that it is in sync (guest/kept/sync)."""


class Pause:
    """How long a guest stood still at least and at most, and how far its clock fell behind, each with its error."""

    def __init__(self, guests: Guests, name: str) -> None:
        self._guests, self._name = guests, name
        self._before = guests.look(name)
        self._asked_ns = self._stopped_ns = time.monotonic_ns()

    def stopped(self) -> None:
        """It stands still for certain."""
        self._stopped_ns = time.monotonic_ns()

    def ends(self) -> None:
        """It is about to be let run on."""
        self._least_ns = time.monotonic_ns() - self._stopped_ns

    def ended(self) -> None:
        """It runs for certain; what the witness sees lies between the two."""
        most_ns = time.monotonic_ns() - self._asked_ns
        after = self._guests.look(self._name)
        self.behind_ns = self._before.offset_ns - after.offset_ns
        self.error_ns = self._before.error_ns + after.error_ns + SLEWED_NS
        assert self._least_ns - self.error_ns <= self.behind_ns <= most_ns + self.error_ns


def test_a_paused_guest_is_behind_by_its_pause(guests: Guests) -> None:
    name = guests.names[0]
    pause = Pause(guests, name)
    guests.domain(name).suspend()
    pause.stopped()
    pass_time(5)
    pause.ends()
    guests.domain(name).resume()
    pause.ended()


def test_a_saved_and_restored_guest_is_behind_by_the_time_away(guests: Guests) -> None:
    name = guests.names[1]
    connections = guests.witness.heard[name].connections
    pause = Pause(guests, name)
    guests.domain(name).managedSave()
    pause.stopped()
    pass_time(5)
    pause.ends()
    guests.domain(name).create()
    pause.ended()
    assert guests.witness.heard[name].connections == connections + 1


def test_taking_a_snapshot_leaves_the_guest_behind_by_the_pause_it_needs(guests: Guests) -> None:
    name = guests.names[2]
    pause = Pause(guests, name)
    guests.snapshot(name, "taken")
    pause.stopped()
    pause.ends()
    pause.ended()
    assert pause.behind_ns > pause.error_ns


def test_the_witness_counts_on_over_a_revert(guests: Guests) -> None:
    name = guests.names[0]
    heard = guests.witness.heard[name]
    guests.snapshot(name, "counted")
    connections, stamps, looks = heard.connections, len(heard.stamps), len(heard.looks)
    guests.revert(name, "counted")
    until(lambda: heard.connections > connections and len(heard.stamps) > stamps + 20, 20)
    guests.witness.await_looks()
    assert len(heard.looks) > looks
    moments = [stamp.heard_monotonic_ns for stamp in heard.stamps]
    assert moments == sorted(moments)
    assert all(look.error_ns > 0 for look in heard.looks)


def test_the_guests_clock_is_told_from_inside_a_cgroup_that_can_be_frozen(guests: Guests) -> None:
    name = guests.names[0]
    heard = guests.witness.heard[name]
    cgroup = "/sys/fs/cgroup/kubepods.slice/witness"
    guests.ssh(name, f"echo 1 > {cgroup}/cgroup.freeze; until grep -q 'frozen 1' {cgroup}/cgroup.events; do :; done")
    try:
        guests.witness.await_looks()
        silent_from = heard.stamps[-1].guest_ns
        guests.witness.await_looks(20)
        assert heard.stamps[-1].guest_ns - silent_from < SECOND_NS // 10
    finally:
        guests.ssh(name, f"echo 0 > {cgroup}/cgroup.freeze")
    count = len(heard.stamps)
    until(lambda: len(heard.stamps) > count + 20, 10)
