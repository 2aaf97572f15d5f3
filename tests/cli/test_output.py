"""Tables on a terminal."""

import fcntl
import io
import os
import re
import select
import struct
import termios
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from clockstep.errors import ClockstepError
from clockstep.model import (
    Cause,
    Claim,
    Diagnosis,
    DoctorReport,
    Episode,
    Facts,
    Finding,
    Freeze,
    HostClock,
    Issue,
    Level,
    Offset,
    Report,
    Resync,
    SetReport,
    Step,
    Thaw,
    Trouble,
    Verdict,
)
from clockstep.render.output import Story, print_json, print_json_line, print_page, rich_page, visible_page
from clockstep.render.text import Page, doctor_page, plan_page, set_page, status_page, step_page

WIDTHS = (80, 100, 120, 200)
NAME = "k8s-control-plane-01.lab.example.org"
FAR = Offset(-1_168_695_983_313_625_000, 800_000)
WRONG = Finding("offset", Verdict.BAD, "-1168695983.3136 s ± 800 µs is beyond 10 ms", "run clockstep step")
DOUBT = Finding("forward", Verdict.UNSURE, "more than 1 d behind: refusing to step", "allow it with --max-forward")
ISSUES = (
    Issue("offset", Level.ERROR, WRONG.text, WRONG.remedy),
    Issue("forward", Level.WARNING, DOUBT.text, DOUBT.remedy),
)
EPISODE = Episode(
    NAME,
    Cause("asked"),
    Verdict.UNSURE,
    FAR,
    (Step(1_168_695_983_313_625_000), Resync("systemd-timesyncd")),
    Offset(20_000, 700_000),
    Facts((), Claim("systemd-timesyncd", synchronised=True, source="2.debian.pool.ntp.org", root_delay_ns=0)),
    (WRONG, DOUBT),
    0,
    0,
    3_000_000_000,
    3_000_000_000,
)
HOST = HostClock(False, 0)
PAGES = {
    "status": status_page(Report(HOST, (EPISODE, EPISODE))),
    "step": step_page(Report(HOST, (EPISODE,))),
    "plan": plan_page(Report(HOST, (EPISODE,))),
    "doctor": doctor_page(DoctorReport(HOST, (), (Diagnosis(NAME, ISSUES), Diagnosis("node-2", ISSUES[:1])))),
    "set": set_page(SetReport(HOST, None, True, (), (EPISODE,))),
}


def on_terminal(page: Page, width: int) -> str:
    """What a terminal of this width gets of a page, through a real pseudo-terminal."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", 50, width, 0, 0))
    with os.fdopen(inner, "w") as terminal, os.fdopen(outer, "rb", 0) as seen:
        print_page(page, terminal)
        terminal.flush()
        text = b""
        while select.select([seen], [], [], 0)[0]:
            text += os.read(outer, 65536)
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_on_a_terminal_of_any_width_nothing_that_matters_is_cut_off_or_squeezed(name: str, width: int) -> None:
    shown = on_terminal(PAGES[name], width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    whole = " ".join(lines)
    cells = {cell for row in PAGES[name].rows for cell in row if cell != "-"}
    assert [cell for cell in cells if cell not in whole] == []


def test_findings_that_are_the_same_on_several_nodes_are_told_once() -> None:
    shown = on_terminal(PAGES["doctor"], 80)
    assert shown.count(WRONG.text) == 1
    assert f"{NAME}, node-2" in " ".join(line.strip() for line in shown.splitlines())


def test_a_story_on_a_terminal_moves_and_keeps_each_node_on_one_line() -> None:
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", 50, 60, 0, 0))
    with os.fdopen(inner, "w") as terminal, os.fdopen(outer, "rb", 0) as seen:
        with Story(terminal) as story:
            story.tell("node-1", "interrupted; " + "finishing the revert first " * 4)
            text = b""
            end = time.monotonic() + 10
            while b" 1 s" not in text and time.monotonic() < end:
                if select.select([seen], [], [], 0.1)[0]:
                    text += os.read(outer, 65536)
        assert b" 0 s" in text
        assert b" 1 s" in text
        assert text.count(b"interrupted") == text.count(b"node-1  interrupted") > 0


def test_what_became_of_workloads_is_told_with_how_long_they_stood_still_and_what_ran_on() -> None:
    freezes = (
        Freeze("node-1", ("kubepods.slice",), still_ns=812_000_000, thaw=Thaw.PROVEN),
        Freeze(
            "node-2", ("kubepods.slice/a",), ("kube-system/etcd",), trouble=Trouble("not verified", "clockstep thaw")
        ),
        Freeze("node-3", (), thaw=Thaw.RUNNING, trouble=Trouble("it has 1 static pods")),
        Freeze("node-4", (), thaw=Thaw.RUNNING),
    )
    page = str(set_page(SetReport(HostClock(True, 0), None, True, (), freezes=freezes)))
    for line in (
        "node-1: kubepods.slice thawed, clock verified, after 812 ms",
        "node-2: kubepods.slice/a still frozen; still running: kube-system/etcd: not verified (clockstep thaw)",
        "node-3: nothing frozen: it has 1 static pods",
        "node-4: nothing frozen: it has no workloads to freeze",
    ):
        assert line in page


EVIL = "\x1b]0;gone\x07\x1b[2J\x9bx\u202eevil\nnode-9: all is well\r\u2028"
"""What retitles and clears a terminal, turns text round, and forges a line of a log."""


def is_harmless(text: str) -> bool:
    """Whether a terminal or a log may get it: printable lines, and none of somebody else's making."""
    return text.replace("\n", "").isprintable() and not any(line.startswith("node-9") for line in text.splitlines())


@given(st.text(alphabet="ab \x00\x07\x08\n\r\x1b\x7f\x85\x9b\xad\u200e\u202a\u202e\u2028\u2066\ufeff"))
@example(EVIL)
def test_nothing_from_a_node_or_a_snapshot_reaches_a_terminal_a_log_or_a_json_line_as_it_is(text: str) -> None:
    page, out = Page((text,), ("NODE", "SAID"), (("node-1", text),), (text,)), io.StringIO()
    print_page(page, out)
    story = io.StringIO()
    Story(story).tell(text, text)
    record = Trouble(text, text)
    plain, line = io.StringIO(), io.StringIO()
    print_json(record, plain)
    print_json_line(record, line)
    for said in (out, story, plain, line):
        assert is_harmless(said.getvalue()), repr(said.getvalue())
    assert msgspec.json.decode(line.getvalue(), type=Trouble) == record
    assert is_harmless(ClockstepError(text, text).message)


def test_a_terminal_gets_no_escape_of_somebody_elses() -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, width=200, force_terminal=False)
    terminal.print(rich_page(visible_page(Page((EVIL,), ("NODE",), ((EVIL,),), ())), 200))
    assert is_harmless(shown.getvalue())
