"""What a node answers when it is asked what could be frozen: the script by this machine's shell, and how it is read."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from clockstep.core.sections import LAST, MARK
from clockstep.model import Pod, Workloads
from clockstep.workloads.survey import LOOK, SANDBOXES, parse

HEAD = """#clockstep unified
yes
#clockstep cgroups
kubepods.slice
#clockstep pods
kubepods.slice/kubepods-podu1.slice
#clockstep static
1
#clockstep kubelet
2
"""
BY_FILE, BY_API = {"kubernetes.io/config.source": "file"}, {"kubernetes.io/config.source": "api"}
MANIFEST = {**BY_API, "kubectl.kubernetes.io/last-applied-configuration": '{"kind": "Pod"}\n'}
PODS = (Pod("kube-system", "etcd-n1", "9a7c", static=True), Pod("shop", "web", "u-2"))
CRICTL = {
    "items": [
        {
            "id": "9f",
            "metadata": {"name": "etcd-n1", "uid": "9a7c", "namespace": "kube-system", "attempt": 0},
            "state": "SANDBOX_READY",
            "labels": {"io.kubernetes.pod.uid": "9a7c"},
            "annotations": BY_FILE,
        },
        {"id": "a0", "metadata": {"name": "web", "uid": "u-2", "namespace": "shop"}, "annotations": MANIFEST},
        {"id": "a1", "metadata": {"name": "web", "uid": "u-2", "namespace": "shop"}, "annotations": None},
    ]
}


def ctr(pod: Pod | None, annotations: dict[str, str] | None) -> str:
    """What `ctr containers info` prints of a sandbox of containerd's CRI, or of a container of nobody's."""
    if pod is None:
        return json.dumps({"ID": "9f", "Labels": {}, "Extensions": None}, indent=4)
    told = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
    kept = {"Version": "v1", "Metadata": {"ID": "9f", "Config": {"metadata": told, "annotations": annotations}}}
    value = base64.b64encode(json.dumps(kept).encode()).decode()
    url = "github.com/containerd/cri/pkg/store/sandbox/Metadata"
    labels = {f"io.kubernetes.pod.{key}": text for key, text in told.items()} | {"io.cri-containerd.kind": "sandbox"}
    extensions = {"io.cri-containerd.sandbox.metadata": {"type_url": url, "value": value}}
    return json.dumps({"ID": "9f", "Labels": labels, "Extensions": extensions}, indent=4)


def looked(folder: Path, tool: str, script: str) -> Workloads | None:
    """What LOOK finds here where a tool of this name answers so."""
    program = folder / tool
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    asked = subprocess.run(["/bin/sh", "-c", LOOK], env={"PATH": path}, capture_output=True, check=False)
    return parse(asked.stdout.decode())


@pytest.mark.parametrize("uid", ["9a7c", "9a-7c"])
def test_either_tool_tells_the_pods_and_which_of_them_are_static(tmp_path: Path, uid: str) -> None:
    """By their annotation, or where containerd keeps none by a UID that is a hash."""
    static = Pod("kube-system", "etcd-n1", uid, static=True)
    (tmp_path / "answer").write_text(json.dumps(CRICTL, indent=2).replace("9a7c", uid))
    by_crictl = looked(tmp_path, "crictl", f'[ "$*" = "pods -o json" ] && cat {tmp_path}/answer')
    (tmp_path / "crictl").unlink()
    for number, (pod, kept) in enumerate([(static, BY_FILE), (PODS[1], MANIFEST), (PODS[1], None), (None, None)]):
        (tmp_path / f"c{number}").write_text(ctr(pod, kept))
    listed = f"case \"$*\" in *'ls -q {SANDBOXES}') echo c0 c1 c2 c3;; *) cat {tmp_path}/$5;; esac"
    by_ctr = looked(tmp_path, "ctr", listed)
    for found in (by_crictl, by_ctr):
        assert found
        assert tuple(dict.fromkeys(found.pods or ())) == (static, PODS[1])


def test_all_that_it_says_is_read() -> None:
    found = parse(f"{HEAD}#clockstep crictl\n{json.dumps(CRICTL, indent=2)}\n#clockstep end\n")
    assert found == Workloads(
        unified=True,
        cgroups=("kubepods.slice",),
        pod_cgroups=("kubepods.slice/kubepods-podu1.slice",),
        static_pods=1,
        kubelet_pods=2,
        pods=(*PODS, PODS[1]),
    )


def test_a_runtime_that_answers_nonsense_tells_nothing() -> None:
    for said in ("{", "[]", '{"items": [{}]}', '{"items": 5}'):
        found = parse(f"{HEAD}#clockstep crictl\n{said}\n#clockstep end\n")
        assert found
        assert found.pods is None


def test_an_answer_that_is_not_whole_is_none() -> None:
    assert parse(HEAD) is None
    nothing = "".join(f"{MARK}{name}\n" for name in ("unified", "cgroups", "pods", "static", LAST))
    assert parse(nothing) == Workloads(unified=False)
