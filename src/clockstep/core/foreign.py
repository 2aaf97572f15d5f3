"""The edge to whatever is not ours: answers of nodes, hypervisors, other processes and other people's files.

A parser of such text runs inside `understood`, so that no answer ends a run; what it returns is bounded. Text is made
visible where it leaves for a terminal, a log or a file (`errors.visible`).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")
MOST = 2**63
"""No number of an answer is taken that does not fit into 64 bits: 292 years, in nanoseconds."""


def understood(parse: Callable[[str], T | None], text: str) -> T | None:
    """Return what a parser makes of a text; None of what it cannot read, whatever is wrong with that."""
    try:
        return parse(text)
    except (ArithmeticError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def bounded(number: int | Decimal) -> int:
    """Return a number that fits into 64 bits as a whole one. Raises ValueError or ArithmeticError for any other."""
    if not -MOST < number < MOST:  # before it is made whole: 1e999999999 has as many digits
        raise ValueError("a number beyond 64 bits")
    return int(number)
