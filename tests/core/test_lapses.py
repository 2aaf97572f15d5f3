"""Which certificates are said to have lapsed, before a revert brings them back."""

from dataclasses import replace

import pytest

from clockstep.core.certificates import GUESSED_NS, LONGEST, MOST, guessed, is_valid, lapsed, limited
from clockstep.model import Certificate, Guest, NodeCertificates, Snapshot
from clockstep.units import DAY_NS, SECOND_NS

NOW = 1_800_000_000 * SECOND_NS
ONE = Certificate("/var/lib/kubelet/pki/kubelet-client-current.pem", "system:node:a", NOW - DAY_NS, NOW + DAY_NS)
A, B = (Guest(name, name, "running") for name in "ab")


@pytest.mark.parametrize(
    ("begin_ns", "end_ns", "valid"),
    [
        (NOW - 1, NOW + 1, True),
        (NOW, NOW, True),
        (NOW - 1, NOW - 1, False),
        (NOW + 1, NOW + 1, False),
        (NOW - 1, None, True),
        (NOW + 1, None, False),
    ],
)
def test_when_a_certificate_is_valid(begin_ns: int, end_ns: int | None, valid: bool) -> None:
    assert is_valid(replace(ONE, not_before_ns=begin_ns, not_after_ns=end_ns), NOW) is valid


def test_those_that_are_past_or_not_yet_valid_are_named_by_their_nodes() -> None:
    past, early = replace(ONE, not_after_ns=NOW - 1), replace(ONE, not_before_ns=NOW + 1)
    snapshots = {
        A: Snapshot("base", NOW, certificates=(ONE, past, early)),
        B: Snapshot("base", NOW, certificates=(ONE,)),
    }
    assert lapsed(snapshots, NOW) == (NodeCertificates("a", (past, early)),)
    assert lapsed({A: Snapshot("base", NOW), B: Snapshot("base", NOW, certificates=())}, NOW) == ()


def test_what_was_not_recorded_is_a_guess_by_the_age_and_says_so() -> None:
    old, young = Snapshot("base", NOW - GUESSED_NS), Snapshot("base", NOW - GUESSED_NS + 1)
    (said,) = guessed({A: old, B: old}, NOW)
    assert said.startswith("a, b: certificates were not recorded; after 30 d ")
    assert "a guess" in said
    assert guessed({A: young, B: replace(old, certificates=())}, NOW) == []


def test_what_somebody_else_may_have_written_is_bounded() -> None:
    many = [replace(ONE, path="p" * 1000, subject="s" * 1000)] * 1000
    kept = limited(many)
    assert len(kept) == MOST
    assert {len(one.path) for one in kept} == {len(one.subject) for one in kept} == {LONGEST}
