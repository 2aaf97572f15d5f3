"""What happened to clocks, as parts of a page: a picture of each incident with its numbers, and a table of the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from clockstep.core.incidents import begin_ns, by_node, corrected, far_ns, farthest, in_order, incidents, unverified
from clockstep.model import Entry, Verdict
from clockstep.render.markup import Html, joined, tag
from clockstep.render.text import actions_text, claim_text, freeze_text, offset_text
from clockstep.render.timeline import CHECK, CROSS, MOST, axis_of, plot, reach_of, time_axis
from clockstep.render.words import cause_text
from clockstep.units import show_duration, show_moment

MOST_INCIDENTS, MOST_LANES, MOST_NUMBERS, MOST_ROWS = 6, 24, 3, 200
"""How many incidents are drawn, nodes in each, corrections of a node said in full there, and rows of the table."""
FEW = 3
ABOUT = (
    "An offset is the node’s clock minus the clock of the host that ran clockstep; negative is behind. "
    "-18.707 s ± 2 ms says that the true offset is between -18.709 s and -18.705 s. "
    "A bound that is smaller than its mark is visible in the numbers only. "
    "The vertical scale is logarithmic, so that milliseconds and days are both seen."
)
HEADER = ("When", "Node", "Cause", "Before", "Done", "After", "Verdict")


def count(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def clocks(entries: Sequence[Entry]) -> Html:
    """Return the part of a page about clocks."""
    happened = incidents(entries)
    if not happened:
        return tag("section", tag("h2", "Clocks"), tag("p", "No corrections are recorded.", class_="quiet"))
    drawn = happened[-MOST_INCIDENTS:]
    earlier = [entry for one in happened[:-MOST_INCIDENTS] for entry in one]
    return tag(
        "section",
        tag("h2", "Clocks"),
        _legend(),
        _overview(entries, len(happened)) if len(happened) > 1 else Html(""),
        *(_incident(one) for one in reversed(drawn)),
        _table(earlier) if earlier else Html(""),
    )


def _legend() -> Html:
    """Explain the marks, and above all what an error bound is."""
    before = tag("circle", class_="before", cx=14, cy=9, r=4)
    wrong = tag("line", class_="off", x1=2, x2=26, y1=9, y2=9)
    bound = tag("path", class_="bound", d="M8 2H20M14 2V16M8 16H20")
    step = tag("line", class_="step", x1=14, x2=14, y1=1, y2=17)
    place = "translate(14 9)"
    keys = (
        (joined(wrong, before), "offset as first measured, and for how long it lasted"),
        (step, "the clock was stepped"),
        (tag("circle", class_="after", cx=14, cy=9, r=3.5), "offset after, within tolerance"),
        (tag("path", class_="check", d=CHECK, transform=place), "verified: several readings in a row are good"),
        (tag("path", class_="bad", d=CROSS, transform=place), "not verified"),
        (bound, "error bound: the true offset is within this bar"),
    )
    items = (
        tag("li", tag("svg", key, width=28, height=18, aria_hidden="true"), tag("span", text)) for key, text in keys
    )
    return joined(
        tag("ul", *items, class_="legend"),
        tag(
            "p",
            ABOUT,
            class_="quiet",
        ),
    )


def _overview(entries: Sequence[Entry], number: int) -> Html:
    """Draw all of it over one axis."""
    title = f"{count(number, 'incident')} in all"
    return tag("article", tag("h3", title), _chart(entries, _in_short), class_="incident")


def _in_short(entries: Sequence[Entry]) -> Html:
    far = farthest(entries)
    worst = offset_text(far.episode.before) if far else "not measured"
    bad = sum(one.episode.verdict is not Verdict.GOOD for one in entries)
    drawn = (("drawn", f"the {MOST} farthest off"),) if len(entries) > MOST else ()
    return _numbers(
        ("corrections", f"{len(entries):,}"),
        ("farthest off", worst),
        ("not verified", f"{bad:,}" if bad else ""),
        *drawn,
    )


def _incident(entries: Sequence[Entry]) -> Html:
    """Draw one incident: when, why, and a lane for each node."""
    causes = list(dict.fromkeys(cause_text(one.episode.cause) for one in entries))
    more = f", and {len(causes) - FEW} other causes" if len(causes) > FEW else ""
    by = ", ".join(dict.fromkeys(one.by for one in entries))
    when = show_moment(begin_ns(entries[0].episode))
    return tag(
        "article",
        tag("h3", tag("time", when), tag("span", f"{', '.join(causes[:FEW])}{more}", class_="why")),
        tag("p", f"by clockstep {by}, {count(len(by_node(entries)), 'node')}", class_="quiet"),
        _chart(entries, _in_full),
        class_="incident",
    )


def _chart(entries: Sequence[Entry], numbers: Callable[[Sequence[Entry]], Html]) -> Html:
    """Draw a lane for each node, of those that matter most if there are too many."""
    lanes = by_node(entries)
    chosen = sorted(lanes, key=lambda node: _weight(lanes[node]), reverse=True)[:MOST_LANES]
    episodes = [one.episode for node in chosen for one in lanes[node]]
    axis, reach = axis_of(episodes), reach_of(episodes)
    rows = (
        tag("div", tag("h4", node), plot(lanes[node], axis, reach), numbers(lanes[node]), class_="lane")
        for node in sorted(chosen, key=in_order)
    )
    others = {node: found for node, found in lanes.items() if node not in chosen}
    return joined(tag("div", *rows, tag("div", time_axis(axis), class_="lane axis"), class_="chart"), _others(others))


def _others(lanes: Mapping[str, Sequence[Entry]]) -> Html:
    """Say how many nodes are not drawn, and whether that hides anything."""
    if not lanes:
        return Html("")
    bad = sum(bool(unverified(found)) for found in lanes.values())
    said = f"{bad:,} of them not verified" if bad else "all verified"
    return tag("p", f"Not drawn: {count(len(lanes), 'more node')}, {said}.", class_="quiet")


def _weight(entries: Sequence[Entry]) -> tuple[bool, int]:
    """Return how much a node matters: that its clock is not verified comes first, then how far off it was."""
    return bool(unverified(entries)), max(far_ns(one.episode.before) for one in entries)


def _in_full(entries: Sequence[Entry]) -> Html:
    """Say the numbers of each correction, the newest if there are too many."""
    shown = entries[-MOST_NUMBERS:]
    parts = [joined(_when(one, len(entries) > 1), _numbers(*_facts(one))) for one in shown]
    earlier = len(entries) - len(shown)
    if earlier:
        parts.insert(0, tag("p", f"{count(earlier, 'earlier correction')}", class_="quiet"))
    return tag("div", *parts, class_="facts")


def _when(entry: Entry, several: bool) -> Html:
    return tag("p", show_moment(begin_ns(entry.episode)), class_="when") if several else Html("")


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    one = entry.episode
    verified = one.verdict is Verdict.GOOD and one.proven_ns is not None
    yield "before", offset_text(one.before)
    yield "done", actions_text(one, one.actions) if one.before or one.actions else ""
    yield "after", offset_text(one.after) if one.after else ""
    yield "corrected in", _lasted(one.wrong_for_ns)
    yield "verified in", _lasted(one.proven_ns)
    yield "verdict", "" if verified else one.verdict.value
    claimed = claim_text(one)
    yield "daemon says", "" if claimed == "-" else claimed
    yield "workloads", freeze_text(entry.freeze) if entry.freeze else ""
    for finding in one.findings:
        if finding.remedy or finding.verdict is not Verdict.GOOD:
            yield "note", f"{finding.text} ({finding.remedy})" if finding.remedy else finding.text


def _lasted(duration_ns: int | None) -> str:
    return show_duration(duration_ns) if duration_ns and duration_ns > 0 else ""


def _numbers(*facts: tuple[str, str]) -> Html:
    """Return facts as names and values; one without a value is left out."""
    return tag(
        "dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value), class_="numbers"
    )


def _table(entries: Sequence[Entry]) -> Html:
    """List what is not drawn, newest first."""
    shown = sorted(entries, key=lambda one: begin_ns(one.episode), reverse=True)[:MOST_ROWS]
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in HEADER)))
    body = tag("tbody", *(_row(one) for one in shown))
    left = len(entries) - len(shown)
    more = f"{count(left, 'correction')} before that: clockstep history lists all." if left else ""
    return tag(
        "article",
        tag("h3", "Before that"),
        tag("table", head, body),
        tag("p", more, class_="quiet") if more else Html(""),
        class_="incident",
    )


def _row(entry: Entry) -> Html:
    one = entry.episode
    cells = (
        show_moment(one.started_at_ns),
        one.node,
        cause_text(one.cause),
        offset_text(one.before),
        actions_text(one, one.actions),
        offset_text(one.after),
        one.verdict.value,
    )
    return tag("tr", *(tag("td", cell, data_label=name) for name, cell in zip(HEADER, cells, strict=True)))


def headline(entries: Sequence[Entry]) -> str:
    """Say in a sentence what became of the clocks."""
    nodes, bad, stepped = by_node(entries), unverified(entries), corrected(entries)
    if not nodes:
        return "No corrections of clocks are recorded."
    if bad:
        return f"{len(bad):,} of {count(len(nodes), 'clock')} {'is' if len(bad) == 1 else 'are'} not verified."
    if not stepped:
        return f"{count(len(nodes), 'clock was', 'clocks were')} verified; none needed a correction."
    return f"{count(len(stepped), 'clock was', 'clocks were')} corrected and verified."


def figures(entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """Give the numbers that one asks for first, each with what it is and whose."""
    nodes = by_node(entries)
    if far := farthest(entries):
        yield "Farthest off", offset_text(far.episode.before), far.episode.node
    wrong = [one.episode for one in entries if one.episode.wrong_for_ns and one.episode.wrong_for_ns > 0]
    if longest := max(wrong, key=lambda one: one.wrong_for_ns or 0, default=None):
        yield "Corrected within", show_duration(longest.wrong_for_ns or 0), f"at most, on {longest.node}"
    if nodes:
        verified = len(nodes) - len(unverified(entries))
        yield "Clocks verified", f"{verified:,} of {len(nodes):,}", count(len(entries), "correction")
