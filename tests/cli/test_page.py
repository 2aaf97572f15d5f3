"""The page of `--report`: what it says, and that nothing from a node or a cluster becomes a part of its markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.stories import (
    AFTERMATH,
    BARE,
    HEALED,
    LONG,
    MIXED,
    NOW,
    REVERT,
    SERVED,
    TOKEN,
    away,
    corrected,
    hostile,
    long_history,
)
from clockstep.errors import visible
from clockstep.model import AftermathReport, Entry, Episode, Healed, History, Looked, Offset, Repair, State
from clockstep.render.clocks import MOST_LANES
from clockstep.render.markup import EMPTY, LONGEST
from clockstep.render.page import page
from clockstep.render.timeline import Axis, axis_of, bent, reach_of, ticks
from clockstep.units import DAY_NS, HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS

MOST_BYTES = 2_000_000
EXTREMES = (-(2**63), -1, 0, 1, 2**63 - 1)


class Read(HTMLParser):
    """What a page consists of: its elements with their attributes' names, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.balanced = True
        self.feed(source)
        self.close()
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("a comment", ()))

    def sections(self, title: str) -> str:
        """The text from this heading on, up to the next one of its kind."""
        titles = "|".join(("What is left to do", "Clocks", "What broke", "All times are UTC"))
        found = re.search(rf"{title}(?P<text>.*?)(?={titles})", self.text, re.DOTALL)
        assert found, title
        return found["text"]


def made(history: History, aftermath: AftermathReport | None = None) -> Read:
    return Read(page(history, aftermath, at_ns=NOW))


PLAIN = made(*hostile("x"))
CRUEL = (
    "<script>alert(1)</script>",
    "</title></style></svg><img src=http://example.org/x onerror=alert(1)>",
    "\" onmouseover='alert(1)' x=\"",
    "&lt;b&gt;&#60;b&#62;&quot;",
    "]]><!--",
    "-->",
    "\u202e\u2066\x00\x1b[31m\r\n",
    "\ud800",
    "javascript:alert(1)",
    "<" * (LONGEST + 9),
)


@given(st.text(min_size=1))
@example(CRUEL[0])
@example(CRUEL[1])
@example(CRUEL[2])
@example(CRUEL[3])
@example(CRUEL[4])
@example(CRUEL[5])
@example(CRUEL[6])
@example(CRUEL[7])
@example(CRUEL[8])
@example(CRUEL[9])
def test_whatever_a_node_or_a_cluster_says_is_text_and_never_markup(text: str) -> None:
    read = made(*hostile(text))
    assert read.elements == PLAIN.elements
    assert read.balanced
    assert read.open == []
    assert visible(text[: LONGEST - 1]) in read.text


def test_a_page_names_nothing_that_a_browser_would_load_or_run() -> None:
    for read in (made(MIXED, AFTERMATH), made(*hostile(CRUEL[1])), made(long_history(40))):
        assert {tag for tag, _ in read.elements} & {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "a",
            "form",
            "base",
        } == set()
        named = [
            (tag, name) for tag, name, _ in read.attributes if name in {"src", "href", "style", "srcset", "action"}
        ]
        assert named + [(tag, name) for tag, name, _ in read.attributes if name.startswith("on")] == []
        style = page(REVERT, at_ns=NOW).partition("<style>")[2].partition("</style>")[0]
        assert re.findall(r"url\(|@import|@font-face|//", style) == []
        (policy,) = [value for _, name, value in read.attributes if name == "content" and "default-src" in value]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_it_says_first_what_became_of_the_clocks_and_of_what_broke() -> None:
    assert "3 clocks were corrected and verified." in made(REVERT).text
    assert "2 of 5 clocks are not verified. 2 things are still broken." in made(MIXED, AFTERMATH).text
    assert "No corrections of clocks are recorded." in made(History(())).text
    good = replace(corrected("a", Offset(0, 1)), actions=(), wrong_for_ns=0)
    looked = replace(good, cause=replace(good.cause, kind="looked"))
    assert "1 clock was verified; none needed a correction." in made(History((Entry("step", looked),))).text


def test_each_correction_has_its_numbers() -> None:
    text = made(REVERT).text
    for said in (
        "-18.707 s ± 2 ms",
        "step +18.707 s, resync chrony",
        "-500 µs ± 400 µs",
        "381 ms",
        "591 ms",
        "chrony ^* 10.0.2.2 ± 800 µs",
        "kubepods.slice thawed, clock verified, after 812 ms; still running: kube-system/kube-apiserver-node-1",
    ):
        assert said in text


def test_what_is_left_to_do_is_named_with_its_remedy() -> None:
    text = made(MIXED, AFTERMATH).sections("What is left to do")
    for said in (
        "node-2more than 1 d behind",
        "allow it with --max-forward",
        "node-3its guest agent does not answer",
        "its workloads were left frozen: kubepods.slice",
        "clockstep thaw node-2",
        f"CS-CNI {TOKEN.on}{TOKEN.text} (a budget forbids it: run it again later){TOKEN.cure}",
        f"CS-STUCK {BARE.on}{BARE.text} (nobody would make this pod again){BARE.cure}",
        "CS-KUBELETcould not look: node-3: its guest agent does not answer",
    ):
        assert said in text
    assert SERVED.text not in text


def test_if_nothing_is_left_it_says_so() -> None:
    clean = AftermathReport(NOW, (Looked("CS-SERVING", "What is served", State.CLEAN),), (HEALED,))
    assert "Nothing. The last look found nothing broken." in made(REVERT, clean).sections("What is left to do")
    assert made(REVERT).sections("What is left to do").startswith("Nothing.")


def test_what_was_healed_has_since_when_by_what_and_when_that_was_proven() -> None:
    text = made(REVERT, AFTERMATH).sections("What broke")
    course = text.partition(SERVED.text)[2]
    assert course.startswith(
        "broken since2026-11-27 17:33:20 UTC"
        "restart cert-manager/deployment/cert-manager-webhook2026-11-30 17:33:40 UTC"
        "healed, proven by a second look2026-11-30 17:33:52 UTC, after 12 s"
    )
    assert "Nothing found: CS-CLOCK (Leases of Nodes), CS-SERVING (What is served)" in text
    assert "Not in this cluster: CS-CEPH (Ceph)" in text


def test_repairs_of_the_history_alone_are_told_once() -> None:
    begun = Repair(SERVED, Healed.NOT_HEALED, HEALED.act, "it was begun", HEALED.at_ns)
    read = made(replace(REVERT, repairs=(begun, HEALED)))
    assert read.text.count(SERVED.text) == 1
    assert "1 thing that broke is healed." in read.text
    tried = made(replace(REVERT, repairs=(replace(begun, at_ns=NOW), begun, HEALED)))
    assert "1 thing that broke is healed." in tried.text
    assert "Healed1 of 10 left" in tried.text
    assert "By the history, 1 thing that broke is not healed." in made(replace(REVERT, repairs=(begun,))).text


def test_without_anything_it_is_a_page_all_the_same() -> None:
    read = made(History(()))
    assert "No corrections are recorded." in read.text
    assert "What broke" not in read.text
    assert read.balanced


def test_of_very_much_it_shows_a_bounded_part_and_says_so() -> None:
    thousand = long_history(1000)
    source = page(thousand, at_ns=NOW)
    assert len(source) < MOST_BYTES
    assert "the 120 farthest off" in source
    assert "corrections before that: clockstep history lists all." in source
    many = History(tuple(Entry("revert", corrected(f"node-{n}", Offset(-SECOND_NS, n + 1))) for n in range(400)))
    assert page(many, at_ns=NOW).count('class="lane"') == MOST_LANES
    assert f"Not drawn: {400 - MOST_LANES} more nodes, all verified." in made(many).text
    assert len(page(long_history(9000, 300), at_ns=NOW)) < MOST_BYTES


def test_a_node_that_is_not_verified_is_drawn_before_any_that_is() -> None:
    many = [Entry("revert", corrected(f"a-{n}", Offset(-HOUR_NS, 1))) for n in range(60)]
    read = made(History((*many, Entry("revert", away("z")))))
    assert "zits guest agent does not answer" in read.sections("What is left to do")
    assert "not measured" in page(History((*many, Entry("revert", away("z")))), at_ns=NOW)
    assert f"Not drawn: {61 - MOST_LANES} more nodes, all verified." in read.text


def test_clocks_that_were_good_at_first_sight_have_no_wrong_time_drawn() -> None:
    good = replace(corrected("a", Offset(0, MILLISECOND_NS)), wrong_for_ns=0, proven_ns=9, actions=())
    assert lines(good) == lines(corrected("a", Offset(0, MILLISECOND_NS))) - 1


def lines(episode: Episode) -> int:
    """How many stretches of a wrong offset its page has, with the one of the legend."""
    read = made(History((Entry("step", episode),)))
    return sum((name, value) == ("class", "off") for _, name, value in read.attributes)


@pytest.mark.parametrize("started_at_ns", EXTREMES)
@pytest.mark.parametrize("took_ns", EXTREMES)
@pytest.mark.parametrize("offset_ns", EXTREMES)
def test_no_number_that_a_history_can_have_breaks_it(started_at_ns: int, took_ns: int, offset_ns: int) -> None:
    strange = replace(
        corrected("a", Offset(offset_ns, 2**63 - 1)),
        started_at_ns=started_at_ns,
        took_ns=took_ns,
        wrong_for_ns=took_ns,
        proven_ns=took_ns,
    )
    unproven = replace(strange, wrong_for_ns=None, proven_ns=None, after=Offset(offset_ns, 0))
    for entries in ([strange], [unproven], [strange, corrected("a", Offset(-1, 1))]):
        assert made(History(tuple(Entry("watch", one) for one in entries))).balanced


def test_days_and_milliseconds_are_both_seen() -> None:
    reach = reach_of([entry.episode for entry in MIXED.entries])
    heights = [reach.y(-size) for size in (0, MILLISECOND_NS, 12 * MILLISECOND_NS, 2 * DAY_NS, 400 * DAY_NS)]
    assert all(below - above >= 5 for above, below in pairwise(heights))
    assert bent(-5) == -bent(5) < 0 == bent(0)


@pytest.mark.parametrize(
    ("span_ns", "labels"),
    [
        (800 * MILLISECOND_NS, ["0", "+200 ms", "+400 ms", "+600 ms"]),
        (90 * SECOND_NS, ["0", "+20 s", "+40 s", "+1 min", "+1 min 20 s"]),
        (20 * MINUTE_NS, ["17:35", "17:40", "17:45", "17:50"]),
        (30 * DAY_NS, ["3 Dec", "13 Dec", "23 Dec"]),
    ],
)
def test_the_marks_of_an_axis_are_few_and_round(span_ns: int, labels: list[str]) -> None:
    assert [label for _, label in ticks(Axis(NOW, NOW + span_ns))] == labels


def test_an_axis_ends_soon_after_the_last_proof_and_not_with_the_daemons() -> None:
    axis = axis_of([entry.episode for entry in REVERT.entries])
    assert axis.begin_ns == NOW
    assert axis.end_ns - NOW < SECOND_NS


def test_a_long_name_is_there_as_a_whole() -> None:
    assert LONG in made(MIXED).text
