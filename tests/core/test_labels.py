"""Selectors of labels, as kubectl takes them; tests/kubernetes/test_contract.py holds them to a real API server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.labels import parse_selector
from clockstep.errors import UsageError

LABELS = {"tier": "db", "zone": "", "example.org/size": "12", "in": "in", "odd": "x1"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("tier=db", True),
        ("tier == db", True),
        ("tier=web", False),
        ("tier!=web", True),
        ("tier!=db", False),
        ("none!=db", True),
        ("none=db", False),
        ("zone=", True),
        ("none=", False),
        ("tier in (web, db)", True),
        ("tier in(db)", True),
        ("tier in (web)", False),
        ("tier notin (web,cache)", True),
        ("none notin (web)", True),
        ("zone in ()", True),
        ("tier", True),
        ("none", False),
        ("!none", True),
        ("! tier", False),
        ("in in (in)", True),
        ("example.org/size>11", True),
        ("example.org/size < 12", False),
        ("odd>0", False),
        ("none>0", False),
        ("tier in (web,db),zone,!none", True),
        ("tier in (web,db),!zone", False),
    ],
)
def test_a_selector_selects_what_kubernetes_would(text: str, selected: bool) -> None:
    assert parse_selector(text).selects(LABELS) is selected


@pytest.mark.parametrize(
    "text",
    [
        *(" ", ",", "a=b,", "a in b", "a in (b", "a==b=c", "=b", "a=b c", "-a=b", "a=-b", "a>x", "a b", "a/b/c=d"),
        *("ä=b", "a" * 64, "a=" + "b" * 64, "a\x00=b", "a in (b))", "a=b\nc", "A.example/b=c"),
    ],
)
def test_what_kubectl_would_not_take_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="no selector of labels") as caught:
        parse_selector(text)
    assert "'KEY in (A,B)'" in caught.value.hint


WORD = st.from_regex(r"[a-z0-9]([-a-z0-9_.]{0,5}[a-z0-9])?", fullmatch=True)


@given(WORD, st.lists(WORD, min_size=1, max_size=3), st.dictionaries(WORD, WORD, max_size=3))
def test_a_set_and_what_is_not_in_it_are_opposites(key: str, values: list[str], labels: dict[str, str]) -> None:
    listed = ",".join(values)
    inside, outside = parse_selector(f"{key} in ({listed})"), parse_selector(f"{key} notin ({listed})")
    assert inside.selects(labels) is (labels.get(key) in values)
    assert outside.selects(labels) is not inside.selects(labels)


@given(WORD, st.dictionaries(WORD, WORD, max_size=3))
def test_a_label_is_there_or_not(key: str, labels: dict[str, str]) -> None:
    assert parse_selector(key).selects(labels) is (key in labels)
    assert parse_selector(f"!{key}").selects(labels) is (key not in labels)


@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_an_error(text: str) -> None:
    try:
        selector = parse_selector(text)
    except UsageError:
        return
    assert selector.requirements
