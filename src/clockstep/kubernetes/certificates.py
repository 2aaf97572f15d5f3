"""Certificates and requests for them that objects of a cluster have in them; keys are neither kept nor looked at."""

import base64
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from clockstep.core.foreign import understood
from clockstep.core.x509 import parse, pem_blocks
from clockstep.kubernetes.fields import LONGEST, mapping, moment, text, texts
from clockstep.model import Certificate, KubeRef
from clockstep.model.damage import SigningRequest, TlsSecret

MOST_AUTHORITIES, LONGEST_PEM = 8, 256 << 10
"""How many certificates of a bundle are read, and how long a text with certificates may be."""
MOST_NAMES = 64


def secret(found: dict[str, Any], ref: KubeRef) -> TlsSecret | None:
    """Return the certificate of a Secret; None if it has none that can be read, as one that is still empty."""
    shown = next(iter(bundle(mapping(found.get("data")).get("tls.crt"), "tls.crt")), None)
    return TlsSecret(ref, *shown) if shown else None


def bundle(encoded: object, path: str) -> list[tuple[Certificate, str]]:
    """Return the certificates in a PEM that is in base64, with their fingerprints; none of what cannot be read."""
    if not isinstance(encoded, str) or len(encoded) > LONGEST_PEM:
        return []
    return understood(lambda said: _bundle(said, path), encoded) or []


def _bundle(encoded: str, path: str) -> list[tuple[Certificate, str]]:
    blocks = pem_blocks(base64.b64decode(encoded).decode("ascii", "replace"))
    return [certificate(der, path) for der in blocks[:MOST_AUTHORITIES]]


def certificate(der: bytes, path: str) -> tuple[Certificate, str]:
    """Return a certificate and its SHA-256; raises ValueError for what is none."""
    who = parse(der)
    return Certificate(path, who.subject[:LONGEST], who.not_before_ns, who.not_after_ns), sha256(der).hexdigest()


def signing_request(found: dict[str, Any], ref: KubeRef) -> SigningRequest | None:
    """Return a request that waits; None of one that was approved, denied, failed or issued."""
    spec, status = mapping(found.get("spec")), mapping(found.get("status"))
    if status.get("conditions") or status.get("certificate"):
        return None
    asked = understood(_asked, text(spec.get("request"), LONGEST_PEM))
    return SigningRequest(
        ref,
        text(spec.get("signerName")),
        text(spec.get("username")),
        texts(spec.get("groups")),
        texts(spec.get("usages")),
        created_ns=moment(mapping(found.get("metadata")).get("creationTimestamp")),
        uid=text(mapping(found.get("metadata")).get("uid")),
        **(asked or {"trouble": "the request in it cannot be read"}),
    )


def _asked(encoded: str) -> dict[str, Any]:
    """Return what a request in PKCS#10 asks for."""
    from cryptography.x509 import load_pem_x509_csr
    from cryptography.x509.oid import NameOID

    request = load_pem_x509_csr(base64.b64decode(encoded))
    names = [one.value for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organizations = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    alternatives = list(_alternatives(request))
    return {
        "common_name": text(names[0]) if len(names) == 1 else "",
        "organizations": tuple(text(one.value) for one in organizations),
        "names": tuple(value for kind, value in alternatives if kind == "DNSName"),
        "addresses": tuple(value for kind, value in alternatives if kind == "IPAddress"),
        "others": any(kind not in {"DNSName", "IPAddress"} for kind, _ in alternatives),
        "signed": request.is_signature_valid,
    }


def _alternatives(request: Any) -> Iterator[tuple[str, str]]:
    """Give the kinds and values of a request's alternative names. Raises ValueError for more than a node has."""
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName

    try:
        found = list(request.extensions.get_extension_for_class(SubjectAlternativeName).value)
    except ExtensionNotFound:
        return
    if len(found) > MOST_NAMES:
        raise ValueError("more names than a node has")
    for one in found:
        yield type(one).__name__, text(str(one.value))
