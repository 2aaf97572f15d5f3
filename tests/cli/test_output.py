"""Tables on a terminal."""

import io

from rich.console import Console

from clockstep.render.output import rich_table

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
