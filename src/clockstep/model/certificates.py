"""Certificates of nodes, as far as it matters when they are valid."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate in a file of a node: `subject` is its common name, and no key is kept.

    It is valid from `not_before_ns` to `not_after_ns`, in nanoseconds since 1970; the latter is None if that is never.
    """

    path: str
    subject: str
    not_before_ns: int
    not_after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class NodeCertificates:
    """Certificates of one node."""

    node: str
    certificates: tuple[Certificate, ...]
