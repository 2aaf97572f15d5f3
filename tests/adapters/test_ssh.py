"""ssh as a way to a node, against clients that misbehave: nothing is believed, awaited for ever, or left running."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from adapters.far_shell import SECOND, Host, client, fake, real, shell_with
from clockstep.errors import LONGEST, DeadlineError, NotSteppedError, ReachError
from clockstep.model import Guest
from clockstep.ports import Login, Ways
from clockstep.reach.injection import UNAVAILABLE
from clockstep.reach.logins import configured, login
from clockstep.reach.shell import ShellEndedError
from clockstep.reach.ssh import PROBE_NS, SshReach, explained, same_machine
from conftest import until

Connect = Callable[[list[str]], SshReach]
TRUE = ["/bin/sh", "-c", "exit 0"]
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key verification failed.
"""


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def connect(host: Host) -> Iterator[Connect]:
    opened: list[SshReach] = []

    def make(command: list[str]) -> SshReach:
        opened.append(SshReach(Login("node"), host, host, command=command))
        return opened[-1]

    yield make
    for reach in opened:
        reach.close()


def runs(pid: str) -> bool:
    """Whether a process runs; one that has ended may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ssh_asks_nothing_shares_nothing_and_leaves_host_keys_to_the_configuration(
    connect: Connect, host: Host, tmp_path: Path
) -> None:
    reach = SshReach(
        Login("-node", ("-F", "my config")),
        host,
        host,
        command=client(f'printf "%s\\n" "$@" > {tmp_path}/asked; exec /bin/sh'),
    )
    reach.run(TRUE, b"", host.within())
    reach.close()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:2] == ["-F", "my config"]
    assert asked[-3:] == ["--", "-node", "sh"]
    assert {"BatchMode=yes", "ControlPath=none", "RequestTTY=no"} <= set(asked)
    assert not any("KeyChecking" in word or "KnownHosts" in word for word in asked)


@pytest.mark.parametrize(
    ("configuration", "own"),
    [
        ("hostname 10.0.0.7\nport 22", True),
        ("hostname 10.0.0.7\nproxyjump bastion", False),
        ("hostname 10.0.0.7\nproxycommand nc %h %p", False),
        ("", False),
    ],
)
def test_the_connection_is_made_here_unless_the_configuration_has_another_way(
    connect: Connect, host: Host, tmp_path: Path, configuration: str, own: bool
) -> None:
    reach = connect(client(f'printf "%s\n" "$@" > {tmp_path}/asked; exec /bin/sh', configuration))
    reach.run(TRUE, b"", host.within())
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ("ProxyUseFdpass=yes" in asked) is own
    assert any(word.startswith("ProxyCommand=") for word in asked) is own


def test_a_host_without_an_address_is_ssh_s_own_message_with_a_hint(host: Host) -> None:
    reach = SshReach(Login("nowhere.invalid", ("-F", os.devnull)), host, host)
    with pytest.raises(ReachError, match=r"^ssh: Could not resolve hostname nowhere\.invalid: ") as caught:
        reach.clock()
    assert caught.value.lasting
    assert "--ssh-config" in caught.value.hint
    reach.close()


def test_an_idle_connection_that_is_dead_is_given_up_soon_and_a_new_one_made(host: Host, tmp_path: Path) -> None:
    real(tmp_path, "perl", "id", "cat", "true", "sh")
    command = client(f"echo $$ >> {tmp_path}/pids; PATH={tmp_path} exec /bin/sh")
    reach = SshReach(Login("node"), host, host, command=command, stale_ns=0)
    reach.clock()
    reach.clock()
    (first,) = (tmp_path / "pids").read_text().split()
    os.killpg(int(first), signal.SIGSTOP)
    began = time.monotonic_ns()
    reach.clock()
    first_again, second = (tmp_path / "pids").read_text().split()
    reach.close()
    assert first_again == first != second
    assert time.monotonic_ns() - began > PROBE_NS
    assert not runs(first)


def test_what_a_login_prints_first_is_passed_over(connect: Connect, host: Host) -> None:
    reach = connect(client("echo Welcome; echo 'last login: never' >&2; exec /bin/sh"))
    assert reach.run(["/bin/sh", "-c", "echo hi"], b"", host.within()) == (0, "hi\n", "")


@pytest.mark.parametrize(
    "script",
    [
        "echo This account is currently not available.; exit 1",
        "head -c 5000 /dev/urandom; exit 0",
        "head -c 5000 /dev/urandom >&2; exit 255",
        "exit 255",
        "exec >&-; exec cat",
    ],
)
def test_a_client_that_ends_without_a_shell_is_an_error_with_its_last_words(
    connect: Connect, host: Host, script: str
) -> None:
    with pytest.raises(ReachError) as caught:
        connect(client(script)).run(TRUE, b"", host.within())
    assert 0 < len(str(caught.value)) <= LONGEST + len("ssh: ")
    assert str(caught.value).isprintable()
    assert caught.value.hint


def test_an_ssh_that_does_not_say_what_its_configuration_comes_to_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    assert configured(Login("web"), ["/bin/sh", "-c", f"sleep 600 & echo $! >{pid}; wait"], 0.5) == []
    process = Path("/proc") / pid.read_text().strip() / "cmdline"
    until(lambda: not (process.exists() and process.read_bytes()), 5)  # a zombie's is empty


@pytest.mark.parametrize("where", ["", ">&2"])
def test_megabytes_instead_of_a_shell_are_cut_off(connect: Connect, host: Host, where: str) -> None:
    with pytest.raises(ReachError, match="1 MiB"):
        connect(client(f"cat /dev/zero {where}; exit")).run(TRUE, b"", host.within())


def test_a_command_that_prints_megabytes_is_cut_off_and_the_node_reached_again(connect: Connect, host: Host) -> None:
    reach = connect(client("exec /bin/sh"))
    with pytest.raises(ReachError, match="1 MiB"):
        reach.run(["cat", "/dev/zero"], b"", host.within())
    assert reach.run(TRUE, b"", host.within()).code == 0


@pytest.mark.parametrize("script", ["cat >/dev/null; exit", "exec tail -f /dev/null", "exec 2>&-; cat >/dev/null; :"])
def test_a_client_that_hangs_ends_at_the_deadline(host: Host, script: str) -> None:
    reach = SshReach(Login("node"), host, host, command=client(script), connect_ns=SECOND)
    with pytest.raises(DeadlineError):
        reach.run(TRUE, b"x" * 10**6, host.within(0.3))
    reach.close()


def test_a_shell_that_dies_is_an_error_and_the_next_use_connects_again_after_a_pause(
    connect: Connect, host: Host
) -> None:
    reach = connect(client("exec /bin/sh"))
    with pytest.raises(ReachError, match="the connection broke"):
        reach.run(["/bin/sh", "-c", "kill -9 $PPID"], b"", host.within())
    assert reach.run(TRUE, b"", host.within()).code == 0
    assert any(nap > 0 for nap in host.naps)


@pytest.mark.parametrize("tool", ["perl", "python3", "date"])
def test_the_clock_is_read_with_whatever_there_is(connect: Connect, tmp_path: Path, tool: str) -> None:
    real(tmp_path, tool)
    offset = connect(shell_with(tmp_path)).clock().offset
    assert offset.earliest_ns <= 0 <= offset.latest_ns


@pytest.mark.parametrize("nanoseconds", ["%N", "N", ""])
def test_a_date_without_nanoseconds_bounds_a_clock_within_a_second(
    connect: Connect, tmp_path: Path, nanoseconds: str
) -> None:
    fake(tmp_path, "date", f"echo $({shutil.which('date')} +%s) {nanoseconds}")
    offset = connect(shell_with(tmp_path)).clock().offset
    assert offset.earliest_ns <= 0 <= offset.latest_ns
    assert SECOND // 2 < offset.error_ns <= 2 * SECOND


@pytest.mark.parametrize("answer", ["", "noon", "-5 000000000", "x" * 10**5, "1 2 3"])
def test_an_answer_that_is_no_time_is_refused(connect: Connect, tmp_path: Path, answer: str) -> None:
    fake(tmp_path, "date", f"echo '{answer}'")
    with pytest.raises(ReachError, match="asked for its clock") as caught:
        connect(shell_with(tmp_path)).clock()
    assert "perl or python3" in caught.value.hint


def test_a_time_after_2262_is_refused(connect: Connect, tmp_path: Path) -> None:
    fake(tmp_path, "date", "echo 9999999999 000000000")
    with pytest.raises(ReachError, match="9999999999"):
        connect(shell_with(tmp_path)).clock()


def test_a_clock_program_that_dies_is_an_error_at_once(connect: Connect, tmp_path: Path) -> None:
    fake(tmp_path, "perl", 'for mark; do :; done; echo "$mark"; exit 0')
    with pytest.raises(ReachError, match="it ended"):
        connect(shell_with(tmp_path)).clock()


def test_who_is_not_root_steps_by_sudo(connect: Connect, host: Host, tmp_path: Path) -> None:
    fake(tmp_path, "id", "echo 1000")
    fake(tmp_path, "sudo", f'printf "%s\\n" "$1" >> {tmp_path}/sudo-asked; shift; exec "$@"')
    fake(tmp_path, "perl", "echo done 0 1")
    real(tmp_path, "true")
    reach = connect(shell_with(tmp_path))
    reach.step(1, "token")
    assert reach.run(TRUE, b"", host.within()).code == 0
    assert (tmp_path / "sudo-asked").read_text() == "-n\n" * 3  # which machine; the step; the command


def test_where_sudo_wants_a_password_commands_run_and_nothing_is_stepped(
    connect: Connect, host: Host, tmp_path: Path
) -> None:
    fake(tmp_path, "id", "echo 1000")
    fake(tmp_path, "sudo", "echo 'sudo: a password is required' >&2; exit 1")
    fake(tmp_path, "perl", f": > {tmp_path}/stepped")
    reach = connect(shell_with(tmp_path))
    assert reach.run(TRUE, b"", host.within()).code == 0
    with pytest.raises(NotSteppedError, match="a password is required") as caught:
        reach.step(1, "token")
    assert caught.value.lasting
    assert "sudo without a password" in caught.value.hint
    assert not (tmp_path / "stepped").exists()


def test_where_there_is_no_tool_for_the_step_the_date_is_set_at_a_whole_second(
    connect: Connect, host: Host, tmp_path: Path
) -> None:
    fake(tmp_path, "id", "echo 0")
    fake(tmp_path, "perl", f"exit {UNAVAILABLE}")
    fake(tmp_path, "date", f'echo "$@" > {tmp_path}/set')
    before = host.now().at_ns
    connect(shell_with(tmp_path)).step(5 * SECOND, "token")
    assert (tmp_path / "set").read_text() == f"-u -s @{(before + host.naps[-1]) // SECOND + 1}\n" or (
        (tmp_path / "set").read_text() == f"-u -s @{(before + host.naps[-1]) // SECOND}\n"
    )


def test_a_date_that_cannot_be_set_says_what_to_install(connect: Connect, tmp_path: Path) -> None:
    fake(tmp_path, "id", "echo 0")
    fake(tmp_path, "perl", f"exit {UNAVAILABLE}")
    fake(tmp_path, "date", "echo 'cannot set date' >&2; exit 1")
    with pytest.raises(ReachError, match="cannot set date") as caught:
        connect(shell_with(tmp_path)).step(5 * SECOND, "token")
    assert caught.value.lasting
    assert "perl or python3" in caught.value.hint


@pytest.mark.parametrize("swapped", [False, True])
def test_a_machine_is_known_by_its_uuid_also_where_firmware_swaps_its_bytes(swapped: bool) -> None:
    meant = uuid4()
    there = UUID(bytes=meant.bytes_le) if swapped else meant
    assert same_machine(str(meant), str(there).upper())


@pytest.mark.parametrize("there", ["", "Not Settable", "0"])
def test_what_is_no_uuid_tells_nothing(there: str) -> None:
    assert same_machine(str(uuid4()), there) is None


def test_another_machine_under_the_name_is_refused(host: Host, tmp_path: Path) -> None:
    fake(tmp_path, "id", "echo 0")
    fake(tmp_path, "cat", f"echo {uuid4()}")
    fake(tmp_path, "perl", f": > {tmp_path}/asked")
    reach = SshReach(Login("node"), host, host, str(uuid4()), shell_with(tmp_path))
    for use in (reach.clock, lambda: reach.step(1, "token"), lambda: reach.run(TRUE, b"", host.within())):
        with pytest.raises(ReachError, match="another machine") as caught:
            use()
        assert caught.value.lasting
    assert not (tmp_path / "asked").exists()


def test_a_host_that_nobody_has_named_must_show_that_it_is_the_machine(host: Host, tmp_path: Path) -> None:
    fake(tmp_path, "id", "echo 0")
    fake(tmp_path, "perl", f": > {tmp_path}/asked")
    reach = SshReach(Login("node", sure=False), host, host, str(uuid4()), shell_with(tmp_path))
    with pytest.raises(ReachError, match="may be another one"):
        reach.step(1, "token")
    assert not (tmp_path / "asked").exists()


GUEST = Guest("node", "uuid-1", "running")


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        (Ways("file"), Login("node", ("-F", "file"))),
        (Ways("file", vagrant=lambda uuid: Login("v")), Login("node", ("-F", "file"))),
        (Ways(vagrant=lambda uuid: Login("v")), Login("v")),
        (Ways(only="ssh"), Login("node")),
        (Ways(), None),
    ],
)
def test_the_file_counts_first_then_vagrant_then_the_users_word(ways: Ways, expected: Login | None) -> None:
    assert login(GUEST, ways, client("exit 1", "hostname node")) == expected


@pytest.mark.parametrize(
    ("known", "host"), [("Host web\n", "web"), ("Host node\n", "node"), ("Host node web\n", "node"), ("", "node")]
)
def test_a_file_may_call_a_vagrant_machine_by_either_name(tmp_path: Path, known: str, host: str) -> None:
    file = tmp_path / "ssh_config"
    file.write_text(f"{known}    HostName 10.0.0.7\n" if known else "")
    ways = Ways(str(file), called={GUEST.uuid: "web"})
    assert login(GUEST, ways) == Login(host, ("-F", str(file)))


@pytest.mark.parametrize(("says", "known"), [("hostname 10.0.0.7", True), ("hostname NODE", False), ("", False)])
def test_the_users_own_configuration_is_taken_where_it_says_which_host_the_name_is(says: str, known: bool) -> None:
    found = login(GUEST, Ways(), client("exit 1", says))
    assert found == (Login("node", sure=False) if known else None)


def test_a_port_where_nobody_listens_is_ssh_s_own_message_with_a_hint(connect: Connect, host: Host) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: taken, and refused
        port = str(unused.getsockname()[1])
        reach = SshReach(Login("127.0.0.1", ("-F", os.devnull, "-p", port)), host, host)
        with pytest.raises(ReachError, match="Connection refused") as caught:
            reach.clock()
    assert not caught.value.lasting
    assert "sshd" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (CHANGED, "ssh-keygen -R"),
        ("root@node: Permission denied (publickey).", "ssh-agent"),
        ("ssh: Could not resolve hostname node: Name or service not known", "--ssh-config"),
        ("x: line 1: Bad configuration option: hsot\nx: terminating, 1 bad configuration options", "correct"),
    ],
)
def test_what_does_not_pass_by_itself_is_lasting_and_says_what_to_do(said: str, hint: str) -> None:
    error = explained(ShellEndedError(said, answered=False))
    assert error.lasting
    assert hint in error.hint
    assert "\n" not in error.message
    assert "@@" not in error.message


def test_a_clock_without_any_tool_is_an_error_at_once(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(ReachError, match="it ended"):
        connect(shell_with(tmp_path)).clock()


def test_no_client_at_all_names_the_package(connect: Connect, host: Host) -> None:
    with pytest.raises(ReachError) as caught:
        connect(["/nonexistent/ssh"]).clock()
    assert "openssh-client" in caught.value.hint


def test_a_closed_connection_leaves_nothing_running_and_is_not_opened_again(
    connect: Connect, host: Host, tmp_path: Path
) -> None:
    reach = connect(client(f"tail -f /dev/null & echo $! $$ > {tmp_path}/pids; exec /bin/sh"))
    reach.run(TRUE, b"", host.within())
    pids = (tmp_path / "pids").read_text().split()
    assert all(runs(pid) for pid in pids)
    reach.close()
    until(lambda: not any(runs(pid) for pid in pids), 10)
    with pytest.raises(ReachError, match="closed") as caught:
        reach.run(TRUE, b"", host.within())
    assert caught.value.lasting


def test_closing_ends_a_wait_in_another_thread(connect: Connect, host: Host, tmp_path: Path) -> None:
    reach = connect(client(f"echo $$ > {tmp_path}/pid; cat >/dev/null; exit"))
    errors: list[ReachError] = []

    def wait() -> None:
        try:
            reach.run(TRUE, b"", host.within(600))
        except ReachError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "", 10)
    reach.close()
    waiting.join(30)
    assert len(errors) == 1
