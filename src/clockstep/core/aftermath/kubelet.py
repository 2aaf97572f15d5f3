"""Kubelets' own certificates, in the files of their nodes.

A kubelet reads them again at its start and asks for new ones (kubernetes #65991, #78758; #97680: one that is not yet
valid is not recovered from). A client certificate that has expired cannot ask: its node has to be joined again.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import dates, lapse, since, unread_files
from clockstep.core.certificates import is_valid
from clockstep.model import Broken, Certificate, KubeRef
from clockstep.model.damage import Input, Seen
from clockstep.units import SECOND_NS

CODE = "CS-KUBELET"
PKI, CLIENT = "/var/lib/kubelet/pki/", "/var/lib/kubelet/pki/kubelet-client"
JOIN = (
    "systemctl restart kubelet; if it stays refused, on a control-plane node: kubeadm kubeconfig user "
    "--org system:nodes --client-name system:node:NAME, as /etc/kubernetes/kubelet.conf there; or join it again"
)
AGENT = "/var/lib/rancher/"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the certificates of kubelets that are not valid now."""
    for node in seen.files:
        for one in node.certificates:
            if (cure := _cure(one, node.node)) and not is_valid(one, seen.now_ns):
                text = f"{one.path}: {lapse(one, seen.now_ns)}"
                began_ns = since(one, seen.now_ns)
                yield Broken(CODE, KubeRef("Node", node.node), text, dates(one), cure, since_ns=began_ns)


def _cure(one: Certificate, node: str) -> str:
    if one.path.startswith(CLIENT) or one.path == "/etc/kubernetes/kubelet.conf":
        return JOIN.replace("NAME", node)
    if one.path.startswith(PKI):
        return "systemctl restart kubelet"
    if one.path.startswith(AGENT) and "/agent/" in one.path:
        return f"systemctl restart {'k3s' if '/k3s/' in one.path else 'rke2'}-agent, or the server's service"
    return ""


CHECK = Check(CODE, "Certificates of kubelets", find, (Input.FILES,), gaps=unread_files, patience_ns=30 * SECOND_NS)
