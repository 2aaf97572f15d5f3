"""The freezer: workloads of a node that stand still, and the small process there that lets none stand still for ever.

It is a shell script and nothing else, since every node has a shell. What it froze is written down in the node's /run,
which a snapshot's memory has as well; so whoever proves the clock after a revert finds it there. Freezing is cgroup
v2's (Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze, and `frozen` in cgroup.events).
"""

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
from clockstep.ports import Output, Reach
from clockstep.units import SECOND_NS

LEASE_S = 60
HELD_S = 86_400
"""How long a node that is to be held stands still at most, so that even then it is not for ever."""
COMPLETE_S = 10
TAKES_NS = (COMPLETE_S + 10) * SECOND_NS
POD = ("namespace", "name", "uid")
SANDBOXES = 'labels."io.cri-containerd.kind"==sandbox'
"""containerd's CRI keeps each pod as a container of its own, which has what the kubelet said of it."""

LOOK = program("freeze/look.sh", TOPS=" ".join(DEFAULT), SANDBOXES=SANDBOXES)
GUARD = program("freeze/guard.sh")
PREPARE = program("freeze/prepare.sh")
FREEZE = program("freeze/freeze.sh", COMPLETE_S=COMPLETE_S)
THAW = program("freeze/thaw.sh")
RENEW = program("freeze/renew.sh")
STANDS = program("freeze/stands.sh")


def survey(reach: Reach, cgroups: Sequence[str], deadline_ns: int) -> Workloads:
    """Return what a node has that could be frozen. Raises ReachError where it does not say."""
    output = _sh(reach, LOOK, [*cgroups, *DEFAULT], deadline_ns)
    found = parse(output.out)
    if found is None:
        hint = "see that it runs a shell as Linux has it"
        raise ReachError("it does not say what could be frozen", hint, lasting=True)
    return found


def prepare(reach: Reach, cgroups: Sequence[str], deadline_ns: int, lease_s: int = LEASE_S) -> None:
    """Have all ready for freezing these cgroups, and freeze nothing yet.

    Raises ReachError, and leaves nothing behind, where one may not be frozen. The node's own guard thaws them when
    `lease_s` seconds of its monotonic clock are over.
    """
    _require(_sh(reach, PREPARE, [GUARD, str(lease_s), *cgroups], deadline_ns))


def freeze(reach: Reach, deadline_ns: int) -> None:
    """Freeze what was prepared, and return when it stands still.

    Raises ReachError, and leaves nothing frozen, where not all of it does.
    """
    _require(_sh(reach, FREEZE, [], deadline_ns))


def _require(output: Output) -> None:
    if output.code:
        text = output.out.strip().rpartition("\n")[2] or output.err.strip()
        raise ReachError(f"its workloads were not frozen: {text}", "leave them out, or freeze others", lasting=True)


def thaw(reach: Reach, deadline_ns: int, caller: str) -> bool | None:
    """Thaw what was frozen; whether all of it stood still until then, None where nothing was frozen by clockstep.

    A `caller`, by a name of its own, may ask again where an answer was lost.
    """
    said = _sh(reach, THAW, [caller], deadline_ns).out.strip()
    if said not in {"frozen", "running", "none"}:
        raise ReachError("it does not say whether its workloads were thawed", "look into the guest")
    return None if said == "none" else said == "frozen"


def renew(reach: Reach, lease_s: int, deadline_ns: int) -> bool:
    """Have the guard wait for that long from now on, a new one where it is gone; whether there is one."""
    return _sh(reach, RENEW, [str(lease_s)], deadline_ns).code == 0


def stands(reach: Reach, deadline_ns: int) -> bool:
    """Whether workloads stand still that clockstep has frozen."""
    return _sh(reach, STANDS, [], deadline_ns).code == 0


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


def _sh(reach: Reach, script: str, arguments: Sequence[str], deadline_ns: int) -> Output:
    return reach.run(["/bin/sh", "-c", script, "clockstep", *arguments], b"", deadline_ns)
