"""As much of an X.509 certificate as says whose it is and when it is valid (RFC 5280), by the standard library. Pure.

Nothing is verified: a node may say of its own certificates what it likes. What is not DER in the form that certificates
have is refused with a ValueError, and whatever the reader has no use for is passed over unread.
"""

import base64
import re
from datetime import UTC, datetime
from typing import NamedTuple

from clockstep.core.foreign import bounded
from clockstep.units import SECOND_NS

PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----", re.ASCII)
INTEGER, BITS, OID, SEQUENCE, SET, VERSION = 0x02, 0x03, 0x06, 0x30, 0x31, 0xA0
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
TIMES = {UTC_TIME: re.compile(rb"[0-9]{12}Z"), GENERALIZED_TIME: re.compile(rb"[0-9]{14}Z")}
COMMON_NAME = bytes([0x55, 0x04, 0x03])
"""2.5.4.3 in DER."""
STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""By the tags of UTF8String, PrintableString, TeletexString, IA5String, UniversalString and BMPString."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CENTURY_OF_UTC_TIME = 50
"""RFC 5280, 4.1.2.5.1: a year of two digits below this is of the 21st century, another one of the 20th."""


class Identity(NamedTuple):
    """A certificate's subject, by its first common name, and its validity in nanoseconds since 1970.

    `not_after_ns` is None if it ends beyond what 64 bits can say, as 99991231235959Z does, which means never.
    """

    subject: str
    not_before_ns: int
    not_after_ns: int | None


def pem_blocks(text: str) -> list[bytes]:
    """Return the DER of each certificate in a text; raises ValueError for one that is not in base64."""
    return [base64.b64decode("".join(found.split()), validate=True) for found in PEM.findall(text)]


def parse(der: bytes) -> Identity:
    """Return what a certificate says; raises ValueError for what is none."""
    signed, _, _ = _all_of(_only(der, SEQUENCE), SEQUENCE, SEQUENCE, BITS)
    rest = _after(signed, VERSION) if signed[:1] == bytes([VERSION]) else signed
    for passed in (INTEGER, SEQUENCE, SEQUENCE):  # the serial number, how it is signed, the issuer
        rest = _after(rest, passed)
    validity, rest = _taken(rest, SEQUENCE)
    name, _ = _taken(rest, SEQUENCE)
    (first, not_before), rest = _time(validity)
    (last, not_after), rest = _time(rest)
    if rest:
        raise ValueError("a validity of more than two times")
    return Identity(_common_name(name), bounded(_ns(first, not_before)), _within(_ns(last, not_after)))


def _taken(data: bytes, *kinds: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, which is of one of these kinds, and what follows it."""
    if len(data) < 2 or data[0] not in kinds:
        raise ValueError("not a certificate")
    length, begin = data[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[2:begin])
        if not 3 <= begin <= 6 or length < 0x80 or not data[2]:  # DER has one way to write a length, the shortest
            raise ValueError("a length that is not DER")
    if begin + length > len(data):
        raise ValueError("an element that is cut off")
    return data[begin : begin + length], data[begin + length :]


def _after(data: bytes, kind: int) -> bytes:
    return _taken(data, kind)[1]


def _only(data: bytes, kind: int) -> bytes:
    return _all_of(data, kind)[0]


def _all_of(data: bytes, *kinds: int) -> list[bytes]:
    """Return the contents of elements of these kinds, which are all that there is."""
    contents = []
    for kind in kinds:
        content, data = _taken(data, kind)
        contents.append(content)
    if data:
        raise ValueError("more than a certificate has")
    return contents


def _time(data: bytes) -> tuple[tuple[int, bytes], bytes]:
    """Return the kind and the text of a time, and what follows it."""
    content, rest = _taken(data, *TIMES)
    return (data[0], content), rest


def _ns(kind: int, text: bytes) -> int:
    if not TIMES[kind].fullmatch(text):
        raise ValueError("a time that is not DER")
    century = "" if kind == GENERALIZED_TIME else "20" if int(text[:2]) < CENTURY_OF_UTC_TIME else "19"
    passed = datetime.strptime(f"{century}{text[:-1].decode()}+0000", "%Y%m%d%H%M%S%z") - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND_NS


def _within(end_ns: int) -> int | None:
    try:
        return bounded(end_ns)
    except ValueError:
        if end_ns < 0:
            raise
        return None


def _common_name(name: bytes) -> str:
    """Return the first common name of a subject; nothing if it has none."""
    while name:
        relative, name = _taken(name, SET)
        while relative:
            attribute, relative = _taken(relative, SEQUENCE)
            kind, value = _taken(attribute, OID)
            if kind == COMMON_NAME:
                text, _ = _taken(value, *STRINGS)
                return text.decode(STRINGS[value[0]])
    return ""
