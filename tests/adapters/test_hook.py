"""The hook: a command of the user's that is run after a correction, and can harm nobody."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from clockstep.cli.session import hooked
from clockstep.config import parse, places, read_cluster
from clockstep.core.selection import Cluster, Wanted
from clockstep.errors import UsageError
from clockstep.host.hook import MOST, Hook
from clockstep.model import Cause, Episode, Facts, Offset, Step, Verdict
from clockstep.sinks.hook import HookSink, run_after
from conftest import until


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_there(pid: int) -> bool:
    """Whether a process runs yet; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def episode(node: str = "web", kind: str = "resumed", *, stepped: bool = True) -> Episode:
    actions, offset = (Step(5),) if stepped else (), Offset(0, 1)
    return Episode(node, Cause(kind), Verdict.GOOD, offset, actions, offset, Facts(), (), 0, 1)


def test_a_command_gets_the_line_on_its_standard_input_and_no_shell(tmp_path: Path) -> None:
    copy = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    assert Hook().run([sys.executable, "-c", copy, str(tmp_path / "$(id)")], b"one line\n") == ""
    assert (tmp_path / "$(id)").read_text() == "one line\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo the reason >&2; exit 3", "failed: exit code 3: the reason"),
        ("exit 1", "failed: exit code 1"),
        ("printf 'a\\033[2Jb'; exit 1", "failed: exit code 1: a\\x1b[2Jb"),
        ("kill -9 $$", "failed: signal 9"),
    ],
)
def test_a_failure_is_said_in_one_line(script: str, said: str) -> None:
    assert Hook().run(sh(script), b"") == said


@pytest.mark.parametrize("command", [["/nowhere/hook"], ["/etc/passwd"], ["/"]])
def test_a_program_that_is_missing_or_may_not_be_run_is_said(command: list[str]) -> None:
    assert Hook().run(command, b"").startswith("cannot be started: ")


def test_one_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hook = Hook(within_s=0.5)
    said = hook.run(sh(f"sleep 600 & echo $! > {pids}; echo $$ >> {pids}; trap '' TERM; wait"), b"")
    assert said == "was ended, since it ran for longer than 0.5 s"
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not is_there(pid), 5)  # type: ignore[misc]


def test_one_that_floods_is_ended_and_costs_no_memory() -> None:
    began_s = time.monotonic()
    assert Hook().run(sh("exec cat /dev/zero"), b"") == f"was ended, since it printed more than {MOST} bytes"
    assert time.monotonic() - began_s < 10


def test_one_that_never_reads_its_input_and_leaves_something_behind_holds_nobody_up(tmp_path: Path) -> None:
    began_s = time.monotonic()
    assert Hook().run(sh(f"sleep 30 & echo $! > {tmp_path / 'pid'}; exit 0"), b"x" * (1 << 20)) == ""
    assert time.monotonic() - began_s < 10
    pid = int((tmp_path / "pid").read_text())
    assert is_there(pid)
    os.kill(pid, 9)


def test_what_it_leaves_behind_and_prints_on_for_ever_holds_nobody_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    chatter = "import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.0001)"
    began_s = time.monotonic()
    assert (
        Hook()
        .run(sh(f'{sys.executable} -c "{chatter}" & echo $! > {pid}; sleep 0.3; exit 4'), b"")
        .startswith("failed: exit code 4")
    )
    assert time.monotonic() - began_s < 10
    os.kill(int(pid.read_text()), 9)


def test_it_does_not_pose_as_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/somewhere")
    assert Hook().run(sh('test -z "$NOTIFY_SOCKET"'), b"") == ""


def test_what_runs_as_the_watch_ends_is_ended_and_nothing_is_started_then() -> None:
    hook, said = Hook(), list[str]()
    thread = threading.Thread(target=lambda: said.append(hook.run(sh("sleep 600"), b"")))
    thread.start()
    until(lambda: bool(hook._running), 5)
    hook.cut_off()
    thread.join(10)
    assert said == ["failed: signal 9"]
    assert "cannot be started" in hook.run(sh("exit 0"), b"")


def test_it_is_run_after_a_correction_alone_and_named_where_it_fails(tmp_path: Path) -> None:
    log, told = tmp_path / "log", list[str]()
    command = sh(f"cat >> {log}; exit 5")
    sink = HookSink(lambda: command, Hook(), lambda _node, text: told.append(text))
    sink.seen(episode(stepped=False), new=True)
    sink.seen(episode(), new=False)
    assert not log.exists()
    sink.seen(episode("db"), new=True)
    sink.seen(episode("web", "reverted", stepped=False), new=True)
    assert [json.loads(line)["node"] for line in log.read_text().splitlines()] == ["db", "web"]
    assert told == [f"{node}: on_corrected: /bin/sh failed: exit code 5" for node in ("db", "web")]


def test_after_a_revert_it_is_run_for_each_node_and_one_that_fails_costs_no_other(tmp_path: Path) -> None:
    log, told = tmp_path / "log", list[str]()
    command = sh(f'read line; case $line in *node3*) exit 1;; esac; echo "$line" >> {log}')
    episodes = [episode(f"node{number}") for number in range(12)]
    run_after(command, episodes, lambda _node, text: told.append(text), Hook())
    assert len(log.read_text().splitlines()) == 11
    assert [text.partition(":")[0] for text in told] == ["node3"]


def test_a_command_runs_the_hook_of_its_cluster_and_says_what_went_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    hook = tuple(sh(f"cat >> {log}; exit 7"))
    hooked(Wanted(cluster=Cluster("prod", "f", ("*",), on_corrected=hook)), [episode("web")])
    hooked(Wanted(cluster=Cluster("prod", "f", ("*",))), [episode("db")])
    hooked(Wanted(), [episode("db")])
    assert [json.loads(line)["node"] for line in log.read_text().splitlines()] == ["web"]
    assert capfd.readouterr() == ("", "web: on_corrected: /bin/sh failed: exit code 7\n")


CONFIG = '[cluster.prod]\nnodes = ["*"]\non_corrected = ["/usr/bin/notify", "now"]\n'


def test_a_configuration_says_what_is_run() -> None:
    assert parse(CONFIG, "f")["prod"].on_corrected == ("/usr/bin/notify", "now")
    assert parse('[cluster.prod]\nnodes = ["*"]\n', "f")["prod"].on_corrected == ()


@pytest.mark.parametrize("value", ["[]", '""', '"a word"', '[""]', '["a\\u0000b"]', "[5]", "true"])
def test_what_cannot_be_run_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="on_corrected"):
        parse(f'[cluster.prod]\nnodes = ["*"]\non_corrected = {value}\n', "f")


def test_a_configuration_that_nobody_named_starts_no_program(tmp_path: Path) -> None:
    (tmp_path / "clockstep.toml").write_text(CONFIG)
    with pytest.raises(UsageError, match=r"on_corrected of .cluster.prod. starts a program") as caught:
        read_cluster(places(None, {}, None, here=tmp_path), None)
    assert "--config" in caught.value.hint
    cluster = read_cluster(places(str(tmp_path / "clockstep.toml"), {}, None), None)
    assert cluster
    assert cluster.on_corrected
