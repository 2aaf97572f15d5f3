"""What chronyd claims, read from recorded answers of real ones."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.daemons import MARK, ask_all, chrony, parse_all
from clockstep.model import Claim

RECORDED = sorted((Path(__file__).parent / "recorded" / "chrony").glob("*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_answer_is_read_as_it_was_meant(path: Path) -> None:
    recorded = json.loads(path.read_text())
    assert recorded["command"] in chrony.ASK
    expected = recorded["expect"] and msgspec.convert(recorded["expect"], Claim)
    assert chrony.parse(recorded["output"]) == expected


@given(st.text())
def test_any_other_answer_is_no_claim(output: str) -> None:
    assert chrony.parse(output) is None


@given(st.lists(st.text(alphabet="0123456789.-*^ax", max_size=6), min_size=14, max_size=14))
def test_numbers_that_are_none_are_no_claim_and_no_crash(fields: list[str]) -> None:
    claim = chrony.parse(",".join(fields))
    assert claim is None or not claim.synchronised


def test_the_daemon_that_answers_is_the_one() -> None:
    recorded = json.loads((RECORDED[0].parent / "synchronised.json").read_text())
    claim = parse_all(f"{MARK}chrony\n{recorded['output']}")
    assert claim is not None
    assert claim.daemon == "chrony"


def test_where_no_daemon_answers_there_is_no_claim() -> None:
    assert parse_all(f"{MARK}chrony\n") is None
    assert parse_all("") is None
    assert parse_all(f"{MARK}ghost\nboo") is None


def test_asking_all_daemons_is_one_script_that_marks_each_answer() -> None:
    assert f"{MARK}chrony" in ask_all()
    assert chrony.ASK in ask_all()
