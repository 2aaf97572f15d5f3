"""What a wrong time broke, as parts of a page: since when, what healed it, when that was proven, and what is left."""

from collections.abc import Iterator, Sequence

from clockstep.core.incidents import Damage, Left
from clockstep.model import AftermathReport, Healed, KubeRef, Looked, Repair, State
from clockstep.render.clocks import count
from clockstep.render.markup import Html, joined, tag
from clockstep.render.repairs import OUTCOMES
from clockstep.units import show_duration, show_moment

MOST_LEFT, MOST_BROKEN = 60, 100
"""How many things to do, and things that were broken, are listed."""
DOCS = "docs/aftermath.md says what each code means."


def todo(left: Sequence[Left], aftermath: AftermathReport | None) -> Html:
    """Return what is left to do, in the order in which one does it."""
    if not left:
        looked = " The last look found nothing broken." if aftermath else ""
        return tag("section", tag("h2", "What is left to do"), tag("p", f"Nothing.{looked}", class_="done"))
    items = (
        tag(
            "li",
            tag("strong", one.on),
            tag("span", one.text, class_="text"),
            tag("span", one.remedy, class_="remedy") if one.remedy else Html(""),
            tag("code", one.command) if one.command else Html(""),
        )
        for one in left[:MOST_LEFT]
    )
    return tag(
        "section",
        tag("h2", "What is left to do"),
        tag("ol", *items, class_="todo"),
        _more(len(left) - MOST_LEFT),
    )


def broken(damages: Sequence[Damage], aftermath: AftermathReport | None) -> Html:
    """Return what was broken, and what became of it."""
    if not damages and aftermath is None:
        return Html("")
    quiet = tag("p", "Nothing broken was found.", class_="quiet")
    return tag(
        "section",
        tag("h2", "What broke"),
        joined(*(_damage(one) for one in damages[:MOST_BROKEN])) if damages else quiet,
        _more(len(damages) - MOST_BROKEN),
        _others(aftermath.checks) if aftermath else Html(""),
        tag("p", DOCS, class_="quiet"),
    )


def _more(number: int) -> Html:
    return tag("p", f"{number:,} more are not listed; -o json lists all.", class_="quiet") if number > 0 else Html("")


def _damage(one: Damage) -> Html:
    found = one.broken
    facts = (
        ("evidence", Html("") if not found.evidence else joined(found.evidence)),
        ("smallest cure", tag("code", found.cure) if found.cure else Html("")),
        ("its risk", joined(found.risk)),
        ("why", joined(one.repair.why if one.repair else "")),
    )
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value)
    return tag(
        "article",
        tag("h3", tag("span", found.code, class_="code"), str(found.on), tag("span", _word(one), class_="word")),
        tag("p", found.text),
        tag("ol", *(tag("li", tag("b", what), tag("time", when)) for what, when in _course(one)), class_="course"),
        tag("dl", *rows, class_="numbers"),
        class_="damage left" if one.is_left else "damage",
    )


def _word(one: Damage) -> str:
    if one.repair is None:
        return "broken"
    if one.repair.outcome in {Healed.HEALED, Healed.NOT_HEALED} or one.is_left:
        return OUTCOMES[one.repair.outcome]
    return "no longer found"


def _course(one: Damage) -> Iterator[tuple[str, str]]:
    """Give how it went: since when it was broken, what was done about it, and when that was proven."""
    since_ns = one.broken.since_ns
    yield "broken since", show_moment(since_ns) if since_ns is not None else "not known"
    if one.repair is None:
        return
    if one.repair.act and one.repair.at_ns is not None:
        yield f"{one.repair.act.deed.value} {one.repair.act.on}", show_moment(one.repair.at_ns)
    if one.repair.outcome is Healed.HEALED and one.repair.proven_ns is not None:
        yield "healed, proven by a second look", f"{show_moment(one.repair.proven_ns)}{_took(one.repair)}"


def _took(repair: Repair) -> str:
    took_ns = (repair.proven_ns or 0) - (repair.at_ns or 0)
    return f", after {show_duration(took_ns)}" if repair.at_ns and took_ns > 0 else ""


def _others(checks: Sequence[Looked]) -> Html:
    """Say which checks found nothing, and which had nothing to look at."""
    lines = [
        (title, [f"{one.code} ({one.title})" for one in checks if one.state is state])
        for title, state in (("Nothing found", State.CLEAN), ("Not in this cluster", State.ABSENT))
    ]
    said = (tag("p", tag("b", f"{title}: "), ", ".join(found), class_="quiet") for title, found in lines if found)
    return joined(*said)


def headline(damages: Sequence[Damage], aftermath: AftermathReport | None) -> str:
    """Say in a sentence what became of what was broken; nothing if nobody looked."""
    open_ones, things = sum(one.is_left for one in damages), len(_things(damages))
    if open_ones and aftermath is None:
        return f"By the history, {count(open_ones, 'thing that broke is', 'things that broke are')} not healed."
    if open_ones:
        return f"{count(open_ones, 'thing is', 'things are')} still broken."
    if damages:
        return f"{count(things, 'thing that broke is', 'things that broke are')} healed."
    if aftermath is None:
        return ""
    unlooked = any(one.state is State.NOT_LOOKED for one in aftermath.checks)
    return "Nothing broken was found, but not everything could be looked at." if unlooked else "Nothing is broken."


def figures(damages: Sequence[Damage]) -> Iterator[tuple[str, str, str]]:
    """Give the number of things that are healed, if anything was broken."""
    if things := _things(damages):
        left = sum(one.is_left for one in damages)
        yield "Healed", f"{len(things) - left:,} of {len(things):,}", f"{left:,} left"


def _things(damages: Sequence[Damage]) -> set[tuple[str, KubeRef, str]]:
    """Return what was broken, each thing once, however often it was tried to heal it."""
    return {one.broken.key for one in damages}
