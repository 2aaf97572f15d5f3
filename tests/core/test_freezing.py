"""Which workloads are frozen before a snapshot."""

import pytest

from clockstep.core.freezing import choose, left_out, pod_of
from clockstep.errors import ClockstepError, UsageError
from clockstep.model import Pod, Workloads

TOP = "kubepods.slice"
WEB, API, DNS = "0f8a-11", "a1b2c3", "77aa-22"
PODS = (
    Pod("shop", "web", WEB),
    Pod("kube-system", "kube-apiserver-n1", API, static=True),
    Pod("kube-system", "dns", DNS),
)
CGROUPS = (
    f"{TOP}/kubepods-burstable.slice",
    f"{TOP}/kubepods-burstable.slice/kubepods-burstable-pod0f8a_11.slice",
    f"{TOP}/kubepods-burstable.slice/kubepods-burstable-poda1b2c3.slice",
    f"{TOP}/kubepods-pod77aa_22.slice",
)
NODE = Workloads(unified=True, cgroups=(TOP,), pod_cgroups=CGROUPS, static_pods=1, pods=PODS)


def test_pods_of_the_system_run_on_and_the_others_are_frozen_one_by_one() -> None:
    assert choose(NODE) == (CGROUPS[1],)
    assert left_out(NODE, choose(NODE)) == ("kube-system/dns", "kube-system/kube-apiserver-n1")


def test_a_node_with_no_pod_of_the_system_is_frozen_whole() -> None:
    plain = Workloads(unified=True, cgroups=(TOP,), pod_cgroups=CGROUPS, pods=PODS[:1])
    assert choose(plain) == (TOP,)
    assert left_out(plain, (TOP,)) == ()
    assert choose(Workloads(unified=True, cgroups=(TOP,))) == (TOP,)


def test_static_pods_that_nobody_tells_apart_keep_their_node_from_being_frozen() -> None:
    for pods in (None, (), PODS[:1]):  # a runtime that is not the kubelet's tells of others, or of none
        with pytest.raises(ClockstepError, match="1 static pods, and neither crictl nor ctr tells"):
            choose(Workloads(unified=True, cgroups=(TOP,), pod_cgroups=CGROUPS, static_pods=1, pods=pods))
    for pods in (None, ()):
        with pytest.raises(ClockstepError, match="3 pods run there, and neither crictl nor ctr tells"):
            choose(Workloads(unified=True, cgroups=(TOP,), pod_cgroups=CGROUPS, kubelet_pods=3, pods=pods))


def test_a_pod_that_the_runtime_does_not_know_runs_on_and_is_told() -> None:
    strange = f"{TOP}/kubepods-pod00ff_33.slice"
    found = Workloads(unified=True, cgroups=(TOP,), pod_cgroups=(*CGROUPS, strange), static_pods=1, pods=PODS)
    assert left_out(found, choose(found)) == ("kube-system/dns", "kube-system/kube-apiserver-n1", strange)


def test_cgroups_that_are_named_are_taken_as_they_are_and_must_exist() -> None:
    found = Workloads(unified=True, cgroups=("a.slice", TOP), static_pods=1)
    assert choose(found, ("a.slice",)) == ("a.slice",)
    with pytest.raises(UsageError, match=r"no cgroup b\.slice"):
        choose(found, ("a.slice", "b.slice"))


def test_no_cgroup_v2_is_refused_in_words() -> None:
    with pytest.raises(ClockstepError, match="no cgroup v2"):
        choose(Workloads(unified=False))


def test_both_drivers_paths_tell_their_pod() -> None:
    assert pod_of("kubepods/burstable/pod0f8a-11") == "0f8a-11"
    assert pod_of(CGROUPS[1]) == "0f8a-11"
    assert pod_of("kubepods.slice/other.slice") == ""
