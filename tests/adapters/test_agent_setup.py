"""A node's own agent, set up by its script on made-up machines: what is found, what is refused, and the way back."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.machine import Machine
from clockstep.agent.bundle import bundle
from clockstep.core.agent_unit import CONTENT, MARK, PROGRAM, UNIT, UNIT_FILE
from clockstep.core.own_agent import Found, objection, parse, plan_of, planned_agent, read_state, wanted_unit
from clockstep.core.setup import SetupOutcome
from clockstep.flows.own_agent import FOLDER, PIECE, SCRIPT, found_by, install_by, remove_by
from clockstep.ports import Output

PYTHON = """#!/bin/sh
case $3 in -c) echo 3.11 ;; *) grep -q . "$3" && echo "clockstep 0" ;; esac
"""
OLD = PYTHON.replace("3.11", "3.9")
PATIENCE_S = 60


class AgentMachine(Machine):
    """A made-up machine with chronyd and a python, on which the agent's script runs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.program("python3", PYTHON)
        self.program("journalctl", "#!/bin/sh\necho 'clockstep-agent: the memory is full'\necho '  buy some'\n")
        self.before: list[str] = []

    def script(self, words: list[str], stdin: bytes = b"") -> Output:
        text = SCRIPT.replace("PATH=$PATH:/usr/sbin:/sbin", "")
        as_usual = ["/usr/bin/env", "--default-signal"]  # a test run by nohup(1) hands on that SIGHUP is ignored
        command = [*as_usual, *self.before, "/bin/sh", "-c", 'echo $$ >"$ROOT/pid"; exec "$@"', "x"]
        command += ["/bin/sh", "-c", text, "own-agent", *words]
        environment = {"ROOT": str(self.root), "PATH": str(self.bin)}
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, check=False, timeout=PATIENCE_S
        )
        return Output(done.returncode, done.stdout.decode(), done.stderr.decode())

    def runs(self, argv: Sequence[str], stdin: bytes, _within_ns: int) -> Output:
        """What the flow and `service install` run it by."""
        return self.script(list(argv[4:]), stdin)

    def look(self) -> Found:
        return found_by(self.runs)

    def install(self, file: bytes) -> str:
        return install_by(self.runs, self.look(), file)

    def left(self) -> set[str]:
        """All files that an agent's setup could have left."""
        places = [self.root / path.lstrip("/") for path in ("/etc/systemd", "/usr", FOLDER)]
        return {str(file.relative_to(self.root)) for place in places for file in place.rglob("*") if file.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> AgentMachine:
    return AgentMachine(tmp_path)


def file(version: str = "one") -> bytes:
    """What stands for the agent's file."""
    return f"{CONTENT} {version}\n".encode()


def test_it_is_installed_started_found_again_and_removed_without_a_trace(machine: AgentMachine) -> None:
    before = machine.look()
    assert (before.applied, before.unit, before.program, objection(before)) == (False, None, "", "")
    assert machine.install(file()) == "done"
    assert machine.read(PROGRAM).encode() == file()
    assert (machine.root / PROGRAM.lstrip("/")).stat().st_mode & 0o777 == 0o755
    assert (machine.root / UNIT_FILE.lstrip("/")).stat().st_mode & 0o777 == 0o644
    assert machine.calls().splitlines()[-3:] == ["daemon-reload", f"enable {UNIT}", f"restart {UNIT}"]
    found = machine.look()
    assert (found.applied, found.interrupted, found.active) == (True, False, True)
    assert found.program == hashlib.sha256(file()).hexdigest()
    assert found.unit == wanted_unit(found)
    assert not plan_of(found, file()).changes
    assert remove_by(machine.runs) == "done"
    assert machine.left() == set()
    assert f"disable --now {UNIT}" in machine.calls()
    assert not machine.look().applied


def test_the_agents_own_file_is_what_is_carried_and_the_systems_python_runs_it(machine: AgentMachine) -> None:
    (machine.bin / "python3").unlink()
    (machine.bin / "python3").symlink_to("/usr/bin/python3")
    found = machine.look()
    assert found.python == str(machine.bin / "python3")
    assert machine.install(bundle()) == "done"
    assert (machine.root / PROGRAM.lstrip("/")).read_bytes() == bundle()
    assert CONTENT.encode() in bundle()


def test_what_is_found_decides_what_the_unit_asks_for(machine: AgentMachine) -> None:
    machine.clock(0, "52:54:00:12:34:56", card="eth0")
    machine.clock(1, "KVM virtual PTP", "/dev/ptp_kvm")
    assert (machine.look().clock, machine.look().forks) == ("/dev/ptp1 KVM virtual PTP", False)
    (machine.root / "sys/bus/acpi/drivers/vmgenid/module").mkdir(parents=True)
    assert not machine.look().forks
    (machine.root / "sys/bus/acpi/drivers/vmgenid/QEMUVGID:00").mkdir()
    found = machine.look()
    assert found.forks
    unit = wanted_unit(found)
    assert "CapabilityBoundingSet=CAP_SYS_TIME CAP_SYSLOG CAP_DAC_OVERRIDE\n" in unit
    assert "DeviceAllow=/dev/kmsg r\n" in unit
    assert plan_of(found, file()).clock == "/dev/ptp1 KVM virtual PTP"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("", "there is no python3: install it, 3.11 or newer"),
        (OLD, "python3 is 3.9, and the agent needs python 3.11 or newer"),
        ("#!/bin/sh\nexit 1\n", "there is no python3"),
    ],
)
def test_without_a_python_that_is_new_enough_nothing_is_done(machine: AgentMachine, program: str, said: str) -> None:
    (machine.bin / "python3").unlink()
    if program:
        machine.program("python3", program)
    assert said in objection(machine.look())
    machine.program("python3.12", PYTHON.replace("3.11", "3.12"))
    assert objection(machine.look()) == ""
    assert machine.look().python == str(machine.bin / "python3.12")


def test_the_systems_own_python_is_taken_before_one_that_is_first_in_the_callers_path(machine: AgentMachine) -> None:
    machine.program("python3.12", PYTHON.replace("3.11", "3.12"))
    assert machine.look().python == str(machine.bin / "python3")
    there = machine.root / "usr/bin/python3"
    there.parent.mkdir(parents=True)
    there.symlink_to(machine.bin / "python3")
    assert machine.look().python == str(there)
    machine.program("old", OLD)
    there.unlink()
    there.symlink_to(machine.bin / "old")
    found = machine.look()
    assert found.python == str(machine.bin / "python3")
    assert [file for file, _ in found.pythons] == [str(there), found.python, str(machine.bin / "python3.12")]


def test_where_systemd_does_not_run_nothing_is_done(machine: AgentMachine) -> None:
    (machine.root / "run/systemd/system").rmdir()
    assert objection(machine.look()).startswith("systemd does not run")


def test_without_chronyd_and_without_a_phc_there_is_nothing_to_go_by(machine: AgentMachine) -> None:
    machine.write("/units/chrony", "inactive\n")
    assert "nothing to go by" in objection(machine.look())
    machine.clock(0, "hyperv")
    found = machine.look()
    assert objection(found) == ""
    assert "CAP_DAC_OVERRIDE" not in wanted_unit(found)


@pytest.mark.parametrize("place", [UNIT_FILE, PROGRAM, f"/lib/systemd/system/{UNIT}"])
def test_a_file_of_somebody_elses_is_left_alone_and_said(machine: AgentMachine, place: str) -> None:
    machine.write(place, "[Unit]\n# mine\n")
    found = machine.look()
    assert objection(found) == f"{place} exists, and clockstep did not write it: move it away, or keep that one"
    assert planned_agent("node", plan_of(found, file())).outcome is SetupOutcome.REFUSED
    assert (found.applied, remove_by(machine.runs)) == (False, "done")
    assert machine.read(place) == "[Unit]\n# mine\n"


def test_a_unit_that_is_masked_is_somebody_elses_decision(machine: AgentMachine) -> None:
    unit = machine.root / UNIT_FILE.lstrip("/")
    unit.parent.mkdir(parents=True)
    unit.symlink_to("/dev/null")
    assert objection(machine.look()).startswith(f"{UNIT_FILE} exists")


def test_a_read_only_etc_is_said_before_anything_is_written(machine: AgentMachine) -> None:
    etc = machine.root / "etc"
    bound = f"mount --bind {etc} {etc} && mount -o remount,bind,ro {etc}"
    shell = f'before=$PATH; PATH=/usr/bin:/bin; {bound} && PATH=$before && exec "$@"'
    machine.before = ["/usr/bin/unshare", "--map-root-user", "--mount", "/bin/sh", "-c", shell, "x"]
    answer = machine.script(["look"])
    found = parse(answer.out)
    assert found, answer.err
    assert objection(found) == "/etc is read-only"
    assert machine.left() == set()


def test_a_python_that_cannot_run_it_changes_nothing(machine: AgentMachine) -> None:
    machine.program("python3", PYTHON.replace("grep -q . ", "echo 'SyntaxError: x' >&2; exit 1; "))
    said = machine.install(file())
    assert said == f"refused {machine.bin}/python3 cannot run the agent: SyntaxError: x"
    assert machine.left() == set()
    assert "restart" not in machine.calls()


def test_one_that_does_not_start_is_removed_again_and_says_why(machine: AgentMachine) -> None:
    machine.write("/refuses", "yes\n")
    assert machine.install(file()) == "failed the agent does not start: the memory is full buy some"
    assert machine.left() == set()


def test_a_newer_one_that_does_not_start_gives_way_to_the_one_before(machine: AgentMachine) -> None:
    assert machine.install(file("one")) == "done"
    unit = machine.read(UNIT_FILE)
    machine.write("/refuses", "once\n")
    assert machine.install(file("two")).startswith("failed the agent does not start")
    assert (machine.read(PROGRAM).encode(), machine.read(UNIT_FILE)) == (file("one"), unit)
    found = machine.look()
    assert (found.active, found.interrupted) == (True, False)


def test_what_was_not_proven_from_outside_goes_back_to_how_it_was(machine: AgentMachine) -> None:
    assert machine.install(file("one")) == "done"
    assert machine.install(file("two")) == "done"
    assert machine.script(["back"]).out == "done\n"
    assert machine.read(PROGRAM).encode() == file("one")
    assert remove_by(machine.runs) == "done"
    assert machine.install(file("three")) == "done"
    assert machine.script(["back"]).out == "done\n"
    assert machine.left() == set()


def test_a_file_of_many_pieces_arrives_whole_also_after_one_that_broke_off(machine: AgentMachine) -> None:
    large = file() + b"# more\n" * 20_000
    assert len(large) > 4 * PIECE
    assert machine.script(["keep", "program", "1", "3"], b"what broke off\n").out == "kept\n"
    assert machine.install(large) == "done"
    assert (machine.root / PROGRAM.lstrip("/")).read_bytes() == large
    assert not plan_of(machine.look(), large).changes


def test_a_file_to_which_a_late_piece_came_is_not_taken_for_the_agents(machine: AgentMachine) -> None:
    def run(argv: Sequence[str], stdin: bytes, within_ns: int) -> Output:
        if argv[4] == "apply":
            assert machine.script(["keep", "program", "2", "2"], b"late").out == "kept\n"
        return machine.runs(argv, stdin, within_ns)

    assert install_by(run, machine.look(), file()) == "refused its files did not arrive whole: run it again"
    assert machine.left() == set()


CUTS = ("daemon-reload", "enable", "restart")


@pytest.mark.parametrize("again", ["apply", "undo"])
@pytest.mark.parametrize("at", CUTS)
def test_one_that_was_killed_in_its_middle_is_continued_or_undone(machine: AgentMachine, at: str, again: str) -> None:
    whole = (machine.bin / "systemctl").read_text()
    killing = whole.replace("case $1 in\n", f"case $1 in\n{at}) kill -9 $(cat $root/pid); exit 1 ;;\n", 1)
    machine.program("systemctl", killing)
    assert machine.install(file()).startswith("broken it ended without a result (exit code -9)")
    machine.program("systemctl", whole)
    cut = machine.look()
    assert (cut.interrupted, cut.applied, objection(cut)) == (True, True, "")
    assert plan_of(cut, file()).interrupted
    if again == "apply":
        assert machine.install(file()) == "done"
        assert not plan_of(machine.look(), file()).changes
    assert remove_by(machine.runs) == "done"
    assert machine.left() == set()


def kept_by(machine: AgentMachine, tool: str, words: str, then: str) -> None:
    """Have a tool do something else for a file that is kept aside before a newer one takes its place."""
    real = (machine.bin / tool).readlink()
    (machine.bin / tool).unlink()
    machine.program(tool, f'#!/bin/sh\ncase "$*" in {words}) {then} ;; esac\nexec {real} "$@"\n')


def test_an_update_that_was_killed_while_it_kept_the_earlier_agent_still_gives_way_to_that(
    machine: AgentMachine,
) -> None:
    assert machine.install(file("one")) == "done"
    copy = (machine.bin / "cp").readlink()
    kept_by(machine, "cp", "'-p '*", f"kill -9 $(cat {machine.root}/pid); exit 1")
    assert machine.install(file("two")).startswith("broken")
    (machine.bin / "cp").unlink()
    (machine.bin / "cp").symlink_to(copy)
    machine.write("/refuses", "once\n")
    assert machine.install(file("two")).startswith("failed the agent does not start")
    assert machine.read(PROGRAM).encode() == file("one")
    assert machine.look().active


def test_where_the_earlier_agent_cannot_be_kept_nothing_is_changed(machine: AgentMachine) -> None:
    assert machine.install(file("one")) == "done"
    kept_by(machine, "cp", "'-p '*", "exit 1")
    assert machine.install(file("two")) == f"refused {machine.root}{FOLDER} cannot be written"
    assert machine.read(PROGRAM).encode() == file("one")
    assert (machine.look().active, machine.look().interrupted) == (True, False)


def test_a_unit_that_could_not_be_stopped_is_there_to_be_stopped_later(machine: AgentMachine) -> None:
    assert machine.install(file()) == "done"
    whole = (machine.bin / "systemctl").read_text()
    machine.program("systemctl", whole.replace("case $1 in\n", "case $1 in\ndisable) echo no bus; exit 1 ;;\n", 1))
    assert remove_by(machine.runs) == "broken its unit could not be stopped: no bus"
    assert machine.look().applied
    machine.program("systemctl", whole)
    assert remove_by(machine.runs) == "done"
    assert machine.read(f"/units/{UNIT.removesuffix('.service')}") == "inactive\n"
    assert machine.left() == set()


def test_what_was_brought_there_and_never_applied_is_removed_too(machine: AgentMachine) -> None:
    assert machine.script(["keep", "program", "1", "1"], file()).out == "kept\n"
    assert machine.look().applied
    assert remove_by(machine.runs) == "done"
    assert machine.left() == set()


def test_one_that_was_hung_up_on_puts_it_back(machine: AgentMachine) -> None:
    whole = (machine.bin / "systemctl").read_text()
    machine.program(
        "systemctl", whole.replace("case $1 in\n", "case $1 in\nenable) kill -HUP $(cat $root/pid) ;;\n", 1)
    )
    assert machine.install(file()) == "failed it was interrupted"
    assert machine.left() == set()


def test_two_at_once_are_kept_apart(machine: AgentMachine) -> None:
    lock = machine.root / "run/clockstep-agent-setup.lock"
    with subprocess.Popen(["/usr/bin/flock", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout
        holder.stdin.write(b"held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"held\n"
        assert machine.install(file()) == "refused another setup of the agent is running"
        holder.stdin.close()
    assert machine.install(file()) == "done"


def test_its_state_is_what_systemd_and_the_agent_say(machine: AgentMachine) -> None:
    state = read_state(machine.script(["status"]).out)
    assert (state.active, state.says, state.why) == ("inactive", None, "the memory is full buy some")
    machine.install(file())
    machine.write("/says", "watching by=phc steps=yes verdict=good offset_ns=-5 error_ns=9\n")
    state = read_state(machine.script(["status"]).out)
    assert (state.active, state.why) == ("active", "")
    assert state.says and state.says.by == "phc"
    assert MARK in machine.read(UNIT_FILE)


def test_a_folder_for_notes_that_cannot_be_made_is_refused(machine: AgentMachine) -> None:
    machine.write(FOLDER, "a file\n")
    answer = machine.script(["keep", "program", "1", "1"], file())
    assert (answer.code, answer.out) == (1, f"refused {machine.root}{FOLDER} cannot be written\n")
