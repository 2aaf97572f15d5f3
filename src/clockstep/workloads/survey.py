"""What a node has that could be frozen: its cgroups, and its pods as its container runtime lists them."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.core.freezing import DEFAULT
from clockstep.core.sections import LAST, sections
from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.model import Pod, Workloads
from clockstep.ports import Reach

POD = ("namespace", "name", "uid")
SANDBOXES = 'labels."io.cri-containerd.kind"==sandbox'
"""containerd's CRI keeps each pod as a container of its own, which has what the kubelet said of it."""
LOOK = program("freeze/look.sh", TOPS=" ".join(DEFAULT), SANDBOXES=SANDBOXES)


def survey(reach: Reach, cgroups: Sequence[str], deadline_ns: int) -> Workloads:
    """Return what a node has that could be frozen. Raises ReachError where it does not say."""
    output = reach.run(["/bin/sh", "-c", LOOK, "clockstep", *cgroups, *DEFAULT], b"", deadline_ns)
    found = parse(output.out)
    if found is None:
        hint = "check that the node has a shell"
        raise ReachError("the node does not report what could be frozen", hint, lasting=True)
    return found


def parse(output: str) -> Workloads | None:
    """Return what the answer to LOOK says; None of one that is not whole."""
    return understood(_parsed, output)


def _parsed(output: str) -> Workloads | None:
    said = sections(output)
    if LAST not in said:
        return None

    def number(name: str) -> int:
        text = "".join(said.get(name, ())).strip()
        return bounded(int(text)) if text.isdecimal() else 0

    return Workloads(
        unified=said.get("unified") == ["yes"],
        cgroups=tuple(dict.fromkeys(said.get("cgroups", ()))),
        pod_cgroups=tuple(said.get("pods", ())),
        static_pods=number("static"),
        kubelet_pods=number("kubelet"),
        pods=_pods(said),
    )


def _pods(said: dict[str, list[str]]) -> tuple[Pod, ...] | None:
    try:
        if "crictl" in said:
            return tuple(_of_crictl(item) for item in json.loads("\n".join(said["crictl"]))["items"])
        if "ctr" in said:
            return tuple({pod.uid: pod for item in _several("\n".join(said["ctr"])) if (pod := _of_ctr(item))}.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def _of_crictl(item: Any) -> Pod:
    """Return a pod from `crictl pods -o json`."""
    return _pod(item["metadata"], item.get("annotations"))


def _of_ctr(item: Any) -> Pod | None:
    """Return the pod of a container from `ctr containers info`; None of one that is of no pod.

    Annotations are no labels there; what the kubelet said of a pod is kept beside it (store/sandbox/metadata.go of
    containerd's CRI, as typeurl's JSON).
    """
    labels = item.get("Labels") or {}
    if "io.kubernetes.pod.uid" not in labels:
        return None
    kept = (item.get("Extensions") or {}).get("io.cri-containerd.sandbox.metadata")
    config = json.loads(base64.b64decode(kept["value"]))["Metadata"]["Config"] if kept else {}
    return _pod({key: labels[f"io.kubernetes.pod.{key}"] for key in POD}, config.get("annotations"))


def _pod(told: Mapping[str, str], annotations: Mapping[str, str] | None) -> Pod:
    """Return a pod; a static one's UID is the hash of its file, without dashes (pkg/kubelet/config of Kubernetes)."""
    namespace, name, uid = (told[key] for key in POD)
    by_file = (annotations or {}).get("kubernetes.io/config.source", "api") != "api"
    return Pod(namespace, name, uid, by_file or "-" not in uid)


def _several(text: str) -> list[Any]:
    """Return the JSON values that follow each other in a text."""
    values, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    return values
