"""Nodes whose leases contradict the reference: their clocks are off, or they are Ready and have been silent for long.

A kubelet renews its lease every 10 s by its node's clock, and a Node stays Ready with a lease that is minutes old by
the true time (kubernetes #113081, #108844; openshift/origin #22842). A running kubelet's next renewal heals it.
"""

from collections.abc import Iterator
from shlex import quote

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import is_silent, lease_ahead_ns
from clockstep.model import Broken, KubeNode, KubeRef
from clockstep.model.damage import Input, Seen
from clockstep.units import SECOND_NS, show_duration, show_moment

CODE = "CS-CLOCK"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Nodes whose lease is of the future, or expired although they are Ready."""
    for node in seen.nodes:
        if ahead_ns := lease_ahead_ns(node, seen.now_ns):
            yield _ahead(node, ahead_ns)
        elif node.renewed_ns is not None and is_silent(node, seen.now_ns):
            yield _silent(node, node.renewed_ns, seen.now_ns - node.renewed_ns)


def _ahead(node: KubeNode, by_ns: int) -> Broken:
    text = f"its lease was renewed {show_duration(by_ns)} in the future, so its clock is or was ahead"
    evidence = f"renewTime {show_moment(node.renewed_ns or 0)}"
    return Broken(CODE, _ref(node), text, evidence, f"clockstep step {quote(node.name)} --allow-backward")


def _silent(node: KubeNode, renewed_ns: int, age_ns: int) -> Broken:
    text = (
        f"Ready, although its lease was renewed {show_duration(age_ns)} ago: its clock is behind, or its kubelet hangs"
    )
    cure = f"clockstep step {quote(node.name)}; if its clock is correct: systemctl restart kubelet there"
    return Broken(CODE, _ref(node), text, f"renewTime {show_moment(renewed_ns)}", cure, since_ns=renewed_ns)


def _ref(node: KubeNode) -> KubeRef:
    return KubeRef("Node", node.name)


CHECK = Check(CODE, "Leases of Nodes", find, (Input.NODES, Input.LEASES), patience_ns=50 * SECOND_NS)
