"""What is paused by clockstep, kept on disk."""

import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from clockstep.errors import JournalError
from clockstep.model import Guest, Pause, Snapshot
from clockstep.state.journal import FileJournal, state_folder

UUID = str(uuid4())
NOBODY = 2**22 + 1
"""No process has such a number: it is beyond the largest pid_max (proc(5))."""
PAUSE = Pause(UUID, "node", "revert", 7, 5, Snapshot("base", 5, "set", ("node",)), released=False)


def test_what_is_noted_is_there_for_the_next_command_until_it_is_struck(tmp_path: Path) -> None:
    FileJournal(tmp_path).note(PAUSE)
    assert FileJournal(tmp_path).pauses() == {UUID: PAUSE}
    FileJournal(tmp_path).strike(UUID)
    FileJournal(tmp_path).strike(UUID)
    assert FileJournal(tmp_path).pauses() == {}


def test_nothing_noted_needs_no_folder(tmp_path: Path) -> None:
    assert FileJournal(tmp_path / "never").pauses() == {}
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"uuid": 5}'])
def test_a_file_that_is_no_pause_is_passed_over(tmp_path: Path, content: str) -> None:
    journal = FileJournal(tmp_path)
    journal.note(PAUSE)
    (tmp_path / "paused" / f"{uuid4()}.json").write_text(content)
    assert journal.pauses() == {UUID: PAUSE}


def test_what_is_of_no_use_any_more_is_forgotten_and_said(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    unknown = replace(PAUSE, uuid=str(uuid4()))  # of a version that noted no connection
    elsewhere = replace(PAUSE, uuid=str(uuid4()), connection="b")
    default = replace(PAUSE, uuid=str(uuid4()), connection="")
    lab = replace(PAUSE, uuid=str(uuid4()), connection="lab:x")
    there = replace(PAUSE, uuid=str(uuid4()), connection="a")
    migrated = replace(PAUSE, uuid=str(uuid4()), connection="a")
    gone = replace(PAUSE, connection="a")
    for pause in (unknown, elsewhere, default, lab, there, migrated, gone):
        journal.note(pause)
    left, at_work, fresh = (
        tmp_path / folder / f"{UUID}.{pid}.part"
        for folder, pid in (("definitions", NOBODY), ("paused", os.getpid()), ("paused", NOBODY))
    )
    left.parent.mkdir()
    for part in (left, at_work, fresh):
        part.touch()
    for part in (left, at_work):
        os.utime(part, (1, 1))
    guests = [Guest("x", there.uuid, "paused", "a"), Guest("y", migrated.uuid, "paused", "c")]
    assert journal.tidy(guests, ["a", "c", "", "lab:x"]) == [
        "forgot that node was paused for the revert to 'base': the domain no longer exists",
        f"removed {left}, left by a run that was killed",
    ]
    assert set(journal.pauses().values()) == {unknown, elsewhere, default, lab, there, migrated}
    assert at_work.exists()
    assert fresh.exists()
    assert journal.tidy(guests, ["a", "c", "", "lab:x"]) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "paused").write_text("in the way")
    with pytest.raises(JournalError, match="cannot be written") as caught:
        FileJournal(tmp_path).note(PAUSE)
    assert "free some space" in caught.value.hint


def test_the_state_is_roots_or_the_users() -> None:
    assert state_folder({"HOME": "/home/u"}, root=True) == Path("/var/lib/clockstep")
    assert state_folder({"HOME": "/home/u"}, root=False) == Path("/home/u/.local/state/clockstep")
    assert state_folder({"HOME": "/home/u", "XDG_STATE_HOME": "/s"}, root=False) == Path("/s/clockstep")
