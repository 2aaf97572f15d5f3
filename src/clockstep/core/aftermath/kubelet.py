"""Kubelets' own certificates, in the files of their nodes.

A kubelet renews what rotates by a timer that stood still with the machine, and looks at once when it starts (kubernetes
#65991, #78758). Not so a serving certificate that it has signed itself, which it keeps as long as the file is there
(kubernetes #99418, #62533), nor a client certificate that has expired, unless it has a kubeconfig to begin with
(kubeadm #2054). k3s and RKE2 agents get new certificates at each start (docs.k3s.io, certificate rotation).
"""

from collections.abc import Iterator
from hashlib import sha256
from shlex import quote

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.objects import in_doubt, lapsed_files, unread_files
from clockstep.model import Act, Broken, Certificate, Deed
from clockstep.model.damage import Input, KubeletUnit, Seen
from clockstep.units import SECOND_NS, show_duration

CODE = "CS-KUBELET"
PKI, CLIENT, ROTATED = "/var/lib/kubelet/pki/", "/var/lib/kubelet/pki/kubelet-client", "-current.pem"
CONFIG = "/etc/kubernetes/kubelet.conf"
JOIN = (
    "systemctl restart kubelet; if it stays refused, on a control-plane node: kubeadm kubeconfig user "
    "--org system:nodes --client-name system:node:NAME, as /etc/kubernetes/kubelet.conf there; or join it again"
)
SIGNED = "rm /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.key; systemctl restart kubelet"
KEPT = "a restart keeps what it has signed itself: the finding has the command"
AGENT = "/var/lib/rancher/"
RISK = "its pods run on; new ones wait some seconds longer"
PROOF_NS = 180 * SECOND_NS
"""After that, a restart that has changed nothing is taken for one that did not help."""
LETTERS = 16
"""How many letters of a certificate's hash tell it from the others of a node."""


def find(seen: Seen) -> Iterator[Broken]:
    """Give the certificates of kubelets that are not valid now."""
    return lapsed_files(CODE, seen, _cure, RISK)


def _cure(one: Certificate, node: str) -> str:
    if one.path.startswith(CLIENT) or one.path == CONFIG:
        return JOIN.replace("NAME", quote(node))
    if one.path.startswith(PKI):
        return "systemctl restart kubelet" if one.path.endswith(ROTATED) else SIGNED
    if one.path.startswith(AGENT) and "/agent/" in one.path:
        return f"systemctl restart {'k3s' if '/k3s/' in one.path else 'rke2'}-agent, or the server's service"
    return ""


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Restart the kubelet of a node whose machine is known here, once for each certificate."""
    name = broken.on.name
    one = next((one for one in _files(seen, name) if one.path == broken.part), None)
    if one is None:
        return "it is gone"
    if why := _unreached(seen, name):
        return f"{why}; there: {broken.cure}"
    unit = next(one for one in seen.kubelets if one.node == name)
    return _objection(seen, one, unit) or _once(broken, unit, mark(one))


def _files(seen: Seen, node: str) -> Iterator[Certificate]:
    return (one for of in seen.files if of.node == node for one in of.certificates)


def _unreached(seen: Seen, name: str) -> str:
    """Return why a node's kubelet cannot be restarted from here."""
    if name not in seen.machines:
        return "its machine is not one of these"
    if why := seen.unread.get(Input.KUBELETS):
        return why.why
    return "" if any(one.node == name for one in seen.kubelets) else seen.unread_kubelets.get(name, "not looked at")


def _objection(seen: Seen, one: Certificate, unit: KubeletUnit) -> str:
    """Return why a restart would not help, or may not be; nothing if it may."""
    if not unit.unit:
        return "no service of systemd runs its kubelet alone: the finding has the command"
    if why := _doubted(seen, unit.node):
        return why
    if one.path.startswith(AGENT):
        return ""
    if one.not_before_ns > seen.now_ns:
        return f"it is valid in {show_duration(one.not_before_ns - seen.now_ns)}: wait, a restart would not help"
    if one.path.startswith(CLIENT) or one.path == CONFIG:
        why = "with a client certificate that has expired it cannot ask for another one: the finding has the commands"
        return "" if unit.bootstraps else why
    return "" if one.path.endswith(ROTATED) else KEPT


def _doubted(seen: Seen, name: str) -> str:
    """Return why a Node's clock may be off; a kubelet that goes by such a clock renews nothing."""
    if why := seen.unread.get(Input.LEASES):
        return f"whether its Node's clock is correct is not known: {why.why}"
    doubted = any(node.name == name and in_doubt(node, seen.now_ns) for node in seen.nodes)
    return "its Node's lease contradicts this host's clock: CS-CLOCK comes first" if doubted else ""


def _once(broken: Broken, unit: KubeletUnit, marked: str) -> Act | str:
    """Return a restart, unless there was one for this certificate: then that is waited for, or did not help."""
    ago_ns = unit.restarts.get(marked)
    if ago_ns is not None and ago_ns > PROOF_NS:
        return f"it was restarted for this {show_duration(ago_ns)} ago, which did not help"
    return Act(Deed.RESTART_KUBELET, broken.on, CODE, broken.on.name, begun=ago_ns is not None, mark=marked)


def mark(one: Certificate) -> str:
    """Return what a node notes a restart for this certificate by."""
    return sha256(f"{one.path} {one.not_before_ns} {one.not_after_ns}".encode()).hexdigest()[:LETTERS]


CHECK = Check(
    CODE,
    "Certificates of kubelets",
    find,
    (Input.FILES,),
    for_cure=(Input.KUBELETS, Input.LEASES),
    gaps=unread_files,
    patience_ns=30 * SECOND_NS,
)
REMEDY = Remedy(CODE, plan)
