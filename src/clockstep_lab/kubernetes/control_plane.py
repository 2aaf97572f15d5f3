"""A whole control plane of Kubernetes 1.20, for kubelets in guests and for tests: what kubelite lacks is real here."""

import base64
import json
from pathlib import Path

from clockstep_lab.cache import Say
from clockstep_lab.run import run
from clockstep_lab.tls import Validity

from . import builds
from .api import Api
from .cluster import HOSTS, Cluster
from .kubeconfig import by_certificate
from .server import Server

ISSUER = "https://kubernetes.default.svc"
SERVICES = "10.96.0.0/16"
FRONT_PROXY, KUBELETS_CLIENT = "front-proxy", "kubelets-client"
NODES, ADMINS = "system:nodes", "system:masters"


class ControlPlane(Cluster):
    """kube-apiserver with its etcd, kube-controller-manager and kube-scheduler, all of 1.20.2.

    The node authorizer and NodeRestriction are on, service accounts have signed tokens, certificates of kubelets are
    signed for ten years, and APIs can be aggregated.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        super().__init__(folder, say)
        self.controllers = self._beside("kube-controller-manager", "controllers", self._controllers_flags())
        self.scheduler = self._beside("kube-scheduler", "scheduler", {})

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the order in which they start."""
        return (*super().servers, self.controllers, self.scheduler)

    def token(self, namespace: str, name: str) -> str:
        """A new token of a service account, as the API server issues it: for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token: str = self.admin.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        return token

    def token_for(self, namespace: str, name: str, validity: Validity) -> str:
        """A token of a service account with any validity, as the API server would have issued it at that time."""
        account = self.admin.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")["metadata"]
        begins, ends = (int(at.timestamp()) for at in (validity.begins, validity.ends))
        claims = {
            "iss": ISSUER,
            "aud": [ISSUER],
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "iat": begins,
            "nbf": begins,
            "exp": ends,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": account["uid"]}},
        }
        signed = f"{_coded({'alg': 'RS256'})}.{_coded(claims)}"
        signature = run(["openssl", "dgst", "-sha256", "-sign", self._signing_key()], stdin=signed.encode())
        return f"{signed}.{_base64url(signature)}"

    def kubeconfig_of_node(self, node: str, host: str) -> Path:
        """Write a kubeconfig for a kubelet, who calls this host by that name."""
        return self.kubeconfig_of(node, by_certificate(self.certificate(f"system:node:{node}", NODES)), host)

    def _signing_key(self) -> Path:
        key = self.home / "pki/tokens.key"
        if not key.exists():
            run(["openssl", "genrsa", "-out", key, "2048"])
        return key

    def _api_program(self) -> Path:
        return builds.kubernetes(self.say) / "kube-apiserver"

    def _api_flags(self) -> dict[str, object]:
        proxy, kubelets = self.certificate(FRONT_PROXY), self.certificate(KUBELETS_CLIENT, ADMINS)
        return super()._api_flags() | {
            "enable-admission-plugins": "NodeRestriction",
            "endpoint-reconciler-type": "none",
            "allow-privileged": "true",
            "service-cluster-ip-range": SERVICES,
            "service-account-issuer": ISSUER,
            "service-account-signing-key-file": self._signing_key(),
            "service-account-key-file": self._signing_key(),
            "kubelet-client-certificate": kubelets.file,
            "kubelet-client-key": kubelets.key,
            "requestheader-client-ca-file": self.authority.certificate.file,
            "requestheader-allowed-names": FRONT_PROXY,
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": proxy.file,
            "proxy-client-key-file": proxy.key,
        }

    def _controllers_flags(self) -> dict[str, object]:
        authority = self.authority.certificate
        return {
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self._signing_key(),
            "root-ca-file": authority.file,
            "cluster-signing-cert-file": authority.file,
            "cluster-signing-key-file": authority.key,
            "cluster-signing-duration": "87600h",
        }

    def _beside(self, program: str, port: str, flags: dict[str, object]) -> Server:
        """A server that works through the API server, as the user of its own name."""
        user = self.certificate(f"system:{program}")
        shown = self.authority.once("serving", hosts=HOSTS)
        flags |= {
            "kubeconfig": self.kubeconfig_of(program, by_certificate(user)),
            "leader-elect": "false",
            "bind-address": "127.0.0.1",
            "port": 0,
            "secure-port": self.ports[port],
            "tls-cert-file": shown.file,
            "tls-private-key-file": shown.key,
        }
        health = Api(self.ports[port])
        return self.server(builds.kubernetes(self.say) / program, flags, lambda: health.is_ready("/healthz"))


def _coded(part: object) -> str:
    return _base64url(json.dumps(part).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
