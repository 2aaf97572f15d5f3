"""A small, strict reader of the YAML that programs write into kubeconfigs; whatever else is refused with its line.

Kubernetes' own tools, k3s and RKE2 write block style: mappings, lists, and scalars on one line. That is read as YAML
1.1 has it, or not at all: a file that is read otherwise than kubectl reads it would be worse than one that is refused.
"""

import json
import re
from typing import NamedTuple

DEEPEST = 16
KEY = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*):(?: +(.*))?")
PLAIN = re.compile(r"[A-Za-z0-9/_].*")
NO_TEXT = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null)|[0-9][0-9a-fx_:.+-]*|\d{4}-\d\d?-\d\d?([Tt ].*)?", re.IGNORECASE
)
"""What YAML 1.1 takes for something else than a text: booleans, nothing, numbers, dates."""
QUOTED = {"'": re.compile(r"(?:[^']|'')*"), '"': re.compile(r'(?:[^"\\]|\\["\\])*')}
"""What may be between two quotes."""
CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
EMPTY: dict[str, object] = {"{}": {}, "[]": []}


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def parse(text: str) -> object:
    """Return what a kubeconfig says: JSON, or YAML in block style. Raises ValueError, with the line, for all else."""
    if text.lstrip().startswith("{"):
        return json.loads(text, object_pairs_hook=_once)
    lines = [line for number, raw in enumerate(text.split("\n"), 1) if (line := _line(number, raw))]
    if lines and lines[0].text == "---" and lines[0].indent == 0:
        del lines[0]
    if not lines:
        return None
    found, rest = _block(lines, 0, lines[0].indent, 0)
    if rest < len(lines):
        raise _refusal(lines[rest], "its indentation fits nothing before it")
    return found


def _line(number: int, raw: str) -> _Line | None:
    """Return a line that says something; None for an empty one and a comment."""
    text = raw.strip(" ")
    if not text or text.startswith("#"):
        return None
    line = _Line(number, len(raw) - len(raw.lstrip(" ")), text)
    if not text.isprintable():
        raise _refusal(line, "a tab or another character that is not printed")
    return line


def _block(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[object, int]:
    """Return the mapping or list that begins at a line, and where it ends."""
    if depth > DEEPEST:
        raise _refusal(lines[at], f"more than {DEEPEST} levels")
    if _is_item(lines[at]):
        return _items(lines, at, indent, depth)
    found: dict[str, object] = {}
    while at < len(lines) and lines[at].indent == indent and not _is_item(lines[at]):
        line = lines[at]
        if not (parts := KEY.fullmatch(line.text)):
            raise _refusal(line, "neither `key: value` nor `- `")
        key, value = parts[1], parts[2] or ""
        if key in found or NO_TEXT.fullmatch(key):
            raise _refusal(line, f"the key {key!r} is there already, or none")
        below = lines[at + 1] if at + 1 < len(lines) else None
        if not value and below and (below.indent > indent or (below.indent == indent and _is_item(below))):
            found[key], at = _block(lines, at + 1, below.indent, depth + 1)
        else:
            found[key], at = _scalar(line, value), at + 1
    return found, at


def _items(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[object, int]:
    found: list[object] = []
    while at < len(lines) and lines[at].indent == indent and _is_item(lines[at]):
        line = lines[at]
        text = line.text[1:].lstrip(" ")
        if KEY.fullmatch(text):
            inner = indent + len(line.text) - len(text)
            lines[at] = _Line(line.number, inner, text)
            item, at = _block(lines, at, inner, depth + 1)
        else:
            item, at = _scalar(line, text), at + 1
        found.append(item)
    return found, at


def _is_item(line: _Line) -> bool:
    return line.text.startswith("- ")


def _scalar(line: _Line, text: str) -> object:
    """Return a value that is on its line as a whole."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text in EMPTY:
        return type(EMPTY[text])()
    quote = text[0]
    if quote in "'\"":
        return _quoted(line, text, quote)
    if ": " in text or " #" in text or text.endswith(":") or not PLAIN.fullmatch(text):
        raise _refusal(line, "a value in a style that is not read here: quote it")
    if NO_TEXT.fullmatch(text):
        raise _refusal(line, "a number, a date or the like where a text is expected: quote it")
    return text


def _quoted(line: _Line, text: str, quote: str) -> str:
    inside = text[1:-1]
    if len(text) < 2 or text[-1] != quote or not QUOTED[quote].fullmatch(inside):
        raise _refusal(line, "a quoted text that goes on after its line, or has an escape that is not read here")
    if quote == "'":
        return inside.replace("''", "'")
    return re.sub(r'\\(["\\])', r"\1", inside)


def _refusal(line: _Line, why: str) -> ValueError:
    return ValueError(f"line {line.number}: {why}; JSON is read in any form")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
