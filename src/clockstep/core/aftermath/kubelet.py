"""Kubelets' own certificates, in the files of their nodes.

A kubelet reads them again at its start and asks for new ones (kubernetes #65991, #78758; #97680: one that is not yet
valid is not recovered from). A client certificate that has expired cannot ask: its node has to be joined again.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import lapsed_files, unread_files
from clockstep.model import Broken, Certificate
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
    return lapsed_files(CODE, seen, _cure)


def _cure(one: Certificate, node: str) -> str:
    if one.path.startswith(CLIENT) or one.path == "/etc/kubernetes/kubelet.conf":
        return JOIN.replace("NAME", node)
    if one.path.startswith(PKI):
        return "systemctl restart kubelet"
    if one.path.startswith(AGENT) and "/agent/" in one.path:
        return f"systemctl restart {'k3s' if '/k3s/' in one.path else 'rke2'}-agent, or the server's service"
    return ""


CHECK = Check(CODE, "Certificates of kubelets", find, (Input.FILES,), gaps=unread_files, patience_ns=30 * SECOND_NS)
