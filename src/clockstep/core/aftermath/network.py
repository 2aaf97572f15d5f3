"""Pods that get no network because the network's plugin on their node shows a token that lapsed.

calico #4857, #6546, #7171, #7208, #8379, #9428; microk8s #4661; k3s #4221, #6555: the plugin's pod writes the token
into a kubeconfig on the node and renews it by a timer that stood still. A new pod of it writes a new one.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.commands import delete_pod
from clockstep.core.aftermath.objects import renew
from clockstep.model import Act, Broken, KubeRef
from clockstep.model.damage import Input, KubeHappening, KubePod, Seen
from clockstep.units import SECOND_NS

CODE = "CS-CNI"
REASON = "FailedCreatePodSandBox"
REFUSED = ("unauthorized", "token has expired", "not valid yet", "must be logged in")
PLUGINS = {
    *("calico-node", "canal", "cilium", "flannel", "kube-flannel", "kube-flannel-ds", "weave-net"),
    *("multus", "kube-multus", "kube-multus-ds", "kube-router", "antrea-agent"),
}
"""By their whole names: `cilium-envoy`, say, is a proxy beside the plugin, through which traffic goes."""
TRIED_NS = 180 * SECOND_NS
"""A kubelet tries a sandbox again after at most 2 min or so: it backs off as for crashes."""
NAMES = ("k8s-app", "app", "app.kubernetes.io/name", "name", "component")
"""The labels by which the plugins' DaemonSets name themselves."""


def find(seen: Seen) -> Iterator[Broken]:
    """Give the nodes where sandboxes fail for a refused token, as the network's pod there."""
    for node, (event, count) in sorted(_refused(seen).items()):
        plugin = plugin_on(seen, node)
        text = f"{count} pods on {node} get no network: their plugin is refused by the API server"
        cure = delete_pod(plugin.ref) if plugin else "restart the pod of its network plugin"
        risk = "pods that run keep their network; new ones on that node wait some seconds longer"
        yield Broken(CODE, KubeRef("Node", node), text, event.message, cure, risk, event.last_ns)


def _refused(seen: Seen) -> dict[str, tuple[KubeHappening, int]]:
    """Return the last event of each node, and how many pods it has that still wait."""
    pods = {pod.ref: pod for pod in seen.pods if pod.waiting and not pod.ready and not pod.deleting}
    found: dict[str, dict[KubeRef, KubeHappening]] = {}
    for event in seen.events:
        pod = pods.get(event.on)
        if pod and event.reason == REASON and any(word in event.message.lower() for word in REFUSED):
            found.setdefault(pod.node, {})[event.on] = event
    return {node: (max(of.values(), key=lambda one: one.last_ns or 0), len(of)) for node, of in found.items()}


def plugin_on(seen: Seen, node: str) -> KubePod | None:
    """Return the pod of the network plugin on a node, a DaemonSet's; None if none is known."""
    on_node = (pod for pod in seen.pods if pod.node == node and pod.owner and pod.owner.kind == "DaemonSet")
    return next((pod for pod in on_node if any(pod.labels.get(name) in PLUGINS for name in NAMES)), None)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Have the network's pod on that node made again."""
    return renew(seen, broken, plugin_on(seen, broken.on.name), TRIED_NS)


CHECK = Check(CODE, "Tokens of network plugins", find, (Input.PODS, Input.EVENTS), patience_ns=60 * SECOND_NS)
REMEDY = Remedy(CODE, plan)
