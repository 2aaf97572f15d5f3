"""Which API server a node reports to, as whom, and as which Node: by files that are read again for each request.

Kubelets rotate their certificates, and whoever hands out tokens replaces them: nothing of either is kept.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clockstep.agent.kube.blocks import parse
from clockstep.agent.options import Reporting
from clockstep.core.foreign import understood
from clockstep.core.x509 import parse as parse_certificate
from clockstep.core.x509 import pem_blocks
from clockstep.errors import KubernetesError
from clockstep.host.trust import caller, objection
from clockstep.kubernetes.contexts import PATHS, Target, absolute, chosen, merged, unreadable

MOST_BYTES = 1 << 20
"""Of any of the files; kubeconfigs have some KB."""
LONGEST_TOKEN = 1 << 16
KUBELETS = (
    "etc/kubernetes/kubelet.conf",
    "var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    "var/lib/kubelet/kubeconfig",
)
"""The kubelet's own kubeconfig: of kubeadm, of k3s, of RKE2, and where cloud images have it."""
OF_NODE = "system:node:"
"""What the common name of a kubelet's certificate begins with; the rest is its Node's name."""
GIVE = "give the agent an account of its own: --server, --ca and --token-file"
REFUSED = {
    "exec": f"has a program started to log in, which the agent does not: {GIVE}",
    "auth-provider": f"logs in by an auth-provider, which Kubernetes 1.26 removed: {GIVE}",
    "username": f"logs in by a password, which Kubernetes 1.19 removed: {GIVE}",
    "as": f"acts as somebody else, which the agent does not: {GIVE}",
}
"""What a kubeconfig's user may have that would otherwise be passed over."""


def target(reporting: Reporting, root: Path = Path("/")) -> Target:
    """Return whom to ask, and as whom, by what the files say now; a token is in it as `token`.

    Raises KubernetesError for a file that is not there, that others may write, or that asks for what is not done here.
    """
    try:
        return _target(reporting, root)
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # no path is sure to be one, or to lead anywhere
        where = f"the kubeconfig {reporting.kubeconfig}" if reporting.kubeconfig else "what the node reports to"
        raise KubernetesError(f"{where} cannot be read: {error}", lasting=True) from error


def _target(reporting: Reporting, root: Path) -> Target:
    found = _by_token(reporting) if reporting.server else _by_kubeconfig(reporting, root)
    if not _is_address(found.server):
        raise KubernetesError(f"{found.server or 'nothing'!r} is no address of an API server by https://", lasting=True)
    for entry, key in zip((found.cluster, found.user, found.user), PATHS, strict=False):
        if (file := entry.get(key)) and not entry.get(f"{key}-data"):
            _content(Path(file))  # TLS would say that a file is missing, and not which
    return found.known_by(_token(found.user))


def node_of(reporting: Reporting, found: Target, host: str) -> str:
    """Return the name of this machine's Node: as it was given, by the kubelet's certificate, or the host's own.

    Raises KubernetesError for a certificate's file that cannot be read.
    """
    named = reporting.node or _of_certificate(found.user) or host
    return named.lower()


def _by_token(reporting: Reporting) -> Target:
    cluster = {"server": reporting.server, "certificate-authority": reporting.ca}
    return Target("", cluster, {"tokenFile": reporting.token_file})


def _by_kubeconfig(reporting: Reporting, root: Path) -> Target:
    file = Path(reporting.kubeconfig) if reporting.kubeconfig else _kubelets(root)
    found = chosen(merged([_read(file)]), "", str(file))
    _refuse(found, file)
    return found


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _kubelets(root: Path) -> Path:
    files = [root / one for one in KUBELETS]
    for file in files:
        if file.exists():
            return file
    tried = ", ".join(map(str, files))
    raise KubernetesError(f"there is no kubeconfig of a kubelet here ({tried}): name one with --kubeconfig, or {GIVE}")


def _read(file: Path) -> Mapping[str, Any]:
    """Return a kubeconfig with absolute paths."""
    real = file.resolve()
    if why := objection((file, file.absolute().parent, real, real.parent), caller()):
        raise KubernetesError(f"the kubeconfig {file} is not trusted: {why}", lasting=True)
    try:
        return absolute(parse(_content(file).decode()), file.absolute().parent)
    except (ValueError, RecursionError) as error:
        raise unreadable(file, str(error)) from error


def _content(file: Path) -> bytes:
    """Return what a file has. Raises KubernetesError if it cannot be read, or is too large."""
    try:
        with file.open("rb") as opened:
            found = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise KubernetesError(f"{file} cannot be read: {error.strerror or error}", lasting=True) from error
    if len(found) > MOST_BYTES:
        raise KubernetesError(f"{file} cannot be read: it is larger than {MOST_BYTES >> 20} MiB", lasting=True)
    return found


def _refuse(found: Target, file: Path) -> None:
    """Raise KubernetesError for what the agent does not do, or what would send credentials to anybody."""
    for key, why in REFUSED.items():
        if found.user.get(key):
            raise KubernetesError(f"the kubeconfig {file} {why}", lasting=True)
    if found.cluster.get("insecure-skip-tls-verify"):
        raise KubernetesError(f"the kubeconfig {file} takes any server for the right one: {GIVE}", lasting=True)
    if found.cluster.get("proxy-url"):
        raise KubernetesError(
            f"the kubeconfig {file} names a proxy, which the agent does not use: {GIVE}", lasting=True
        )


def _token(user: Mapping[str, Any]) -> dict[str, str]:
    """Return the token as it is now, if there is one; a file counts before what the kubeconfig has."""
    file, token = user.get("tokenFile"), str(user.get("token") or "")
    if not (file or token):
        return {}
    token = (_content(Path(file)).decode("ascii", "replace") if file else token).strip()
    where = f"the token file {file}" if file else "the user of the kubeconfig"
    if not (token.isascii() and token.isprintable() and 0 < len(token) <= LONGEST_TOKEN and " " not in token):
        raise KubernetesError(f"{where} has no token", lasting=True)
    return {"token": token}


def _of_certificate(user: Mapping[str, Any]) -> str:
    """Return the name of the Node whose kubelet is known by this certificate; nothing if it is no kubelet's."""
    if data := user.get("client-certificate-data"):
        return understood(lambda said: _named(base64.b64decode(said).decode("ascii")), str(data)) or ""
    if file := user.get("client-certificate"):
        return understood(_named, _content(Path(file)).decode("ascii", "replace")) or ""
    return ""


def _named(pem: str) -> str | None:
    subject = parse_certificate(pem_blocks(pem)[0]).subject
    return subject.removeprefix(OF_NODE) if subject.startswith(OF_NODE) else None
