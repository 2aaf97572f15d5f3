"""A hardware clock that is not the hypervisor's, in a real guest: not taken, and followed where it is insisted on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clockstep.core.setup import remarks
from clockstep.daemons.setup import parse, script
from lab.card import CARD, clockstep, guest, ssh

pytestmark = pytest.mark.full

SOURCES = "chronyc -n -c sources | cut -d, -f1-3"


@pytest.fixture(scope="module")
def config() -> Iterator[Path]:
    with guest() as config:
        ssh(config, f"modprobe {CARD}; udevadm settle")
        yield config


def test_a_network_cards_clock_is_refused_by_name(config: Path) -> None:
    name = ssh(config, "cat /sys/class/ptp/ptp0/clock_name").strip()
    plan = parse(ssh(config, "sh -s plan", script().encode()))
    assert plan
    assert (plan.clock, plan.objection) == ("", "")
    assert any(f"the network card eth1's, called {name}" in said for said in remarks(plan))
    assert "refclock" not in "".join(file.after or "" for file in plan.files)


def test_forced_it_is_followed_and_chronyd_starts_also_when_it_is_gone(config: Path) -> None:
    """Trusted, since this clock follows the guest's own: beside one server it would be one word against the other.

    While packages are installed no daemon keeps the guest's clock, and this one does not see how far it has drifted.
    """
    assert [episode["verdict"] for episode in clockstep(config, "step")["episodes"]] == ["good"]
    (node,) = clockstep(config, "setup", "apply", "--yes", "--phc", "/dev/ptp0", "--trust", "--tolerance", "1s")[
        "nodes"
    ]
    assert node["outcome"] == "set-up"
    assert (node["episode"]["verdict"], node["episode"]["facts"]["claim"]["source"]) == ("good", "#* PHC0")
    assert "#,*,PHC0\n" in ssh(config, SOURCES)
    ssh(config, f"rmmod {CARD}; systemctl restart chrony; chronyc waitsync 30 0 0 1")
    assert ssh(config, SOURCES) == "^,*,10.0.2.2\n"
    ssh(config, f"modprobe {CARD}; udevadm settle; systemctl restart chrony; sleep 5")
    assert "PHC0\n" in ssh(config, SOURCES)
