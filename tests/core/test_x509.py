"""The reader of certificates agrees with the library on every one, and takes nothing else."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from clockstep.core.foreign import MOST
from clockstep.core.x509 import EPOCH, Identity, parse, pem_blocks
from clockstep.units import SECOND_NS
from pki import certificate, pem

FIRST, LAST = (int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) for year in (1950, 9999))
BEYOND = MOST // SECOND_NS + 1
TYPES = (_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.UniversalString)
OTHERS = (NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
moments = st.integers(FIRST, LAST) | st.sampled_from([FIRST, -1, 0, BEYOND, LAST, 2_524_607_999, 2_524_608_000])
texts = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), min_size=2, max_size=20)


@st.composite
def names(draw: st.DrawFn) -> x509.Name:
    """Names of Kubernetes' kind and of any other, with several attributes, also in one set."""
    wanted = draw(st.lists(st.sampled_from([NameOID.COMMON_NAME, *OTHERS]), max_size=4))
    parts = [_attribute(oid, draw) for oid in wanted]
    sets = [x509.RelativeDistinguishedName([part]) for part in parts]
    if len({part.oid for part in parts}) > 1 and draw(st.booleans()):
        sets = [x509.RelativeDistinguishedName(list({part.oid: part for part in parts}.values()))]
    return x509.Name(sets)


def _attribute(oid: x509.ObjectIdentifier, draw: st.DrawFn) -> x509.NameAttribute[str]:
    if oid == NameOID.COUNTRY_NAME:
        return x509.NameAttribute(oid, draw(st.sampled_from(["DE", "JP"])))
    return x509.NameAttribute(oid, draw(texts), draw(st.sampled_from(TYPES)))


def by_library(der: bytes) -> Identity:
    found = x509.load_der_x509_certificate(der)
    named = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    valid = found.not_valid_before_utc, found.not_valid_after_utc
    begin, end = ((moment - EPOCH) // timedelta(seconds=1) for moment in valid)
    return Identity(str(named[0].value) if named else "", begin * SECOND_NS, end * SECOND_NS if end < BEYOND else None)


@settings(deadline=None, max_examples=200)
@given(names(), moments, moments)
def test_what_a_certificate_says_is_what_the_library_reads(name: x509.Name, one: int, other: int) -> None:
    begin, end = sorted((min(one, BEYOND - 1), other))
    der = certificate(name, begin, end).public_bytes(Encoding.DER)
    assert parse(der) == by_library(der)


DER = certificate("system:node:node-1", 1_700_000_000, 4_000_000_000).public_bytes(Encoding.DER)
READ = DER.rindex(b"system:node:node-1") + 40
"""Up to where a certificate is read: what follows are a key, extensions and the signature."""
places = st.integers(0, READ) | st.integers(0, len(DER) - 1)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(deadline=None, max_examples=2000)
@given(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_certificate_is_refused_or_read_as_the_library_does(damages: list[tuple[int, int]]) -> None:
    damaged = bytearray(DER)
    for at, byte in damages:
        damaged[at] = byte
    try:
        expected = by_library(bytes(damaged))
    except (ValueError, x509.InvalidVersion, OverflowError):
        expected = None
    try:
        found = parse(bytes(damaged))
    except ValueError:
        return
    assert expected is None or found == expected


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200) | st.integers(0, len(DER) - 1).map(lambda length: DER[:length]))
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError):
        parse(der)


def test_each_block_of_a_text_is_taken_and_what_stands_around_is_not() -> None:
    first, second = pem("one", 0, 1), pem("two", 0, 1)
    blocks = pem_blocks(f"# who\n{first}x\n{second.replace(chr(10), chr(13) + chr(10))}")
    assert [parse(block).subject for block in blocks] == ["one", "two"]
    assert pem_blocks(first.replace("CERTIFICATE", "PRIVATE KEY")) == []


def test_a_block_that_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        pem_blocks(re.sub(r"\n.", "\n=", pem("one", 0, 1), count=2))
