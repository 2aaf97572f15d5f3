"""What is written down of cordons, and whether whoever made one has ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clockstep.errors import JournalError
from clockstep.model import Cordon
from clockstep.state.cordons import FileCordons

NOW = 1_800_000_000_000_000_000
MAKES = """
import sys, time
from pathlib import Path
from clockstep.model import Cordon
from clockstep.state.cordons import FileCordons
cordons = FileCordons(Path(sys.argv[1]))
mark = cordons.mark("snapshot base", int(sys.argv[2]))
cordons.note(Cordon("node-1", "uid", mark))
print(mark, flush=True)
time.sleep(60)
"""


@pytest.fixture
def cordons(tmp_path: Path) -> FileCordons:
    return FileCordons(tmp_path)


def test_a_kill_leaves_the_note_and_a_mark_that_is_over(cordons: FileCordons, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", MAKES, tmp_path, str(NOW)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process:
        mark = process.stdout.readline().strip()
        assert cordons.notes() == [Cordon("node-1", "uid", mark)]
        assert not cordons.is_over(mark)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert cordons.is_over(mark)
    assert cordons.notes() == [Cordon("node-1", "uid", mark)]


def test_a_mark_says_who_when_and_what_for(cordons: FileCordons) -> None:
    mark = cordons.mark("revert to base", NOW)
    assert mark.startswith(f"{os.uname().nodename} {os.getpid()}/")
    assert mark.endswith("2027-01-15 08:00:00 UTC, revert to base")
    assert not cordons.is_over(mark)


def test_a_later_process_with_the_same_number_is_another_one(cordons: FileCordons) -> None:
    host, process, rest = cordons.mark("x", NOW).split(" ", 2)
    pid, _, began = process.partition("/")
    assert cordons.is_over(f"{host} {pid}/{int(began) - 1} {rest}")


@pytest.mark.parametrize("change", ["other.{}", "", "by hand", "{0}{0}", "\n{}", "x 1/2 y", "{}".rjust(2000, "9")])
def test_a_mark_of_another_host_or_of_nobody_is_never_over(cordons: FileCordons, change: str) -> None:
    assert not cordons.is_over(change.format(cordons.mark("x", NOW)))


def test_each_note_is_kept_until_it_is_struck_and_a_later_one_of_the_same_node_stays(cordons: FileCordons) -> None:
    first, second = Cordon("n" * 253, "u/../u", "a"), Cordon("n", "u", "b")
    later = Cordon(first.name, first.uid, "c")
    for cordon in (first, second, later):
        cordons.note(cordon)
    cordons.strike(first)
    assert sorted(one.mark for one in cordons.notes()) == ["b", "c"]
    for cordon in (later, second, second):
        cordons.strike(cordon)
    assert cordons.notes() == []


def test_a_damaged_note_tells_nothing_and_costs_only_itself(cordons: FileCordons, tmp_path: Path) -> None:
    cordons.note(Cordon("n", "u", "b"))
    for name, text in (("a", "["), ("b", "{}"), ("c", ""), ("d", '{"name": 1, "uid": 2, "mark": 3}')):
        (tmp_path / "cordoned" / f"{name}.json").write_text(text)
    (tmp_path / "cordoned" / "e.json").mkdir()
    assert cordons.notes() == [Cordon("n", "u", "b")]


def test_where_it_cannot_be_written_down_that_is_an_error(cordons: FileCordons, tmp_path: Path) -> None:
    (tmp_path / "cordoned").touch()
    with pytest.raises(JournalError, match="cannot be written"):
        cordons.note(Cordon("n", "u", "b"))
