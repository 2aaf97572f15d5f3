"""The page of `--report` as a real Chromium shows it. The pictures stay in pytest's folder, to be looked at."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.browser import Browser, Tab, browser
from cli.stories import AFTERMATH, MIXED, NOW, REVERT, hostile, long_history
from cli.test_page import CRUEL
from clockstep.model import History
from clockstep.render.page import page

pytestmark = pytest.mark.browser

WIDTHS = (400, 820, 1280)
PAGES = {
    "revert": (REVERT, None),
    "mixed": (MIXED, AFTERMATH),
    "weeks": (long_history(60), None),
    "thousand": (long_history(1000, 40), None),
    "nothing": (History(()), None),
    "hostile": hostile(f"{CRUEL[1]}{CRUEL[0]}{CRUEL[2]}"),
    "long": hostile("k8s-control-plane-" * 40),
}
OVER = """[...document.querySelectorAll('body *')].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 1 || box.left < -1) && getComputedStyle(one).clipPath === 'none'
        && !one.closest('thead');
}).map(one => one.tagName + '.' + one.getAttribute('class') + ' ' + one.textContent.slice(0, 40))"""
TEXTS = """[...document.querySelectorAll('main :not(title)')].filter(one =>
    [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
).map(one => one.closest('svg') ? getComputedStyle(one).fill : getComputedStyle(one).color)"""
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for name, (history, aftermath) in PAGES.items():
        (made / f"{name}.html").write_text(page(history, aftermath, at_ns=NOW), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def chromium(folder: Path) -> Iterator[Browser]:
    with browser(folder) as opened:
        yield opened


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">2I", png[16:24])
    return width, height


def contrast(one: str, other: str) -> float:
    """How far apart two colours are, as WCAG 2 counts it."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    brighter, darker = sorted((light(one), light(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_loaded_nothing_is_complained_about_and_nothing_is_wider_than_the_page(
    chromium: Browser, folder: Path, name: str
) -> None:
    tab = chromium.open(f"{name}.html")
    for width in WIDTHS:
        tab.set(width)
        assert tab.value("innerWidth") == width
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value(OVER) == []
        picture = tab.picture()
        assert size(picture)[0] == width
        (folder / f"{name}-{width}.png").write_bytes(picture)
    assert tab.requested() == [tab.address]
    assert tab.said() == []


def test_text_of_others_runs_nothing_although_scripts_are_allowed(chromium: Browser) -> None:
    tab = chromium.open("hostile.html")
    assert tab.value("1 + 1") == 2
    assert tab.value("document.querySelectorAll('script, img, [onmouseover], [onerror]').length") == 0
    assert tab.value("document.body.textContent.includes('<script>alert(1)</script>')")


@pytest.mark.parametrize(("scheme", "medium"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_every_text_stands_out_from_the_paper(chromium: Browser, folder: Path, scheme: str, medium: str) -> None:
    tab = chromium.open("mixed.html")
    tab.set(1280, scheme, medium)
    paper = tab.value(PAPER)
    weak = {colour for colour in tab.value(TEXTS) if contrast(colour, paper) < 4.5}
    assert weak == set()
    is_dark = contrast(paper, "rgb(0, 0, 0)") < 4.5
    assert is_dark == ((scheme, medium) == ("dark", "screen"))
    (folder / f"mixed-{scheme}-{medium}.png").write_bytes(tab.picture())


def test_it_is_printed_on_a_few_pages(chromium: Browser, folder: Path) -> None:
    tab = chromium.open("mixed.html")
    pdf = tab.printed()
    (folder / "mixed.pdf").write_bytes(pdf)
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 1 < pages <= 4


def test_in_a_picture_without_colour_each_mark_has_its_shape(chromium: Browser, folder: Path) -> None:
    tab = chromium.open("mixed.html")
    tab.set(1280)
    tab.call("Emulation.setEmulatedVisionDeficiency", type="achromatopsia")
    (folder / "mixed-grey.png").write_bytes(tab.picture())
    shapes = shapes_of(tab)
    assert len(set(shapes.values())) == len(shapes) == 5


def shapes_of(tab: Tab) -> dict[str, str]:
    """By each kind of mark, what it is besides its colour."""
    found: dict[str, str] = tab.value("""Object.fromEntries(['before', 'after', 'check', 'bad', 'lost'].map(kind => {
        const one = document.querySelector('.trace .' + kind), style = getComputedStyle(one);
        const hollow = style.fill === 'none' || style.fill === getComputedStyle(document.body).backgroundColor;
        return [kind, [one.tagName, one.getAttribute('d'), hollow].join(' ')];
    }))""")
    return found


def test_a_page_that_loads_something_complains_or_is_too_wide_would_be_found(chromium: Browser, folder: Path) -> None:
    (folder / "loads.html").write_text(
        "<!doctype html><link rel=stylesheet href=other.css><script>console.log(1)</script><p style='width: 900px'>wide"
    )
    tab = chromium.open("loads.html")
    tab.set(400)
    assert tab.requested() == [tab.address, "file:///mnt/other.css"]
    assert [one["method"] for one in tab.said()].count("Runtime.consoleAPICalled") == 1
    assert tab.value("document.documentElement.scrollWidth") > 400
    assert tab.value(OVER) != []
