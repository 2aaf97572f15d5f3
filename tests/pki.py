"""Certificates for tests, made by the library that clockstep's own reader is compared with."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def certificate(subject: x509.Name | str, begin_s: int, end_s: int) -> x509.Certificate:
    """Return a certificate that is valid between two times, in seconds since 1970."""
    if isinstance(subject, str):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    key = Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(_moment(begin_s)).not_valid_after(_moment(end_s))
    return valid.sign(key, None)


def pem(subject: x509.Name | str, begin_s: int, end_s: int) -> str:
    """Return such a certificate as text."""
    return certificate(subject, begin_s, end_s).public_bytes(Encoding.PEM).decode()


def key() -> str:
    """Return a private key as text."""
    made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


def key_and_pem(subject: str, begin_s: int, end_s: int) -> tuple[str, str]:
    """Return the key and the certificate of a server, as text; by a kind of key that every TLS library takes."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    made = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(name, name, made.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(_moment(begin_s)).not_valid_after(_moment(end_s)).sign(made, SHA256())
    secret = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret.decode(), signed.public_bytes(Encoding.PEM).decode()


def _moment(at_s: int) -> datetime:
    return EPOCH + timedelta(seconds=at_s)
