"""The history: two bounded files of JSON lines that survive damage, other writers and a full disk."""

import errno
import fcntl
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from clockstep.core.history import merged
from clockstep.model import Cause, Entry, Episode, Facts, Finding, Offset, Resync, Step, Verdict
from clockstep.state import history
from clockstep.state.history import FileHistory
from clockstep.state.sightings import MOST, FileSightings

SECOND = 1_000_000_000


def entry(node: str = "web", at_s: int = 1, text: str = "asked for") -> Entry:
    actions = (Step(-5), Step(7, unconfirmed=True), Resync("chrony"))
    cause, offset = Cause(text, 5, 7), Offset(-5, 1)
    return Entry("step", Episode(node, cause, Verdict.BAD, offset, actions, None, Facts(), (), at_s * SECOND, 2))


def test_what_was_kept_is_read_as_it_was(tmp_path: Path) -> None:
    kept = FileHistory(tmp_path / "state")
    assert kept.read() == ([], 0)
    assert kept.add([entry("web", 1), entry("db", 2)]) == ""
    assert FileHistory(tmp_path / "state").add([entry("web", 3)]) == ""
    assert kept.read() == ([entry("web", 1), entry("db", 2), entry("web", 3)], 0)
    assert kept.read(2 * SECOND) == ([entry("db", 2), entry("web", 3)], 0)


def test_findings_that_say_nothing_is_amiss_are_not_kept(tmp_path: Path) -> None:
    good, note = Finding("host", Verdict.GOOD, "fine"), Finding("daemon", Verdict.GOOD, "late", "look")
    bad = Finding("offset", Verdict.BAD, "far off")
    kept = FileHistory(tmp_path)
    one = entry().episode
    kept.add([Entry("watch", replace(one, findings=(good, note, bad)))])
    assert kept.read()[0][0].episode.findings == (note, bad)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    FileHistory(tmp_path).add([entry()])
    FileSightings(tmp_path).keep({"u1": 5})
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "history.jsonl": 0o600,
        "within-tolerance.json": 0o600,
    }


@pytest.mark.parametrize("there", ["a link", "a fifo", "a folder"])
def test_what_is_no_file_is_neither_followed_nor_waited_for(tmp_path: Path, there: str) -> None:
    path, victim = tmp_path / "history.before.jsonl", tmp_path / "victim"
    victim.write_text("{}")
    if there == "a link":
        path.symlink_to(victim)
    elif there == "a fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=path.stem):
        FileHistory(tmp_path).read()


def test_its_two_files_are_bounded_and_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 20_000)
    kept = FileHistory(tmp_path)
    for at_s in range(200):
        assert kept.add([entry(at_s=at_s)]) == ""
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"history.jsonl", "history.before.jsonl"}
    assert max(sizes.values()) <= 20_000
    found, skipped = kept.read()
    at = [one.episode.started_at_ns // SECOND for one in found]
    assert (at, skipped) == (list(range(at[0], 200)), 0)
    assert len(at) > 40


@pytest.mark.parametrize(
    "damage",
    [b"\x00\xff\n", b"{}\n", b'{"by": "step", "episode": 5}\n', b"[" * 100_000 + b"\n", b'{"by":\n', b"1e999\n"],
)
def test_damaged_lines_are_skipped_and_counted(tmp_path: Path, damage: bytes) -> None:
    kept = FileHistory(tmp_path)
    kept.add([entry(at_s=1)])
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(damage)
    kept.add([entry(at_s=2)])
    assert kept.read() == ([entry(at_s=1), entry(at_s=2)], 1)


def test_a_line_that_was_torn_by_a_power_cut_costs_no_other(tmp_path: Path) -> None:
    kept = FileHistory(tmp_path)
    kept.add([entry(at_s=1), entry(at_s=2)])
    file = tmp_path / "history.jsonl"
    os.truncate(file, file.stat().st_size - 10)
    kept.add([entry(at_s=3)])
    assert kept.read() == ([entry(at_s=1), entry(at_s=3)], 1)


def test_a_full_disk_leaves_no_half_line_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = FileHistory(tmp_path)
    kept.add([entry(at_s=1)])
    write, before = os.write, (tmp_path / "history.jsonl").read_bytes()

    def full(file: int, content: bytes) -> int:
        if len(content) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content[:-50])

    monkeypatch.setattr(os, "write", full)
    assert "No space left on device" in kept.add([entry(at_s=2)])
    assert (tmp_path / "history.jsonl").read_bytes() == before


@pytest.mark.parametrize("there", ["a file", "a link", "a folder"])
def test_a_state_folder_that_cannot_be_written_is_said_and_harms_nothing(tmp_path: Path, there: str) -> None:
    state = tmp_path / "state"
    if there == "a file":
        state.write_text("")
    else:
        state.mkdir()
        path, victim = state / "history.jsonl", tmp_path / "victim"
        victim.touch()
        path.symlink_to(victim) if there == "a link" else path.mkdir()
    assert FileHistory(state).add([entry()]).startswith("the history was not kept: ")
    if there == "a link":
        assert (tmp_path / "victim").read_bytes() == b""


def test_one_that_somebody_holds_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LOCK_S", 0.05)
    kept = FileHistory(tmp_path)
    kept.add([entry(at_s=1)])
    with (tmp_path / "history.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "not kept" in kept.add([entry(at_s=2)])
    assert kept.add([entry(at_s=3)]) == ""
    assert kept.read() == ([entry(at_s=1), entry(at_s=3)], 0)


def test_writers_side_by_side_lose_nothing_while_files_take_each_others_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST", 60_000)
    monkeypatch.setattr(history, "LOCK_S", 20)

    def write(node: str) -> None:
        kept = FileHistory(tmp_path)
        for at_s in range(30):
            assert kept.add([entry(node, at_s)]) == ""

    threads = [threading.Thread(target=write, args=(f"node{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, skipped = FileHistory(tmp_path).read()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert skipped == 0
    assert len(found) == len({(one.episode.node, one.episode.started_at_ns) for one in found})
    assert len(found) == 240 or size > 60_000


def test_what_is_shown_is_of_the_nodes_that_are_named() -> None:
    read = [([entry("web-1", 2), entry("db", 3)], 1), ([entry("web-2", 1)], 2)]
    assert [one.episode.node for one in merged(read, []).entries] == ["web-2", "web-1", "db"]
    assert [one.episode.node for one in merged(read, ["web-*"]).entries] == ["web-2", "web-1"]
    assert merged(read, ["nobody"]).entries == ()
    assert merged(read, []).skipped == 3


def test_sightings_are_kept_as_they_are_and_bounded(tmp_path: Path) -> None:
    kept = FileSightings(tmp_path / "state")
    assert kept.kept() == {}
    latest = kept.keep({str(number): number for number in range(MOST + 5)})
    assert kept.kept() == latest
    assert len(latest) == MOST
    assert kept.kept()[str(MOST + 4)] == MOST + 4
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["within-tolerance.json"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"u1": "x"}', b'{"u1": 1e30}', b"[" * 100_000])
def test_sightings_that_are_damaged_say_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "within-tolerance.json").write_bytes(content)
    assert FileSightings(tmp_path).kept() == {}


def test_sightings_that_cannot_be_kept_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert FileSightings(tmp_path / "state").keep({"u1": 1}) == {"u1": 1}
    assert FileSightings(tmp_path / "state").kept() == {}
