"""Damage for tests of the aftermath, in a real API server: objects as controllers and kubelets leave them."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clockstep_lab.kubernetes.cluster import Cluster
from clockstep_lab.tls import Authority, Certificate, Validity

NAMESPACE = "aftermath"
HOUR = timedelta(hours=1)
LABELS = {"app": "webhook", "pod-template-hash": "5f4d"}
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def encoded(text: str | bytes) -> str:
    """Return what Secrets and bundles have."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def stamp(at: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def lapsed() -> Validity:
    """A validity that ended an hour ago."""
    now = datetime.now(UTC)
    return Validity(now - 2 * HOUR, now - HOUR)


def begin(cluster: Cluster) -> None:
    """Have an empty namespace, and nothing that the API server calls."""
    if NAMESPACE in {one["metadata"]["name"] for one in cluster.admin.get("/api/v1/namespaces")["items"]}:
        for one in cluster.admin.get(PODS)["items"]:
            cluster.admin.call("DELETE", f"{PODS}/{one['metadata']['name']}", {"gracePeriodSeconds": 0})
    for path in (WEBHOOKS, DEPLOYMENTS, f"/api/v1/namespaces/{NAMESPACE}/services"):
        cluster.admin.delete(path)
    for path in ("secrets", "events"):
        cluster.admin.delete(f"/api/v1/namespaces/{NAMESPACE}/{path}")
    cluster.admin.delete(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets")
    cluster.admin.delete("/apis/certificates.k8s.io/v1/certificatesigningrequests")
    if NAMESPACE not in {one["metadata"]["name"] for one in cluster.admin.get("/api/v1/namespaces")["items"]}:
        cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})


def add_deployment(cluster: Cluster, name: str = "webhook", **spec: Any) -> None:
    """Create a Deployment with its one pod, as its controllers would."""
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    body = {"selector": {"matchLabels": {"app": "webhook"}}, "template": template, "replicas": 1, **spec}
    cluster.admin.create(DEPLOYMENTS, {"metadata": {"name": name}, "spec": body})
    status = {"status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}}
    cluster.admin.patch(f"{DEPLOYMENTS}/{name}/status", status)


def add_pod(cluster: Cluster, name: str, *, owned: bool = True, **status: Any) -> None:
    """Create a pod on node-1 with this status."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "webhook-5f4d", "uid": "1", "controller": True}
    metadata = {"name": name, "labels": LABELS, "ownerReferences": [owner] if owned else []}
    volume = {"name": "tls", "secret": {"secretName": "webhook-tls"}}
    spec = {"nodeName": "node-1", "containers": [{"name": "x", "image": "x"}], "volumes": [volume]}
    cluster.admin.create(PODS, {"metadata": metadata, "spec": spec})
    cluster.admin.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running", **status}})


def add_service(cluster: Cluster, name: str = "webhook") -> None:
    """Create a Service whose address is here."""
    spec = {"clusterIP": "127.0.0.1", "selector": {"app": "webhook"}, "ports": [{"port": 443}]}
    cluster.admin.create(f"/api/v1/namespaces/{NAMESPACE}/services", {"metadata": {"name": name}, "spec": spec})


def add_webhook(cluster: Cluster, config: dict[str, Any], **changes: Any) -> None:
    """Create a webhook that is sent new ConfigMaps of `default`."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    webhook = {
        "name": "webhook.example.com",
        "clientConfig": config,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        **changes,
    }
    cluster.admin.create(WEBHOOKS, {"metadata": {"name": "example"}, "webhooks": [webhook]})


def add_crd(cluster: Cluster, group: str, kind: str, version: str = "v1") -> None:
    """Have a namespaced kind with a status, whatever is in its objects."""
    plural = f"{kind.lower()}s"
    whole = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}
    spec = {
        "group": group,
        "names": {"kind": kind, "plural": plural},
        "scope": "Namespaced",
        "versions": [{**served, "subresources": {"status": {}}}],
    }
    cluster.admin.create(CRDS, {"metadata": {"name": f"{plural}.{group}"}, "spec": spec})


def csr(common_name: str, organization: str, names: tuple[str, ...] = (), addresses: tuple[str, ...] = ()) -> str:
    """Return a request for a certificate, in PEM."""
    subject = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(*one) for one in subject]))
    if found := [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(one)) for one in addresses)]:
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM).decode()


class Tls:
    """A TLS server on loopback that shows one certificate until it is given another: it loads it once."""

    def __init__(self, folder: Path, validity: Validity) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = Authority(folder)
        self.certificate = self.issue(validity)
        self._server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        self.port = self._server.server_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(self.certificate)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that refuse it
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def issue(self, validity: Validity) -> Certificate:
        """Return a new certificate for its names."""
        return self.authority.issue("webhook", hosts=("127.0.0.1", "webhook.aftermath.svc"), validity=validity)

    def show(self, certificate: Certificate) -> None:
        """Show this certificate from now on."""
        self._context.load_cert_chain(certificate.file, certificate.key)

    @property
    def bundle(self) -> str:
        """The caBundle by which it is trusted."""
        return encoded(self.authority.certificate.file.read_bytes())

    @contextmanager
    def serving(self) -> Iterator["Tls"]:
        """Serve in the block."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
