"""What a node answers when it is asked what could be frozen, and the script that freezes, by this machine's shell."""

import json

from clockstep.model import Pod, Workloads
from clockstep.reach.freezer import parse

HEAD = "== unified\nyes\n== cgroups\nkubepods.slice\n== pods\nkubepods.slice/kubepods-podu1.slice\n== static\n1\n"
CRICTL = {
    "items": [
        {
            "id": "9f",
            "metadata": {"name": "etcd-n1", "uid": "u1", "namespace": "kube-system", "attempt": 0},
            "state": "SANDBOX_READY",
            "labels": {"io.kubernetes.pod.uid": "u1"},
            "annotations": {"kubernetes.io/config.source": "file"},
        },
        {"id": "a0", "metadata": {"name": "web", "uid": "u2", "namespace": "shop"}, "annotations": None},
    ]
}


def ctr(uid: str | None) -> str:
    """What `ctr containers info` prints of a container."""
    labels = {
        "io.cri-containerd.kind": "container",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "shop",
    }
    return json.dumps({"ID": "9f", "Labels": {**labels, "io.kubernetes.pod.uid": uid} if uid else {}}, indent=4)


def test_crictl_tells_the_pods_and_which_of_them_are_static() -> None:
    found = parse(f"{HEAD}== crictl\n{json.dumps(CRICTL, indent=2)}\n== end\n")
    pods = (Pod("kube-system", "etcd-n1", "u1", static=True), Pod("shop", "web", "u2"))
    assert found == Workloads(
        unified=True,
        cgroups=("kubepods.slice",),
        pod_cgroups=("kubepods.slice/kubepods-podu1.slice",),
        static_pods=1,
        pods=pods,
    )


def test_ctr_tells_each_pod_once_however_many_containers_it_has() -> None:
    found = parse(f"{HEAD}== ctr\n{ctr('u2')}\n\n{ctr('u2')}\n\n{ctr(None)}\n\n== end\n")
    assert found
    assert found.pods == (Pod("shop", "web", "u2"),)


def test_a_runtime_that_answers_nonsense_tells_nothing() -> None:
    for said in ("{", "[]", '{"items": [{}]}', '{"items": 5}'):
        found = parse(f"{HEAD}== crictl\n{said}\n== end\n")
        assert found
        assert found.pods is None


def test_an_answer_that_is_not_whole_is_none() -> None:
    assert parse(HEAD) is None
    assert parse("== unified\n\n== cgroups\n== pods\n== static\n0\n== end\n") == Workloads(unified=False)
