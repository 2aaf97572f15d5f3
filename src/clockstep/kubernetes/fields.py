"""Fields of objects that an API server gives: of the kind that is expected, and bounded; else as if they were not."""

from collections.abc import Mapping
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.kubernetes.times import moment_ns

LONGEST, LONGEST_TEXT = 253, 1024
"""Characters of a name, and of a text that is one line."""
MOST = 200
"""How many conditions, labels, addresses and the like are read of an object."""


def mapping(found: object) -> Mapping[str, Any]:
    """Return a mapping; an empty one of what is none."""
    return found if isinstance(found, dict) else {}


def mappings(found: object) -> list[Mapping[str, Any]]:
    """Return the mappings in a list, as many as are read."""
    return [one for one in found[:MOST] if isinstance(one, dict)] if isinstance(found, list) else []


def text(found: object, longest: int = LONGEST) -> str:
    """Return a text, cut to this length; an empty one of what is none."""
    return found[:longest] if isinstance(found, str) else ""


def texts(found: object) -> tuple[str, ...]:
    """Return the texts in a list."""
    return tuple(text(one) for one in found[:MOST] if isinstance(one, str)) if isinstance(found, list) else ()


def labels(found: object) -> dict[str, str]:
    """Return texts by their keys."""
    return {text(key): text(value) for key, value in list(mapping(found).items())[:MOST]}


def moment(found: object) -> int | None:
    """Return a moment in nanoseconds since 1970; None of what is none."""
    return understood(lambda said: bounded(moment_ns(said)), found) if isinstance(found, str) else None
