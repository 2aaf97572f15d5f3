"""Printing and parsing time: nowhere else turns nanoseconds into text or text into nanoseconds.

Only integers are used, so that a year and a nanosecond go through the same code without losing a digit.
"""

import re
from datetime import UTC, datetime

from clockstep.errors import UsageError

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

UNITS = {
    "ns": 1,
    "us": MICROSECOND_NS,
    "µs": MICROSECOND_NS,
    "ms": MILLISECOND_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "min": MINUTE_NS,
    "h": HOUR_NS,
    "d": DAY_NS,
}
SHOWN = (("s", SECOND_NS), ("ms", MILLISECOND_NS), ("µs", MICROSECOND_NS), ("ns", 1))
LONG_SHOWN = (("d", DAY_NS, HOUR_NS, "h"), ("h", HOUR_NS, MINUTE_NS, "min"), ("min", MINUTE_NS, SECOND_NS, "s"))
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*")


def show_offset(value_ns: int, error_ns: int) -> str:
    """Print an offset with its bound, as `-36.002 s ± 4 ms`, or `-2 d 3 h 0 min 36.002 s ± 4 ms`.

    The printed interval always contains the given one: what rounding moves the value by is added to the bound, and
    the bound, of one digit, is rounded up.
    """
    place = _place(max(error_ns, 1))
    bound = _round_up(error_ns + abs(value_ns - _round(value_ns, place)), place)
    return f"{show_shift(value_ns, error_ns)} ± {_decimal(bound, place)}"


def show_shift(by_ns: int, error_ns: int) -> str:
    """Print what was added to a clock as exactly as the offset it answers, which has this error: `+36.002 s`."""
    place = _place(max(error_ns, 1))
    rounded = _round(by_ns, place)
    return f"{'-' if rounded < 0 else '+'}{_in_parts(abs(rounded), place)}"


def show_bound(error_ns: int) -> str:
    """Print a bound alone, rounded up to one digit, as `± 4 ms`."""
    place = _place(max(error_ns, 1))
    return f"± {_decimal(_round_up(error_ns, place), place)}"


def show_duration(duration_ns: int) -> str:
    """Print how long something took or is old, which is not negative: `310 ms`, `4.7 s`, `2 h 5 min`."""
    for unit, size, smaller, below in LONG_SHOWN:
        if duration_ns >= size:
            whole, rest = divmod(duration_ns, size)
            return f"{whole} {unit}" + (f" {rest // smaller} {below}" if rest >= smaller else "")
    name, size = next((shown for shown in SHOWN if duration_ns >= shown[1]), SHOWN[-1])
    tenths = duration_ns * 10 // size
    return f"{tenths // 10} {name}" if tenths >= 100 or tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} {name}"


def show_moment(at_ns: int) -> str:
    """Print a wall clock time, in nanoseconds since 1970, as UTC to the second: `2026-11-25 13:30:05 UTC`."""
    return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


def show_tick(at_ns: int, apart_ns: int, *, dated: bool) -> str:
    """Print a mark of a time axis whose marks are so far apart: `Nov 2026`, `30 Nov`, `17:50`, `17:52:40`, in UTC.

    `dated` is whether a time of day needs its day before it, as where an axis is longer than one.
    """
    form = "%H:%M:%S" if apart_ns < MINUTE_NS else "%H:%M"
    if apart_ns >= DAY_NS:
        form = "%b %Y" if apart_ns >= 30 * DAY_NS else "%d %b"
    elif dated:
        form = f"%d %b {form}"
    return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):{form}}".removeprefix("0")


def parse_duration(text: str) -> int:
    """Return the nanoseconds that `text` means: `1d`, `90 s`, `250ms`, `1h 30min`, `1.5 h`.

    Raises UsageError for anything else; a bare number has no unit and is refused.
    """
    whole = text.strip().lower()
    parts = PART.findall(whole)
    if not parts or PART.sub("", whole) or any(unit not in UNITS for _, unit in parts):
        raise UsageError(f"{text!r} is not a duration", "write a number and a unit: 250ms, 90 s, 5 min, 2h, 1d")
    digits = max(len(number.partition(".")[2]) for number, _ in parts)
    return sum(_scaled(number, digits) * UNITS[unit] for number, unit in parts) // int(10**digits)


def _scaled(number: str, digits: int) -> int:
    """Return a decimal number times 10 to the power of `digits`, of which it has no more behind its point."""
    whole, _, part = number.partition(".")
    return int(whole + part.ljust(digits, "0"))


def _in_parts(value_ns: int, place: int) -> str:
    """Print `value_ns`, a multiple of `place`, with days, hours and minutes apart where it is an hour or more."""
    if value_ns < HOUR_NS:
        return _decimal(value_ns, place)
    parts: list[str] = []
    rest = value_ns
    for unit, size in (("d", DAY_NS), ("h", HOUR_NS), ("min", MINUTE_NS)):
        whole, rest = divmod(rest, size)
        if whole or parts:
            parts.append(f"{whole} {unit}")
    digits = max(0, len(str(SECOND_NS)) - len(str(place)))
    seconds, below = divmod(rest, SECOND_NS)
    return " ".join([*parts, f"{seconds}.{below * 10**digits // SECOND_NS:0{digits}d} s" if digits else f"{seconds} s"])


def _place(error_ns: int) -> int:
    return int(10 ** (len(str(error_ns)) - 1))


def _round(value_ns: int, place: int) -> int:
    half = value_ns + place // 2
    return int(half - half % place)


def _round_up(value_ns: int, place: int) -> int:
    return -(-value_ns // place) * place


def _decimal(value_ns: int, place: int) -> str:
    """Print `value_ns`, a multiple of `place`, in the largest unit that it fills, with the digits `place` allows."""
    name, size = next(shown for shown in SHOWN if max(value_ns, place) >= shown[1])
    digits = max(0, len(str(size)) - len(str(place)))
    whole, rest = divmod(value_ns, size)
    return f"{whole}.{rest * 10**digits // size:0{digits}d} {name}" if digits else f"{whole} {name}"
