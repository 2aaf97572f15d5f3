"""Tables on a terminal."""

import io

from rich.console import Console

from clockstep.model import Freeze, HostClock, SetReport, Thaw, Trouble
from clockstep.render.output import rich_table
from clockstep.render.text import set_page

HEADER = ("NODE", "BEFORE", "DONE", "NOW", "RIGHT AFTER", "DAEMON SAYS", "VERDICT")
ROW = (
    "node-1",
    "-78.0864 s ± 700 µs",
    "step forward 1 min 18 s, resync chrony",
    "+0 µs ± 500 µs",
    "462 ms",
    "chrony ^* 10.0.2.2 ± 700 µs",
    "good",
)


def test_nodes_offsets_and_verdicts_are_whole_also_on_a_narrow_terminal() -> None:
    shown = io.StringIO()
    Console(file=shown, width=80).print(rich_table(HEADER, (ROW,)))
    assert "…" not in shown.getvalue()
    assert all(whole in shown.getvalue() for whole in ("node-1", "-78.0864 s ± 700 µs", "+0 µs ± 500 µs", "good"))


def test_what_became_of_workloads_is_told_with_how_long_they_stood_still_and_what_ran_on() -> None:
    freezes = (
        Freeze("node-1", ("kubepods.slice",), still_ns=812_000_000, thaw=Thaw.PROVEN),
        Freeze("node-2", ("kubepods.slice/a",), ("kube-system/etcd",), trouble=Trouble("not proven", "clockstep thaw")),
        Freeze("node-3", (), thaw=Thaw.RUNNING, trouble=Trouble("it has 1 static pods")),
        Freeze("node-4", (), thaw=Thaw.RUNNING),
    )
    page = str(set_page(SetReport(HostClock(True, 0), None, True, (), freezes=freezes)))
    for line in (
        "node-1: kubepods.slice thawed, the clock proven right, after 812 ms",
        "node-2: kubepods.slice/a frozen still; run on: kube-system/etcd: not proven (clockstep thaw)",
        "node-3: nothing frozen: it has 1 static pods",
        "node-4: nothing frozen: it has no workloads to freeze",
    ):
        assert line in page
