"""Snapshots and reverts of nodes of a Kubernetes cluster, on simulated machines."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from clockstep.core.targets import Scope
from clockstep.errors import KubernetesError
from clockstep.flows import revert as reverts
from clockstep.flows.sets import listing
from clockstep.flows.snapshot import create
from clockstep.host.locks import DomainLocks
from clockstep.model import Certificate, NodeCertificates, Policy, SetReport, Verdict
from clockstep.ports import World
from clockstep.state.journal import FileJournal
from clockstep.workloads.certificates import READ
from core.kubernetes_simulation import SimulatedKubernetes
from core.simulation import NOW_S, SECOND, SimClock, SimGuest, SimHypervisor
from pki import pem

NAMES = ["node1", "node2", "node3"]
DAY = 86_400


class Lab(NamedTuple):
    """Three simulated machines, and the world that a flow gets of them."""

    clock: SimClock
    hypervisor: SimHypervisor
    world: World


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    clock = SimClock()
    hypervisor = SimHypervisor(clock, NAMES)
    locks, journal = DomainLocks(clock), FileJournal(tmp_path)
    return Lab(clock, hypervisor, World(hypervisor, clock, clock, locks, journal, lambda _node, _text: None))


def held(guest: SimGuest, subject: str, begin_s: int, end_s: int) -> Certificate:
    """Give a machine a certificate, and return it as it is recorded."""
    guest.certificates += f"#clockstep file /etc/{begin_s}.crt\n{pem(subject, begin_s, end_s)}"
    return Certificate(f"/etc/{begin_s}.crt", subject, begin_s * SECOND, end_s * SECOND)


def taken(lab: Lab) -> SetReport:
    report = create(lab.world, lab.hypervisor.guests(), "base", Policy())
    assert report.complete
    return report


def reverted(lab: Lab) -> SetReport:
    chosen = reverts.choose(lab.hypervisor, Scope(), "base")
    report = reverts.revert(lab.world, reverts.looked_ahead(chosen, lab.clock.real), Policy())
    assert [episode.verdict for episode in report.episodes] == [Verdict.GOOD] * 3
    return report


def recorded(lab: Lab) -> dict[str, tuple[Certificate, ...] | None]:
    """Return what the snapshots have of the certificates."""
    return {guest.name: lab.hypervisor.snapshots(guest)[0].certificates for guest in lab.hypervisor.guests()}


class Watching(SimGuest):
    """A machine that notes whether all run while its certificates are read."""

    machines: dict[str, SimGuest]
    ran: list[bool]

    def _execute(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[2] == READ:
            self.ran = [machine.running for machine in self.machines.values()]
        return super()._execute(argv)


def test_a_snapshot_records_the_certificates_of_each_node_before_anything_stands_still(lab: Lab) -> None:
    machines = lab.hypervisor.machines
    machines["node1"] = watching = Watching(lab.clock)
    watching.machines = machines
    certificate = held(watching, "system:node:node1", NOW_S - DAY, NOW_S + DAY)
    taken(lab)
    assert watching.ran == [True] * 3
    assert recorded(lab) == {"node1": (certificate,), "node2": (), "node3": ()}
    (one,) = listing(lab.hypervisor).snapshots
    assert one.certificates == (NodeCertificates("node1", (certificate,)),)


def test_what_will_have_lapsed_is_known_before_a_revert_and_in_its_record(lab: Lab) -> None:
    first, second, _ = lab.hypervisor.machines.values()
    ending = held(first, "a", NOW_S - 9 * DAY, NOW_S + DAY)
    held(first, "b", NOW_S - 8 * DAY, NOW_S + 100 * DAY)
    early = held(second, "c", NOW_S + 50 * DAY, NOW_S + 100 * DAY)
    taken(lab)
    lab.clock.sleep_ns(2 * DAY * SECOND)
    expected = (NodeCertificates("node1", (ending,)), NodeCertificates("node2", (early,)))
    chosen = reverts.choose(lab.hypervisor, Scope(), "base")
    assert reverts.looked_ahead(chosen, lab.clock.real).lapsed == expected
    report = reverted(lab)
    assert report.lapsed == expected
    assert report.remarks == ()


def test_a_snapshot_without_a_record_is_judged_by_its_age(lab: Lab) -> None:
    taken(lab)
    for name in NAMES[:2]:
        snapshot, at_ns = lab.hypervisor.taken[name]["base"]
        lab.hypervisor.taken[name]["base"] = (replace(snapshot, certificates=None), at_ns)
    assert reverted(lab).remarks == ()
    lab.clock.sleep_ns(40 * DAY * SECOND)
    (said,) = reverted(lab).remarks
    assert said.startswith("node1, node2: certificates were not recorded")
    assert "guess" in said


@pytest.mark.parametrize("named", [True, False])
def test_certificates_that_cannot_be_read_are_no_failure_of_the_snapshot(lab: Lab, named: bool) -> None:
    lab.hypervisor.machines["node2"].exec_allowed = False
    kubernetes = SimulatedKubernetes(trouble=KubernetesError("away")) if named else None
    report = taken(lab._replace(world=lab.world._replace(kubernetes=kubernetes)))
    said = [remark.partition(":")[0] for remark in report.remarks if "certificates were not recorded" in remark]
    assert said == (["node2"] if named else [])
    assert recorded(lab) == {"node1": (), "node2": None, "node3": ()}
