"""Real pods, of a real containerd in systemd's slices: told apart by their labels, and frozen one by one."""

import pytest

from clockstep_lab.moments import State
from conftest import Guests, debian, pass_time, until
from flows.commands import all_proven, clockstep
from flows.test_freeze import THAWED, stamping
from states import installed

pytestmark = pytest.mark.full

TREE = "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice"
SHOP, SYSTEM = "2f1c2a9e-0a51-4a5e-9a0e-6f1f6d2f0001", "2f1c2a9e-0a51-4a5e-9a0e-6f1f6d2f0002"
WITNESS = f"{TREE.removeprefix('/sys/fs/cgroup/')}/kubepods-burstable-pod0c1a.slice"
"""A pod that no runtime knows runs on."""
TICK = "while :; do date +%s > /run/ticked; sleep 0.2; done"


def slice_of(uid: str) -> str:
    """The slice that the kubelet's systemd driver gives a pod."""
    return f"kubepods-burstable-pod{uid.replace('-', '_')}.slice"


def pod(namespace: str, name: str, uid: str) -> str:
    """Start a container as containerd's CRI does: labelled, and in the pod's own slice. Its files are the guest's."""
    labels = {"namespace": namespace, "name": name, "uid": uid}
    options = [f"--label io.kubernetes.pod.{key}={value}" for key, value in labels.items()]
    options.append("--label io.cri-containerd.kind=sandbox")
    cgroup = f"--runc-systemd-cgroup --cgroup {slice_of(uid)}:cri-containerd:{name}"
    words = f"{' '.join(options)} {cgroup} --rootfs /srv/root {name} /bin/sh -c '{TICK}'"
    return f"ctr -n k8s.io run --detach {words} >/dev/null 2>&1\n"


PODS = State(
    "pods",
    installed("containerd")
    + "mkdir -p /srv/root; mount --bind / /srv/root\n"
    + pod("shop", "web", SHOP)
    + pod("kube-system", "etcd", SYSTEM),
)


def frozen(guests: Guests, uid: str) -> bool:
    return "frozen 1" in guests.ssh(guests.names[0], f"cat {TREE}/{slice_of(uid)}/cgroup.events")


@pytest.mark.usefixtures("stamps_of_full")
@debian(12, state=PODS)
def test_the_systems_pods_run_on_and_the_others_are_frozen_one_by_one(full: Guests) -> None:
    (name,) = full.names
    created = clockstep(full, "snapshot", "create", "cold", name, "--freeze")
    all_proven(full, created["episodes"])
    (freeze,) = created["freezes"]
    assert freeze["cgroups"] == [f"{TREE.removeprefix('/sys/fs/cgroup/')}/{slice_of(SHOP)}"]
    assert freeze["left_out"] == ["kube-system/etcd", WITNESS]
    assert freeze["thaw"] == THAWED
    assert not frozen(full, SHOP)

    pass_time(3)
    full.revert(name, "cold")
    assert frozen(full, SHOP)
    assert not frozen(full, SYSTEM)
    until(lambda: stamping(full, name), 20)
    rest = clockstep(full, "thaw", name, "--allow-backward")  # timesyncd may have stepped it meanwhile, and too far
    all_proven(full, rest["episodes"])
    assert not frozen(full, SHOP)
