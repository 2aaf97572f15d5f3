"""How far off clocks were, over time, as inline SVG: a lane for each node, over one axis of time.

Horizontal places are percentages and vertical ones pixels, so that a picture is as wide as the page lets it be while
its text and its marks keep their size. The vertical scale is linear up to 0.1 ms and logarithmic beyond, because a day
and a millisecond belong into one picture.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import log10
from typing import NamedTuple

from clockstep.core.incidents import begin_ns, end_ns, far_ns
from clockstep.model import Entry, Episode, Offset, Step, Verdict
from clockstep.render.markup import Html, joined, tag
from clockstep.render.text import offset_text
from clockstep.units import (
    DAY_NS,
    HOUR_NS,
    MICROSECOND_NS,
    MILLISECOND_NS,
    MINUTE_NS,
    SECOND_NS,
    show_duration,
    show_moment,
    show_tick,
)

HEIGHT, TOP, BOTTOM = 104, 18, 8
"""Of a lane, in pixels, and what of it is left free above and below for marks."""
LEFT, WIDTH = 2.0, 94.0
"""Where an axis of time begins, and how long it is, in percent of a lane's width."""
KNEE_NS = 100 * MICROSECOND_NS
LEAST_NS = MILLISECOND_NS
"""What a lane shows at least, ahead and behind."""
ROOM = 15
"""How many pixels apart the lines of the scale are at least."""
OFFSETS_NS = (365 * DAY_NS, DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, 10 * MILLISECOND_NS)
SHORT_NS = 2 * MINUTE_NS
"""Up to this length, an axis counts from its beginning."""
TICKS = 5
APART_NS = (
    *(digit * 10**power for power in range(6, 11) for digit in (1, 2, 5) if digit * 10**power < MINUTE_NS),
    *(count * MINUTE_NS for count in (1, 2, 5, 10, 15, 30)),
    *(count * HOUR_NS for count in (1, 2, 3, 6, 12)),
    *(count * DAY_NS for count in (1, 2, 5, 10, 30, 90, 365)),
)
MOST = 120
"""How many corrections are drawn in a lane."""
CROSS = "M-4 -4L4 4M-4 4L4 -4"
CHECK = "M-4 0l3 3.5 5.5 -7"


class Axis(NamedTuple):
    """The time that a picture shows, in nanoseconds since 1970."""

    begin_ns: int
    end_ns: int

    def x(self, at_ns: int) -> str:
        """Return where a moment is; one that is out of it is at its end."""
        part = (min(max(at_ns, self.begin_ns), self.end_ns) - self.begin_ns) / (self.end_ns - self.begin_ns)
        return f"{LEFT + WIDTH * part:.2f}%"


class Reach(NamedTuple):
    """How far ahead and behind a picture shows, on the scale of `bent`."""

    ahead: float
    behind: float

    def y(self, offset_ns: int) -> float:
        """Return where an offset is, in pixels from the top."""
        part = (self.ahead - bent(offset_ns)) / (self.ahead + self.behind)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * min(max(part, 0.0), 1.0), 1)


def bent(offset_ns: int) -> float:
    """Return an offset on a scale that is linear near zero and logarithmic beyond."""
    size = log10(1 + abs(offset_ns) / KNEE_NS)
    return size if offset_ns >= 0 else -size


def axis_of(episodes: Sequence[Episode]) -> Axis:
    """Return the time of these Episodes; after the last proof only a little, whatever daemons took to settle."""
    first_ns = min(map(begin_ns, episodes))
    ends_ns = (end_ns(one) if one.proven_ns is None else begin_ns(one) + one.proven_ns for one in episodes)
    last_ns = max(first_ns + MILLISECOND_NS, *ends_ns)
    return Axis(first_ns, last_ns + (last_ns - first_ns) // 8)


def reach_of(episodes: Iterable[Episode]) -> Reach:
    """Return how far these Episodes' offsets reach, with their bounds."""
    offsets = [one for episode in episodes for one in (episode.before, episode.after) if one]
    ahead_ns = max([LEAST_NS, *(one.latest_ns for one in offsets)])
    behind_ns = max([LEAST_NS, *(-one.earliest_ns for one in offsets)])
    return Reach(bent(ahead_ns), bent(behind_ns))


def plot(entries: Sequence[Entry], axis: Axis, reach: Reach) -> Html:
    """Return the lane of one node."""
    drawn = sorted(entries, key=lambda one: far_ns(one.episode.before), reverse=True)[:MOST]
    levels = list(_levels(reach))
    traces = (_trace(one.episode, axis, reach) for one in sorted(drawn, key=lambda one: begin_ns(one.episode)))
    return _picture(
        joined(*(tag("text", label, x=46, y=y + 3.5) for label, y in levels)),
        joined(
            *(tag("line", class_="grid", x1=axis.x(at), x2=axis.x(at), y1=0, y2=HEIGHT) for at, _ in ticks(axis)),
            *(tag("line", class_=_level(label), x1=0, x2="100%", y1=y, y2=y) for label, y in levels),
            *traces,
        ),
        HEIGHT,
        f"{len(entries)} {'correction' if len(entries) == 1 else 'corrections'} over time",
    )


def time_axis(axis: Axis) -> Html:
    """Return the axis of time, which is below all lanes."""
    marks = [
        tag("text", label, class_="tick odd" if number % 2 else "tick", x=axis.x(at_ns), y=13)
        for number, (at_ns, label) in enumerate(ticks(axis))
    ]
    return _picture(Html(""), joined(*marks), 18, "time")


def _picture(scale: Html, inside: Html, height: int, label: str) -> Html:
    return tag(
        "div",
        tag("svg", scale, class_="scale", width=50, height=height, aria_hidden="true"),
        tag("svg", inside, class_="trace", width="100%", height=height, role="img", aria_label=label),
        class_="plot",
    )


def _level(label: str) -> str:
    return "zero" if label == "0" else "grid"


def _levels(reach: Reach) -> Iterator[tuple[str, float]]:
    """Give the offsets that have a line, and where; fewer where there is no room."""
    taken = [zero := reach.y(0)]
    yield "0", zero
    for sign, far in (("+", reach.ahead), ("-", reach.behind)):
        for size_ns in OFFSETS_NS:
            y = reach.y(size_ns if sign == "+" else -size_ns)
            if bent(size_ns) <= far and all(abs(y - other) >= ROOM for other in taken):
                taken.append(y)
                yield f"{sign}{show_duration(size_ns)}", y


def ticks(axis: Axis) -> list[tuple[int, str]]:
    """Return the moments that have a mark on the axis, with what they are called."""
    span_ns = axis.end_ns - axis.begin_ns
    apart_ns = next((one for one in APART_NS if one * TICKS >= span_ns), APART_NS[-1])
    if span_ns <= SHORT_NS:
        return [
            (axis.begin_ns + after_ns, f"+{show_duration(after_ns)}" if after_ns else "0")
            for after_ns in range(0, span_ns, apart_ns)
        ]
    apart_ns = max(apart_ns, span_ns // (2 * TICKS))  # decades, by a clock that was wrong
    first_ns = -(-axis.begin_ns // apart_ns) * apart_ns
    dated = axis.begin_ns // DAY_NS != axis.end_ns // DAY_NS
    return [(at_ns, show_tick(at_ns, apart_ns, dated=dated)) for at_ns in range(first_ns, axis.end_ns, apart_ns)]


def _trace(one: Episode, axis: Axis, reach: Reach) -> Html:
    """Return one Episode: how far off the clock was and for how long, the step, and how far off it was then."""
    start_ns, before, after = begin_ns(one), one.before, one.after
    if before is None:
        return _at(
            axis.x(start_ns), tag("text", "?", class_="lost", y=reach.y(0) + 5), _title(one, "not measured", None)
        )
    turn_ns = end_ns(one) if one.wrong_for_ns is None else start_ns + one.wrong_for_ns
    off, end = reach.y(before.value_ns), reach.y((after or before).value_ns)
    parts: list[Html] = []
    if turn_ns > start_ns:
        parts.append(tag("line", class_="off", x1=axis.x(start_ns), x2=axis.x(turn_ns), y1=off, y2=off))
        jump = "step" if any(isinstance(action, Step) for action in one.actions) else "drift"
        parts.append(tag("line", class_=jump, x1=axis.x(turn_ns), x2=axis.x(turn_ns), y1=off, y2=end))
        mark = tag("circle", class_="before", cy=off, r=4)
        parts.append(_at(axis.x(start_ns), joined(_bar(before, reach), mark), _title(one, "before", before)))
    if after:
        parts.append(_after(one, after, axis, turn_ns, reach))
    if one.proven_ns is not None:
        check = tag("path", class_="check", d=CHECK, transform=f"translate(0 {end - 11:g})")
        parts.append(_at(axis.x(start_ns + one.proven_ns), check, _title(one, "verified", None)))
    return joined(*parts)


def _after(one: Episode, after: Offset, axis: Axis, turn_ns: int, reach: Reach) -> Html:
    y = reach.y(after.value_ns)
    good = one.verdict is Verdict.GOOD
    mark = (
        tag("circle", class_="after", cy=y, r=3.5) if good else tag("path", class_="bad", d=CROSS, transform=_down(y))
    )
    until = tag("line", class_="on", x1=axis.x(turn_ns), x2=axis.x(max(end_ns(one), turn_ns)), y1=y, y2=y)
    return joined(
        until if good else Html(""),
        _at(axis.x(turn_ns), joined(_bar(after, reach), mark), _title(one, one.verdict.value, after)),
    )


def _bar(offset: Offset, reach: Reach) -> Html:
    """Return the bar of an error bound: the true offset is within it."""
    top, bottom = reach.y(offset.latest_ns), reach.y(offset.earliest_ns)
    return tag("path", class_="bound", d=f"M-6 {top:g}H6M0 {top:g}V{bottom:g}M-6 {bottom:g}H6")


def _at(x: str, mark: Html, title: Html) -> Html:
    """Return a mark that keeps its shape at a place that is a percentage."""
    return tag("svg", title, mark, x=x, class_="at")


def _down(y: float) -> str:
    return f"translate(0 {y:g})"


def _title(one: Episode, what: str, offset: Offset | None) -> Html:
    """Return what a pointer that rests on a mark is shown, and a screen reader reads."""
    how = f": {offset_text(offset)}" if offset else ""
    return tag("title", f"{one.node}, {show_moment(one.started_at_ns)}, {what}{how}")
