"""Tokens for programs, sentences for people: every token has its words, and a label never has any."""

import ast
import re
from enum import Enum
from pathlib import Path

import pytest

import clockstep
from clockstep.core.setup import SetupOutcome
from clockstep.model import Cause, Choice, ClusterOutcome, ControlPlane, Freshness, Outcome, Thaw, Verdict, What
from clockstep.render.words import CAUSES, WORDS, cause_text

OUTCOMES = [ClusterOutcome, ControlPlane, Freshness, Outcome, SetupOutcome, Thaw]
TOKEN = re.compile(r"[a-z]+(-[a-z]+)*")
NOT_CAUSES = {What.PAUSED, What.STOPPED}
"""What leaves a guest standing still, so that nothing is to be done about its clock yet."""


@pytest.mark.parametrize("kind", [Choice, *OUTCOMES, Verdict, What])
def test_what_json_says_is_a_token(kind: type[Enum]) -> None:
    assert [one.value for one in kind if not TOKEN.fullmatch(one.value)] == []


@pytest.mark.parametrize("kind", OUTCOMES)
def test_every_token_of_what_came_of_work_has_its_words(kind: type[Enum]) -> None:
    assert set(kind) <= WORDS.keys()


def test_every_cause_is_a_token_with_words() -> None:
    used = {one.value for one in What if one not in NOT_CAUSES} | set(named())
    assert used <= CAUSES.keys()
    assert all(TOKEN.fullmatch(kind) for kind in CAUSES)


def named() -> list[str]:
    """The kinds of causes that the source itself names."""
    trees = [ast.parse(file.read_text()) for file in Path(clockstep.__file__).parent.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    causes = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Cause"]
    return [str(one.args[0].value) for one in causes if isinstance(one.args[0], ast.Constant)]


def test_a_cause_says_which_snapshot_it_was() -> None:
    assert cause_text(Cause("reverted", detail="base")) == "reverted to a snapshot (base)"
    assert cause_text(Cause("booted")) == "booted"
