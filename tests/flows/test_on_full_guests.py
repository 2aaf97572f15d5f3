"""A full Debian with its own time daemon: the same trouble, the same cure, and packages from the lab's repository."""

import os
import time
from collections.abc import Iterator

import pytest

from conftest import Guests, lab_of, pass_time
from flows.commands import SECOND_NS, all_proven, clockstep, put_behind

AWAY_S = 20
FRESH = "until timedatectl timesync-status | grep -q 'Packet count: [1-9]'; do sleep 0.2; done"
SYNCED = "timedatectl show --property NTPSynchronized --value"


BOTH = pytest.mark.parametrize("full", ["debian-12", "debian-13"], indirect=True)


@pytest.fixture(scope="module")
def full(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """One full guest."""
    with lab_of(f"full{os.getpid()}", 1, request.param) as lab:
        yield lab


@BOTH
def test_timesyncd_does_not_notice_a_revert_and_clockstep_mends_it(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, f"systemctl restart systemd-timesyncd; {FRESH}")  # its next poll is half a minute away then
    assert full.witness.await_right(50_000_000, 60)
    full.snapshot(name, "before")
    taken_ns = time.monotonic_ns()
    pass_time(AWAY_S)
    full.revert(name, "before")
    full.witness.await_looks()
    gone_ns = time.monotonic_ns() - taken_ns
    assert AWAY_S * SECOND_NS < -full.offset_ns(name) < gone_ns + SECOND_NS
    assert full.ssh(name, SYNCED) == "yes\n"
    pass_time(5)
    assert full.offset_ns(name) < -AWAY_S * SECOND_NS

    (episode,) = clockstep(full, "step", name)["episodes"]
    all_proven(full, [episode])


@pytest.mark.parametrize("full", ["debian-12"], indirect=True)
def test_chrony_comes_from_the_labs_repository_and_is_resynced_after_a_step(full: Guests) -> None:
    (name,) = full.names
    full.ssh(name, "sudo apt-get -qq update && sudo DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chrony")
    full.ssh(name, "echo 0.0 0.1 > /var/lib/chrony/chrony.drift; systemctl restart chrony")  # one that ran for long
    full.ssh(name, "until chronyc waitsync 1; do sleep 1; done")
    put_behind(full, name, 5)
    (episode,) = clockstep(full, "step", name)["episodes"]
    all_proven(full, [episode])
    assert episode["facts"]["claim"]["daemon"] == "chrony"
    assert episode["facts"]["claim"]["source"] == "^* 10.0.2.2"


@BOTH
def test_a_full_guest_reaches_nothing_but_this_machine(full: Guests) -> None:
    (name,) = full.names
    routes = full.ssh(name, "ip route; ip -6 route; cat /etc/resolv.conf 2>/dev/null || true")
    assert routes.startswith("10.0.2.0/24 dev eth0")
    assert "default" not in routes
    assert "nameserver" not in routes
