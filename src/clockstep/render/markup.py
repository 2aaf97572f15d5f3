"""HTML that cannot be broken by what is put in it: every text is escaped here, by the one function that makes elements.

A template language would do the same, and be the sixth thing that this product depends on, for one page.
"""

from html import escape

from clockstep.errors import visible

LONGEST = 2000
"""How much of a text is shown: names and evidence are somebody else's."""
EMPTY = frozenset({"circle", "line", "meta", "path", "rect"})
"""Elements without an end tag, or, in SVG, without content."""


class Html(str):
    """Text that is HTML already, because `tag` has made it."""

    __slots__ = ()


def shown(text: str) -> Html:
    """Return a text as HTML that shows just that text; what is not printable is spelled out."""
    return Html(escape(visible(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")))


def joined(*parts: str) -> Html:
    """Return parts one after the other; whatever is not HTML yet is escaped."""
    return Html("".join(part if isinstance(part, Html) else shown(part) for part in parts))


def tag(name: str, /, *inside: str, **attributes: str | float) -> Html:
    """Return an element. `class_` is the attribute `class`, and `_` in a name is `-`; an empty value is left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{shown(str(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    if name in EMPTY:
        return Html(f"<{name}{said}>" if name == "meta" else f"<{name}{said}/>")
    return Html(f"<{name}{said}>{joined(*inside)}</{name}>")
