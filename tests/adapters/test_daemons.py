"""What time daemons claim, read from recorded answers of real ones."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.far_shell import fake, real
from clockstep.core.sections import MARK, sections
from clockstep.daemons import DAEMONS, PROGRAMS, UNITS, ask_all, chrony, parse_all, timesyncd
from clockstep.errors import ConfinedError
from clockstep.guest import program
from clockstep.model import Claim
from conftest import until

RUNNING = program("daemons/running.sh")
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


SPECIAL = st.sampled_from(["inf", "-inf", "nan", "sNaN", "1e9999", "-1e999999999", "1e-9999", "9" * 5000, "٣", "0x1p4"])
NUMBERS = st.floats().map(str) | st.integers().map(str) | SPECIAL


@given(st.lists(NUMBERS, min_size=14, max_size=14), st.lists(NUMBERS, min_size=10, max_size=10))
def test_whatever_numbers_it_answers_a_claim_is_bounded(tracking: list[str], source: list[str]) -> None:
    tracking[13] = "Normal"
    claim = chrony.parse(f"{','.join(tracking)}\n{','.join(['^', '*', *source[2:]])}")
    numbers = [claim.root_delay_ns, claim.root_dispersion_ns] if claim else []
    numbers += [claim.offset.value_ns, claim.offset.error_ns] if claim and claim.offset else []
    assert all(number is None or abs(number) < 2**64 for number in numbers)


@given(NUMBERS, NUMBERS)
def test_whatever_spans_timesyncd_answers_its_claim_is_bounded(delay: str, dispersion: str) -> None:
    message = f"{{ Leap=0, RootDelay={delay}s, RootDispersion={dispersion}ms, Ignored=no, PacketCount=1 }}"
    claim = timesyncd.parse(f"PollIntervalUSec=32s\nNTPMessage={message}\n")
    numbers = [claim.root_delay_ns, claim.root_dispersion_ns] if claim else []
    assert all(number is None or abs(number) < 2**63 for number in numbers)


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


@pytest.mark.parametrize("unit", UNITS)
def test_a_daemon_that_has_ended_by_itself_is_named(unit: str) -> None:
    answer = f"{MARK}chrony\n{MARK}silent\n\n{MARK}failed\n{UNITS.index(unit) + 1}:failed\n"
    assert parse_all(answer) == Claim(unit, synchronised=None, failed=True)


def test_what_systemd_calls_failed_is_told_by_the_script_itself(tmp_path: Path) -> None:
    fake(
        tmp_path,
        "systemctl",
        "for unit; do case $unit in ntpd-rs) echo failed;; is-failed) ;; *) echo inactive;; esac; done",
    )
    real(tmp_path, "grep")
    fake(tmp_path, "pidof", "exit 1")
    asked = subprocess.run(["/bin/sh", "-c", ask_all()], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert parse_all(asked.stdout.decode()) == Claim("ntpd-rs", synchronised=None, failed=True)


@pytest.mark.parametrize("denied", ["chronyc", "systemctl"])
def test_who_may_not_ask_a_daemon_says_so_instead_of_that_there_is_none(tmp_path: Path, denied: str) -> None:
    real(tmp_path, "timeout", "grep", "cat")
    (tmp_path / "nobody").touch()
    (tmp_path / denied).write_text(f"#!{tmp_path}/nobody\n")  # which may not be run, as the kernel says it of both
    (tmp_path / denied).chmod(0o755)
    fake(tmp_path, "pidof", "echo 1")
    asked = subprocess.run(["/bin/sh", "-c", ask_all()], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    with pytest.raises(ConfinedError, match="not permitted to query"):
        parse_all(asked.stdout.decode())


OWN_STATUS = "Name:\tchronyd\nNSpid:\t{pid}\nCapEff:\t{capabilities}\n"
SETS, SETS_NOT = "0000000002000400", "00000000a80425fb"


@pytest.mark.parametrize(
    ("pid", "capabilities", "users", "own"),
    [
        ("77", SETS, "user:[1]", True),
        ("77", SETS_NOT, "user:[1]", True),
        ("77\t1", SETS_NOT, "user:[1]", False),
        ("77\t1", SETS, "user:[1]", True),
        ("77\t1", "000001ffffffffff", "user:[1]", True),
        ("77\t1", "000001fffdffffff", "user:[1]", False),
        ("77\t1", SETS, "user:[2]", False),
    ],
)
def test_a_daemon_in_a_pod_is_not_the_nodes_unless_it_may_set_its_clock(
    tmp_path: Path, pid: str, capabilities: str, users: str, own: bool
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    fake(tools, "pidof", "echo 77")
    real(tools, "readlink")
    for name, namespace in (("self", "user:[1]"), ("77", users)):
        (tmp_path / f"proc/{name}/ns").mkdir(parents=True)
        (tmp_path / f"proc/{name}/ns/user").symlink_to(namespace)
    (tmp_path / "proc/77/status").write_text(OWN_STATUS.format(pid=pid, capabilities=capabilities))
    script = f"ROOT={tmp_path}\n{RUNNING}\nrunning chronyd"
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tools)}, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"chronyd\n" if own else b"", b"")


@pytest.mark.parametrize("wrapped", [(), ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")])
def test_a_process_of_this_machine_is_told_from_one_in_a_namespace_of_its_own(
    tmp_path: Path, wrapped: tuple[str, ...]
) -> None:
    program = tmp_path / f"clockstep{os.getpid()}"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([*wrapped, program, "30"]) as process:
        there = f"{RUNNING}\npidof {program.name} >/dev/null && echo there; running {program.name}"
        until(lambda: b"there" in subprocess.run(["/bin/sh", "-c", there], capture_output=True, check=False).stdout, 10)
        found = subprocess.run(["/bin/sh", "-c", there], capture_output=True, check=False).stdout
        process.kill()
    assert found.decode().split() == (["there"] if wrapped else ["there", program.name])


def test_asking_all_daemons_is_one_script_that_marks_each_answer() -> None:
    asked = subprocess.run(["/bin/sh", "-c", ask_all()], env={"PATH": "/nowhere"}, capture_output=True, check=False)
    assert list(sections(asked.stdout.decode())) == [*DAEMONS, "silent", "failed", "denied"]
    assert all(daemon.ask in ask_all() for daemon in DAEMONS.values())
