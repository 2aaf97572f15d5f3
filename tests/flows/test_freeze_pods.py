"""Real pods, of a real containerd in systemd's slices: told apart by their labels, and frozen one by one."""

import os
from collections.abc import Iterator

import pytest

from conftest import Guests, lab_of, pass_time, until
from flows.commands import all_proven, clockstep
from flows.test_freeze import THAWED, stamping

pytestmark = pytest.mark.full

TREE = "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice"
SHOP, SYSTEM = "2f1c2a9e-0a51-4a5e-9a0e-6f1f6d2f0001", "2f1c2a9e-0a51-4a5e-9a0e-6f1f6d2f0002"
WITNESS = f"{TREE.removeprefix('/sys/fs/cgroup/')}/kubepods-burstable-pod0c1a.slice"
"""A pod that no runtime knows runs on."""
TICK = "while :; do date +%s > /run/ticked; sleep 0.2; done"
INSTALL = """apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install containerd
mkdir -p /srv/root && mount --bind / /srv/root"""


def slice_of(uid: str) -> str:
    """The slice that the kubelet's systemd driver gives a pod."""
    return f"kubepods-burstable-pod{uid.replace('-', '_')}.slice"


def run_pod(guests: Guests, namespace: str, name: str, uid: str) -> None:
    """Start a container as containerd's CRI does: labelled, and in the pod's own slice. Its files are the guest's."""
    labels = {"namespace": namespace, "name": name, "uid": uid}
    options = [f"--label io.kubernetes.pod.{key}={value}" for key, value in labels.items()]
    options.append("--label io.cri-containerd.kind=sandbox")
    cgroup = f"--runc-systemd-cgroup --cgroup {slice_of(uid)}:cri-containerd:{name}"
    words = f"{' '.join(options)} {cgroup} --rootfs /srv/root {name} /bin/sh -c '{TICK}'"
    guests.ssh(guests.names[0], f"ctr -n k8s.io run --detach {words}")


def frozen(guests: Guests, uid: str) -> bool:
    return "frozen 1" in guests.ssh(guests.names[0], f"cat {TREE}/{slice_of(uid)}/cgroup.events")


@pytest.fixture(scope="module")
def node() -> Iterator[Guests]:
    """A full guest with a pod of the system's and one of somebody's."""
    with lab_of(f"pods{os.getpid()}", 1, "debian-12") as lab:
        lab.ssh(lab.names[0], INSTALL)
        run_pod(lab, "shop", "web", SHOP)
        run_pod(lab, "kube-system", "etcd", SYSTEM)
        yield lab


def test_the_systems_pods_run_on_and_the_others_are_frozen_one_by_one(node: Guests) -> None:
    (name,) = node.names
    created = clockstep(node, "snapshot", "create", "cold", name, "--freeze")
    all_proven(node, created["episodes"])
    (freeze,) = created["freezes"]
    assert freeze["cgroups"] == [f"{TREE.removeprefix('/sys/fs/cgroup/')}/{slice_of(SHOP)}"]
    assert freeze["left_out"] == ["kube-system/etcd", WITNESS]
    assert freeze["thaw"] == THAWED
    assert not frozen(node, SHOP)

    pass_time(3)
    node.revert(name, "cold")
    assert frozen(node, SHOP)
    assert not frozen(node, SYSTEM)
    until(lambda: stamping(node, name), 20)
    rest = clockstep(node, "thaw", name, "--allow-backward")  # timesyncd may have stepped it meanwhile, and too far
    all_proven(node, rest["episodes"])
    assert not frozen(node, SHOP)
