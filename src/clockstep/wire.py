"""JSON on disk, in snapshots and from guest agents: records written, and read back from where others may write."""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

from clockstep.core.foreign import bounded
from clockstep.model import Action, Resync, Step

T = TypeVar("T")
ACTIONS: dict[str, type[Action]] = {"step": Step, "resync": Resync}


def encoded(record: object) -> bytes:
    """Return a record as JSON on one line."""
    return msgspec.json.encode(record)


def decoded(text: bytes | str, kind: type[T]) -> T | None:
    """Return what JSON is a record of this kind, all its numbers within 64 bits; None of any other."""
    try:
        found = msgspec.json.decode(text, type=kind, dec_hook=_action)
        _refuse_unbounded(found)
    except (msgspec.MsgspecError, RecursionError, ValueError, ArithmeticError):
        return None
    return found


def _action(kind: type, found: Any) -> Action:
    """Return an action, which is one of several records: msgspec knows no union of dataclasses."""
    if kind is not Action or not isinstance(found, dict) or found.get("type") not in ACTIONS:
        raise ValueError("not an action")
    return msgspec.convert(found, ACTIONS[found["type"]])


def _refuse_unbounded(found: object) -> None:
    """Raise ValueError for a number beyond 64 bits in a record, or in records within it."""
    if isinstance(found, int):
        bounded(found)
    elif is_dataclass(found) and not isinstance(found, type):
        for one in fields(found):
            _refuse_unbounded(getattr(found, one.name))
    elif isinstance(found, tuple | list):
        for each in found:
            _refuse_unbounded(each)
    elif isinstance(found, dict):
        for each in found.values():
            _refuse_unbounded(each)
