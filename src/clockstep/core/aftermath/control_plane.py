"""Certificates of the control plane, in the files of its nodes: reported, with the commands.

kubeadm renews all but starts nothing anew (kubernetes.io, kubeadm certs renew; kubernetes #94250). k3s and RKE2 renew
at a start what has less than 90 days left (k3s #1621, #5163), but not what is not yet valid (k3s #6152).
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.objects import lapsed_files, unread_files
from clockstep.model import Broken, Certificate
from clockstep.model.damage import Input, Seen

CODE = "CS-CONTROL-PLANE"
KUBEADM = "/etc/kubernetes/"
OF_KUBELET = "/etc/kubernetes/kubelet.conf"
RANCHER = {"/var/lib/rancher/k3s/server/": "k3s", "/var/lib/rancher/rke2/server/": "rke2"}
RENEW = (
    "kubeadm certs renew all; then move the manifests out of /etc/kubernetes/manifests for 20 s and back, one "
    "control-plane node after the other"
)
RISK = "the API server is away meanwhile if there is only one"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the certificates of control planes that are not valid now."""
    return lapsed_files(CODE, seen, lambda one, _node: _cure(one, seen.now_ns), RISK)


def _cure(one: Certificate, now_ns: int) -> str:
    """Return the command that renews a certificate of a control plane; nothing for any other."""
    for folder, service in RANCHER.items():
        if one.path.startswith(folder):
            early = one.not_before_ns > now_ns
            return f"{service} certificate rotate; systemctl restart {service}" if early else _restart(service)
    return RENEW if one.path.startswith(KUBEADM) and one.path != OF_KUBELET else ""


def _restart(service: str) -> str:
    return f"systemctl restart {'k3s' if service == 'k3s' else 'rke2-server'}"


CHECK = Check(CODE, "Certificates of the control plane", find, (Input.FILES,), gaps=unread_files)
