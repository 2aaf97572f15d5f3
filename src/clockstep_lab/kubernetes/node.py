"""A node of the lab's Kubernetes: a full Debian 12 with chronyd, containerd, runc, CNI plugins, and a kubelet."""

import json
import shutil
from pathlib import Path

from clockstep_lab import minimal
from clockstep_lab.cache import Say, built
from clockstep_lab.full import KERNEL_ARGUMENTS, Recipe, build
from clockstep_lab.image import GUEST_FILES, Image, source_of_images
from clockstep_lab.seed import Files

from .builds import kubernetes
from .control_plane import NODES, ControlPlane
from .gate import PORT
from .kubeconfig import by_certificate, kubeconfig
from .oci import write_image

NAME = "kubernetes"
PACKAGES = ("chrony", "containerd", "runc", "containernetworking-plugins", "iptables", "mount")
FILES = GUEST_FILES / "kubernetes"
MEMORY_MIB, BOOT_S = 1024, 400
API = "https://10.0.2.2:6443"
"""The API server as every node and pod knows it; nodes lead it on to the lab's port (guest/kubernetes, redirect)."""


def image(say: Say) -> Image:
    """The node's image, built if the cache doesn't have it. Raises LabError."""
    kubelet = kubernetes(say) / "kubelet"
    tools = minimal.image(say).folder / "tree/usr/bin/busybox"
    here = [path.read_bytes() for path in (Path(__file__), Path(__file__).with_name("oci.py"))]
    files = sorted(path for path in FILES.rglob("*") if path.is_file())
    made_of = [*source_of_images("full"), *here, *(path.read_bytes() for path in (*files, tools, kubelet))]
    folder = built("kubernetes-node", made_of, lambda into: _build(into, kubelet, tools, say), say)
    return Image(NAME, "full", folder, MEMORY_MIB, BOOT_S, KERNEL_ARGUMENTS, serves=PORT)


def _build(into: Path, kubelet: Path, tools: Path, say: Say) -> None:
    added = into / "added"
    (added / "usr/local/bin").mkdir(parents=True)
    shutil.copy(kubelet, added / "usr/local/bin/kubelet")
    (added / "usr/lib/clockstep-lab").mkdir(parents=True)
    write_image(tools, added / "usr/lib/clockstep-lab/tools.tar")
    build(Recipe("bookworm", PACKAGES, trees=(FILES, added)), into, say)
    shutil.rmtree(added)


def told_of(plane: ControlPlane, name: str) -> Files:
    """What a node is told of its cluster: who it is there, where the API server is, and its pods' addresses."""
    authority = plane.authority.certificate.file
    user = by_certificate(plane.certificate(f"system:node:{name}", NODES))
    return {
        "etc/kubernetes/node": (f"NODE={name}\n", 0o644),
        "etc/kubernetes/api": (f"API_PORT={plane.port}\n", 0o644),
        "etc/kubernetes/kubelet.conf": (kubeconfig(API, authority, user), 0o600),
        "etc/kubernetes/ca.crt": (authority.read_text(), 0o644),
        "etc/cni/net.d/10-lab.conflist": (_network(int(name.rpartition("-")[2])), 0o644),
    }


def _network(number: int) -> str:
    """A bridge with addresses for pods, as CNI's plugins understand it; nodes masquerade what leaves it (redirect)."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": f"10.88.{number}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "ipam": addresses}
    return json.dumps({"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge]})
