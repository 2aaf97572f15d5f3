"""Kubeconfigs: files that hold all they need, as JSON, which is YAML too."""

import base64
import json
from pathlib import Path

from clockstep_lab.tls import Certificate

NAME = "lab"
User = dict[str, str]


def kubeconfig(server: str, authority: Path, user: User) -> str:
    """A kubeconfig of one cluster, one user and one context, all named `lab`; `server` is the API's address."""
    cluster = {"server": server, "certificate-authority-data": _embedded(authority)}
    record = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    }
    return json.dumps(record, indent=1)


def by_certificate(certificate: Certificate) -> User:
    """A user who shows a client certificate."""
    return {"client-certificate-data": _embedded(certificate.file), "client-key-data": _embedded(certificate.key)}


def by_token(token: str) -> User:
    """A user who shows a token."""
    return {"token": token}


def _embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
