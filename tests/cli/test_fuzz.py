"""A moment of bench/fuzz.py: each parser of foreign input, with what breaks parsers."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import fuzz

BREAKING = (
    *fuzz.SPECIAL,
    "[" * 100_000,
    '{"return": ' + "[" * 5000 + "]" * 5000 + "}",
    "9" * 5000,
    "\x1b[31m\u202e",
)


@pytest.mark.parametrize("parser", fuzz.PARSERS, ids=lambda parser: parser.name)
def test_whatever_a_parser_is_given_its_answer_is_one(parser: "fuzz.Parser") -> None:
    pieces = [(text, fuzz.PIECES.findall(text)) for text in parser.seeds]
    for breaking in BREAKING:
        for text, parts in pieces:
            places = range(0, len(parts), max(1, len(parts) // 12))
            for broken in (breaking, text + breaking, *(_replaced(parts, place, breaking) for place in places)):
                assert fuzz.fault(parser, broken) == "", broken[:300]


def _replaced(parts: list[str], place: int, breaking: str) -> str:
    return "".join([*parts[:place], breaking, *parts[place + 1 :]])


@pytest.mark.parametrize("parser", fuzz.PARSERS, ids=lambda parser: parser.name)
def test_a_true_answer_is_read_so_that_more_than_the_way_to_an_error_is_tried(parser: "fuzz.Parser") -> None:
    assert parser.read(parser.seeds[0]) is not None


def test_a_parser_that_raises_is_found() -> None:
    broken = fuzz.Parser("broken", int, ("1 2 3",))
    _, faults = fuzz.fuzz(broken, 5.0, 1)
    assert faults


def test_the_script_says_how_many_inputs_it_was(tmp_path: Path) -> None:
    command = [sys.executable, fuzz.__file__, "--seconds", "1", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "goal faults: 0 (at most 0): met" in done.stdout
