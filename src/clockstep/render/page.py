"""One page for the person who asks what happened: HTML that needs no other file, no network and no script."""

from collections.abc import Iterable
from pathlib import Path

from clockstep import __version__
from clockstep.core.incidents import begin_ns, damages, end_ns, left
from clockstep.model import AftermathReport, History
from clockstep.render import clocks, damage
from clockstep.render.markup import Html, joined, shown, tag
from clockstep.units import show_moment

MARK = '<meta name="generator" content="clockstep'
"""How a page is known to be one of ours."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may load for it: nothing."""
NOTE = (
    "All times are UTC, by the clock of the host that ran clockstep. A correction’s durations run from its cause, "
    "if the moment of that is known, else from the first reading."
)
STYLE = Html(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))


def page(history: History, aftermath: AftermathReport | None = None, *, at_ns: int) -> str:
    """Return the page about a history, and about what was broken if somebody looked; `at_ns` is now, since 1970."""
    entries = sorted(history.entries, key=lambda one: begin_ns(one.episode))
    damaged = damages(history.repairs, aftermath)
    to_do = left(entries, damaged, aftermath.checks if aftermath else ())
    spoken = f"{clocks.headline(entries)} {damage.headline(damaged, aftermath)}".strip()
    body = tag(
        "main",
        tag(
            "header",
            tag("p", "clockstep report", class_="kicker"),
            tag("h1", spoken),
            tag("p", _period(history, at_ns), class_="quiet"),
            _figures([*clocks.figures(entries), *damage.figures(damaged)]),
        ),
        damage.todo(to_do, aftermath),
        clocks.clocks(entries),
        damage.broken(damaged, aftermath),
        tag("footer", *(tag("p", text) for text in _notes(history, at_ns))),
    )
    return f"<!doctype html>\n{tag('html', _head(spoken), tag('body', body), lang='en')}\n"


def _head(title: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'{MARK} {shown(__version__)}">'),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"clockstep: {title}"),
        Html(f"<style>\n{STYLE}</style>"),
    )


def _period(history: History, at_ns: int) -> str:
    if not history.entries:
        return f"Made {show_moment(at_ns)}."
    first_ns = min(begin_ns(one.episode) for one in history.entries)
    last_ns = max(end_ns(one.episode) for one in history.entries)
    return f"{show_moment(first_ns)} to {show_moment(last_ns)}. Made {show_moment(at_ns)}."


def _figures(figures: list[tuple[str, str, str]]) -> Html:
    if not figures:
        return Html("")
    parts = (
        tag("div", tag("dt", name), tag("dd", value), tag("dd", whose, class_="whose"))
        for name, value, whose in figures
    )
    return tag("dl", joined(*parts), class_="figures")


def _notes(history: History, at_ns: int) -> Iterable[str]:
    yield NOTE
    if history.skipped:
        yield f"Damaged lines of the history that were skipped: {history.skipped:,}."
    yield f"clockstep {__version__}, {show_moment(at_ns)}. This page loads nothing and runs no script."
