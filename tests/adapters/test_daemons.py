"""What time daemons claim, read from recorded answers of real ones."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.core.sections import MARK, sections
from clockstep.daemons import DAEMONS, PROGRAMS, ask_all, chrony, parse_all, timesyncd
from clockstep.model import Claim

RECORDED = Path(__file__).parent / "recorded"
ANSWERS = {
    f"{name}: {path.stem}": (daemon, path)
    for name, daemon in (("chrony", chrony.DAEMON), ("timesyncd", timesyncd.DAEMON))
    for path in sorted((RECORDED / name).glob("*.json"))
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_recorded_answer_is_read_as_it_was_meant(name: str) -> None:
    daemon, path = ANSWERS[name]
    recorded = json.loads(path.read_text())
    assert recorded["command"] in daemon.ask
    expected = recorded["expect"] and msgspec.convert(recorded["expect"], Claim)
    assert daemon.parse(recorded["output"]) == expected


@pytest.mark.parametrize("daemon", DAEMONS)
@given(output=st.text())
def test_any_other_answer_is_no_claim(daemon: str, output: str) -> None:
    assert DAEMONS[daemon].parse(output) is None


@given(st.lists(st.text(alphabet="0123456789.-*^ax", max_size=6), min_size=14, max_size=14))
def test_numbers_that_are_none_are_no_claim_and_no_crash(fields: list[str]) -> None:
    claim = chrony.parse(",".join(fields))
    assert claim is None or not claim.synchronised


@given(st.text(alphabet="LeapIgnoredPacketCountRootDelay=,0123456789nous ", max_size=80))
def test_a_message_that_is_none_is_not_a_synchronised_timesyncd(fields: str) -> None:
    claim = timesyncd.parse(f"PollIntervalUSec=32s\nNTPMessage={{{fields}}}\n")
    assert claim is not None
    assert not claim.synchronised or ("Ignored=no" in fields and "PacketCount=" in fields)


def test_the_daemon_that_answers_is_the_one() -> None:
    answer = {name: json.loads((RECORDED / name / "synchronised.json").read_text()) for name in ("chrony", "timesyncd")}
    first = parse_all(f"{MARK}chrony\n{answer['chrony']['output']}")
    second = parse_all(f"{MARK}chrony\n{MARK}systemd-timesyncd\n{answer['timesyncd']['output']}")
    assert [claim and claim.daemon for claim in (first, second)] == ["chrony", "systemd-timesyncd"]


def test_where_no_daemon_answers_there_is_no_claim() -> None:
    assert parse_all(f"{MARK}chrony\n") is None
    assert parse_all("") is None
    assert parse_all(f"{MARK}ghost\nboo") is None
    assert parse_all(f"{MARK}silent\nnobody\n") is None


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_daemon_that_only_runs_does_not_say_how_it_stands(program: str) -> None:
    assert parse_all(f"{MARK}chrony\n{MARK}silent\n{program}\n") == Claim(program, synchronised=None)


def test_asking_all_daemons_is_one_script_that_marks_each_answer() -> None:
    asked = subprocess.run(["/bin/sh", "-c", ask_all()], env={"PATH": "/nowhere"}, capture_output=True, check=False)
    assert list(sections(asked.stdout.decode())) == [*DAEMONS, "silent"]
    assert all(daemon.ask in ask_all() for daemon in DAEMONS.values())
