"""The certificates of a kubeconfig: whom to trust, and what to show of oneself. The standard library alone."""

import base64
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clockstep.errors import KubernetesError
from clockstep.kubernetes.contexts import HINT


def context_of(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """Return how connections are made to this cluster as this user. Raises KubernetesError for bad certificates."""
    try:
        made = _trusting(cluster)
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13 sets it, kubectl accepts what it refuses
        with _file(user, "client-certificate") as certificate, _file(user, "client-key") as key:
            if certificate:
                made.load_cert_chain(certificate, key, password=_no_password)
        return made
    except (OSError, TypeError, ValueError) as error:  # an SSLError is an OSError
        raise KubernetesError(f"a certificate of the kubeconfig cannot be used: {error}", HINT, lasting=True) from error


def _trusting(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    data, file = (cluster.get(f"certificate-authority{kind}") for kind in ("-data", ""))
    made = ssl.create_default_context(
        cadata=base64.b64decode(data).decode("ascii") if data else None, cafile=None if data else file
    )
    if cluster.get("insecure-skip-tls-verify") is True:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


@contextmanager
def _file(user: Mapping[str, Any], name: str) -> Iterator[str | None]:
    """Give the file of a certificate or key; what the kubeconfig itself has counts first, and is in memory alone."""
    if not (data := user.get(f"{name}-data")):
        yield user.get(name)
        return
    file = os.memfd_create(f"clockstep-{name}")
    try:
        os.write(file, base64.b64decode(data))
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _no_password() -> str:
    """Refuse a key with a password; OpenSSL would ask for it on the terminal."""
    raise ValueError("the key has a password")
