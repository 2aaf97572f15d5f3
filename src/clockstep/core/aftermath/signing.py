"""Kubelets that wait for a certificate: requests that nobody has approved.

Client certificates are approved by the controller manager, serving ones by nobody (kubernetes.io, kubelet TLS
bootstrapping); openshift/release #48381 and openshift-docs #86600 approve by hand after suspends. What may be approved
here: signer, requestor, organisation, names, addresses and usages fit an existing Node whose machine is one of ours
(kubernetes.io, certificate signing requests: what the two signers demand).
"""

from collections.abc import Iterator
from shlex import quote

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.model import Act, Broken, Deed, KubeNode
from clockstep.model.damage import Input, Seen, SigningRequest
from clockstep.units import SECOND_NS

CODE = "CS-CSR"
CLIENT, SERVING = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
NODE, NODES = "system:node:", "system:nodes"
PURPOSE = {CLIENT: "client auth", SERVING: "server auth"}
SIGNATURE, MAY_HAVE = "digital signature", "key encipherment"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the requests of kubelets that wait."""
    for one in seen.signing_requests:
        if one.signer in PURPOSE:
            text = f"a kubelet waits for its certificate ({one.signer.partition('/')[2]})"
            evidence = f"asked for by {one.username}: {one.trouble or one.common_name}"
            cure = f"kubectl certificate approve {quote(one.ref.name)}, after a look at it"
            risk = "whoever holds the key can act as that node"
            yield Broken(CODE, one.ref, text, evidence, cure, risk, one.created_ns)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Approve a request that fits its Node in everything."""
    request = next((one for one in seen.signing_requests if one.ref == broken.on), None)
    if request is None:
        return "it is gone"
    return objection(request, seen) or Act(Deed.APPROVE, request.ref, CODE, request.uid)


def objection(request: SigningRequest, seen: Seen) -> str:
    """Return why a request may not be approved without a look; nothing if it fits."""
    name = request.username.removeprefix(NODE)
    node = next((one for one in seen.nodes if one.name == name), None)
    if request.trouble or not request.signed:
        return request.trouble or "it is not signed by its own key"
    if not request.username.startswith(NODE) or NODES not in request.groups:
        return "it is not asked for by a node"
    if node is None or name not in seen.machines:
        return "there is no such Node" if node is None else "the machine of that Node is not one of these"
    if request.common_name != request.username or request.organizations != (NODES,):
        return "the name or the organisation in it is not the node's"
    return _wrong_usages(request) or _wrong_names(request, node)


def _wrong_usages(request: SigningRequest) -> str:
    demanded = {SIGNATURE, PURPOSE[request.signer]}
    asked = set(request.usages)
    return "" if demanded <= asked <= demanded | {MAY_HAVE} else "its usages are not what the signer demands"


def _wrong_names(request: SigningRequest, node: KubeNode) -> str:
    asked = {*request.names, *request.addresses}
    if request.signer == CLIENT:
        return "a client has no addresses" if asked or request.others else ""
    if request.others or not asked or not asked <= set(node.addresses):
        return "the names and addresses in it are not all the Node's"
    return ""


CHECK = Check(
    CODE,
    "Requests of kubelets for certificates",
    find,
    (Input.SIGNING_REQUESTS, Input.NODES),
    patience_ns=30 * SECOND_NS,
)
REMEDY = Remedy(CODE, plan)
