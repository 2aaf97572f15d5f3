"""Selectors of Kubernetes' labels, as kubectl's `--selector` takes them. Pure.

The grammar is kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors: equality (`=`, `==`,
`!=`), sets (`in`, `notin`), whether there is a label (`KEY`, `!KEY`), and numbers (`>`, `<`); commas are "and".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from clockstep.errors import UsageError

KEY = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?P<key>{KEY})\s*(?P<operator>==?|!=)\s*(?P<value>{VALUE})",
        rf"(?P<key>{KEY})\s+(?P<operator>in|notin)\s*\((?P<values>\s*{VALUE}\s*(?:,\s*{VALUE}\s*)*)\)",
        rf"(?P<key>{KEY})\s*(?P<operator>[<>])\s*(?P<value>-?\d{{1,18}})",
        rf"(?P<operator>!?)\s*(?P<key>{KEY})",
    )
)
BETWEEN = re.compile(r",(?![^(]*\))")
"""A comma that is not in parentheses."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What is wanted of one label; `operator` is `in`, `notin`, `exists`, `!`, `<` or `>`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are as wanted. What has no such label is in no set, and so it is `notin` each."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
            return False
        (limit,) = map(int, self.values)
        return int(value) < limit if self.operator == "<" else int(value) > limit


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector, with its text."""

    text: str
    requirements: tuple[Requirement, ...]

    @property
    def pattern(self) -> str:
        """What stands for it among names of nodes, none of which is like that."""
        return f"--selector {self.text}"

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether what has these labels is meant."""
        return all(one.holds(labels) for one in self.requirements)


def parse_selector(text: str) -> Selector:
    """Return a selector. Raises UsageError for what kubectl would not take, and for an empty one, which means all."""
    return Selector(text, tuple(_requirement(part.strip(), text) for part in BETWEEN.split(text)))


def _requirement(part: str, text: str) -> Requirement:
    found = next(filter(None, (form.fullmatch(part) for form in FORMS)), None)
    if found is None:
        hint = "use KEY=VALUE, KEY!=VALUE, 'KEY in (A,B)', 'KEY notin (A,B)', KEY or '!KEY', with commas between"
        raise UsageError(f"{text!r} is no selector of labels: {part!r} makes no sense", hint)
    said = found.groupdict()
    values = said.get("values") or said.get("value") or ""
    operator = {"=": "in", "==": "in", "!=": "notin", "": "exists"}.get(said["operator"], said["operator"])
    wanted = (
        frozenset(one.strip() for one in values.split(",")) if operator not in {"exists", "!"} else frozenset[str]()
    )
    return Requirement(said["key"], operator, wanted)
