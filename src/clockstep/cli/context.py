"""What was said on the command line, wherever it was said: before the command, between its words, or after them."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

FORMATS = ("table", "wide", "json", "name")
OUTPUT = re.compile(r"-[hqvy]*o=?(?P<short>.*)|--output(=(?P<long>.*))?")
"""The option for the form, as it is on a command line."""
COLORS = ("auto", "always", "never")


PLUGIN = "kubectl-clockstep"
"""The same program, by the name under which kubectl finds it as one of its plugins."""


def called() -> str:
    """Return how this program was called: `clockstep`, or `kubectl clockstep`."""
    return PLUGIN.replace("-", " ") if Path(sys.argv[0]).name == PLUGIN else "clockstep"


class Style(NamedTuple):
    """How a page is printed."""

    headers: bool = True
    color: str = "auto"


def option(context: click.Context, name: str) -> Any:
    """Return a shared option; what is said nearest to the command's own words counts."""
    at: click.Context | None = context
    while at is not None:
        if value := at.params.get(name):
            return value
        at = at.parent
    return None


def output(context: click.Context) -> str:
    """Return which form is printed, of `FORMATS`."""
    return str(option(context, "output") or FORMATS[0])


def as_json(context: click.Context) -> bool:
    """Whether records are printed, and not pages."""
    return output(context) == "json"


def style(context: click.Context) -> Style:
    """Return how pages are printed."""
    return Style(not option(context, "no_headers"), str(option(context, "color") or COLORS[0]))


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, also one that makes no sense otherwise."""
    wanted = ""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--":
            break
        if found := OUTPUT.fullmatch(word):
            wanted = found["short"] or found["long"] or following
    return wanted == "json"
