"""The lab's Kubernetes: real kubelets in guests, which come back as one, and what a revert leaves alone in them."""

import subprocess
from uuid import UUID

import pytest

from clockstep_lab.domain import hand_socket
from clockstep_lab.hand import tell
from clockstep_lab.kubernetes.leases import is_ready, renewal
from clockstep_lab.kubernetes.readiness import PODS
from conftest import Guests, pass_time, until
from flows.commands import SECOND_NS, all_proven, clockstep, command

pytestmark = [pytest.mark.full, pytest.mark.kubernetes]

AWAY_S = 12
"""Longer than a kubelet takes to renew its lease (10 s)."""
FRESH_S = 30


def pods(guests: Guests) -> dict[str, tuple[str, str, int]]:
    """Each pod's UID, its container, and how often that was started again."""
    found = {}
    for pod in guests.plane.admin.get(PODS)["items"]:
        (container,) = pod["status"]["containerStatuses"]
        found[pod["metadata"]["name"]] = (pod["metadata"]["uid"], container["containerID"], container["restartCount"])
    return found


def stamp_of(guests: Guests, name: str) -> int:
    """What the pod of a node has stamped last, in whole seconds of its clock, read in the container itself."""
    script = "ctr -n k8s.io task ls | awk '$3 == \"RUNNING\" { print $2 }' | while read -r pid; do\n"
    script += 'cat "/proc/$pid/root/tmp/stamp" 2>/dev/null || true; done'
    return int(tell(hand_socket(guests.lab.folder, name), script, FRESH_S))


def await_a_stamp(guests: Guests, name: str) -> None:
    """Wait until a node's pod stamps anew."""
    before = stamp_of(guests, name)
    until(lambda: stamp_of(guests, name) > before, FRESH_S)


def await_fresh(guests: Guests, name: str) -> None:
    """Wait until a node's lease is fresh by this machine's clock."""
    until(lambda: renewal(guests.plane.admin, name).age_ns() < AWAY_S * SECOND_NS, FRESH_S)


def await_renewal(guests: Guests, name: str) -> None:
    """Wait until a node writes its lease, whatever time it writes."""
    before = renewal(guests.plane.admin, name)
    until(lambda: renewal(guests.plane.admin, name).version != before.version, FRESH_S)


def test_each_node_is_its_machine_and_its_pod_runs(kubelets: Guests) -> None:
    for name in kubelets.names:
        assert is_ready(kubelets.plane.admin, name)
        assert renewal(kubelets.plane.admin, name).age_ns() < FRESH_S * SECOND_NS
        shown = kubelets.plane.admin.get(f"/api/v1/nodes/{name}")["status"]["nodeInfo"]
        assert UUID(shown["systemUUID"]) == UUID(kubelets.libvirt.lookupByName(name).UUIDString())
        await_a_stamp(kubelets, name)
    assert len(pods(kubelets)) == len(kubelets.names) + 1  # and the gate's


def test_two_reverts_in_a_row_leave_the_pods_alone_and_the_leases_fresh(kubelets: Guests) -> None:
    before = pods(kubelets)
    all_proven(kubelets, clockstep(kubelets, "snapshot", "create", "calm", *kubelets.names)["episodes"])
    for _ in range(2):
        pass_time(AWAY_S)
        all_proven(kubelets, clockstep(kubelets, "revert", "calm", "--yes")["episodes"])
        for name in kubelets.names:
            await_fresh(kubelets, name)
            assert is_ready(kubelets.plane.admin, name)
        assert pods(kubelets) == before


def test_a_node_that_was_reverted_by_hand_says_ready_with_a_lease_that_is_old(kubelets: Guests) -> None:
    """Why nobody may trust Ready: the API server repeats it, and the kubelet renews by a clock that is behind."""
    name = kubelets.names[0]
    kubelets.snapshot(name, "bare")
    pass_time(AWAY_S)
    kubelets.revert(name, "bare")
    await_renewal(kubelets, name)
    assert renewal(kubelets.plane.admin, name).age_ns() >= AWAY_S * SECOND_NS
    assert is_ready(kubelets.plane.admin, name)
    all_proven(kubelets, clockstep(kubelets, "step", name)["episodes"])
    await_fresh(kubelets, name)


def cordoned(guests: Guests) -> list[str]:
    """Which nodes take no new pods."""
    nodes = guests.plane.admin.get("/api/v1/nodes")["items"]
    return [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")]


def test_what_a_killed_revert_has_cordoned_the_next_one_uncordons_and_the_pods_run_on(kubelets: Guests) -> None:
    access = ["--kubeconfig", str(kubelets.plane.kubeconfig)]
    before = pods(kubelets)
    all_proven(kubelets, clockstep(kubelets, "snapshot", "create", "calm", *kubelets.names)["episodes"])
    pass_time(AWAY_S)
    words = command(kubelets, "revert", "calm", "--yes", "--cordon", *access)
    killed = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: cordoned(kubelets) == kubelets.names, FRESH_S)
    killed.kill()
    assert killed.wait() != 0
    assert cordoned(kubelets) == kubelets.names

    report = clockstep(kubelets, "revert", "calm", "--yes", *access)
    all_proven(kubelets, report["episodes"])
    assert (report["cluster"]["outcome"], report["cluster"]["cordoned"]) == ("works", [])
    assert cordoned(kubelets) == []
    assert pods(kubelets) == before
