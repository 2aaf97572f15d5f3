"""Time as people read and write it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.errors import UsageError
from clockstep.units import UNITS, parse_duration, show_bound, show_duration, show_offset


@pytest.mark.parametrize(
    ("value_ns", "error_ns", "shown"),
    [
        (-36_002_000_000, 4_000_000, "-36.002 s ± 4 ms"),
        (-3_600_002_000_000, 4_000_000, "-1 h 0 min 0.002 s ± 4 ms"),
        (93_784_500_000_000, 200_000_000, "+1 d 2 h 3 min 4.5 s ± 200 ms"),
        (-1_168_695_983_313_625_000, 800_000, "-13526 d 13 h 46 min 23.3136 s ± 900 µs"),
        (412_300, 320_000, "+400 µs ± 400 µs"),
        (-160_000_000, 400_000, "-160.0 ms ± 400 µs"),
        (0, 10_000_000, "+0 ms ± 10 ms"),
        (5, 0, "+5 ns ± 0 ns"),
        (1_500_000_000, 2_000_000_000, "+2 s ± 3 s"),
    ],
)
def test_an_offset_prints_with_its_bound(value_ns: int, error_ns: int, shown: str) -> None:
    assert show_offset(value_ns, error_ns) == shown


@given(st.integers(-(10**18), 10**18), st.integers(0, 10**15))
def test_the_printed_interval_contains_the_offset(value_ns: int, error_ns: int) -> None:
    value, bound = (_read(part) for part in show_offset(value_ns, error_ns).split(" ± "))
    assert value - bound <= value_ns - error_ns
    assert value_ns + error_ns <= value + bound


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("1d", 86_400 * 10**9), ("90 s", 90 * 10**9), ("250ms", 250 * 10**6)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


def test_durations_may_have_parts_and_fractions() -> None:
    assert parse_duration("1h 30min") == parse_duration("1.5 h") == 5400 * 10**9


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 parsecs", "1h nonsense", "1e3s", "1,5 s"])
def test_anything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert "250ms" in caught.value.hint


@pytest.mark.parametrize(
    ("duration_ns", "shown"),
    [
        (10_000_000, "10 ms"),
        (310_000_000, "310 ms"),
        (4_730_000_000, "4.7 s"),
        (60 * 10**9, "1 min"),
        (7_500 * 10**9, "2 h 5 min"),
        (86_400 * 10**9, "1 d"),
        (999, "999 ns"),
        (0, "0 ns"),
    ],
)
def test_a_duration_prints_in_units_that_fit(duration_ns: int, shown: str) -> None:
    assert show_duration(duration_ns) == shown


def test_a_bound_is_rounded_up() -> None:
    assert show_bound(16_000_001) == "± 20 ms"


def _read(text: str) -> int:
    """Read what was printed, part by part, without rounding."""
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"(\d+)(?:\.(\d+))? (\S+)", text)
    assert " ".join(
        f"{whole}{'.' if fraction else ''}{fraction} {unit}" for whole, fraction, unit in parts
    ) == text.lstrip("+-")
    magnitude = sum(int(whole + fraction) * UNITS[unit] // int(10 ** len(fraction)) for whole, fraction, unit in parts)
    return sign * magnitude
