"""The forms of what is printed, and where the global options may be: on libvirt's own test driver."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clockstep.cli import run
from clockstep.cli.context import wants_json
from clockstep.render.forms import NAMES
from clockstep.render.output import Story, print_page
from clockstep.render.schema import PRINTED
from clockstep.render.stamps import ERROR, in_journal, prefix
from clockstep.render.text import Page

TEST = ["-c", "test:///default"]
PAGE = Page((), ("NODE", "VERDICT"), (("good", "bad"),), ())
RED, GREEN = "\x1b[31m", "\x1b[32m"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes"], "test\n"),
        (["status"], "test\n"),
        (["doctor"], "test\n"),
        (["domain", "plan"], "test\n"),
        (["snapshot", "list"], ""),
        (["config", "show"], ""),
    ],
)
def test_names_alone_are_printed_for_other_programs(
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    run([*words, *TEST, "-o", "name"])
    assert capsys.readouterr().out == said


def test_every_record_that_has_nodes_has_names() -> None:
    assert {kind.__name__ for kind in PRINTED} - {kind.__name__ for kind in NAMES} == {"ErrorReport"}


def test_wide_has_more_columns_and_no_headers_has_no_header(capsys: pytest.CaptureFixture[str]) -> None:
    run(["nodes", *TEST, "-o", "wide"])
    header, row = capsys.readouterr().out.splitlines()[1:]
    assert header.split() == ["NODE", "STATE", "CONNECTION", "BECAUSE", "UUID", "DOMAIN"]
    run(["nodes", *TEST, "--no-headers"])
    assert capsys.readouterr().out.splitlines()[1].split() == row.split()[:4]


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "json", "snapshot", "list"],
        ["snapshot", "-o", "json", "list"],
        ["snapshot", "list", "-o", "json"],
        ["-o", "table", "snapshot", "list", "--output=json"],
    ],
)
def test_a_global_option_may_be_before_between_and_after_the_words(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([*words, *TEST]) == 0
    assert json.loads(capsys.readouterr().out)["snapshots"] == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["status", "nobody"], 2, "there is no node 'nobody'"),
        (["status", "--bogus"], 2, "No such option '--bogus'."),
        (
            ["status", "--connect", "foo:///bar"],
            2,
            "no driver of libvirt's is called 'foo', so foo:///bar is not an address",
        ),
        (["status", "--connect", "qemu+unix:///session?socket=/nonexistent"], 3, "cannot connect to libvirt"),
        (["revert"], 2, "no snapshot specified"),
        (["revert", "--latest", "--all", "--yes"], 2, "no snapshot was taken by clockstep"),
    ],
)
def test_with_json_an_error_is_an_object_on_stdout_and_a_line_on_stderr(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    where = [] if "--connect" in words else TEST
    assert run([*words, *where, "-o", "json"]) == code
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["error"]["exit_code"], report["schema_version"]) == (code, 2)
    assert report["error"]["message"].startswith(message)
    assert report["error"]["hint"]
    assert message in said.err
    assert run([*words, *where]) == code
    assert capsys.readouterr().out == ""


def test_an_interruption_is_an_error_too() -> None:
    command = [sys.executable, "-m", "clockstep", *TEST, "-o", "json", "status", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as following:
        assert following.stdout
        assert "episodes" in json.loads(following.stdout.readline())
        following.send_signal(signal.SIGTERM)
        *_, last = following.stdout
    assert following.returncode == 143
    assert json.loads(last)["error"] == {"message": "interrupted", "hint": "", "exit_code": 143}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-o", "json"], True),
        (["-ojson", "x"], True),
        (["-qo", "json"], True),
        (["--other", "json"], False),
        (["--output=json"], True),
        (["--output", "json", "-o", "table"], False),
        (["--observe-all", "json"], False),
        (["-o"], False),
        ([], False),
    ],
)
def test_json_is_known_to_be_wanted_also_on_a_line_that_makes_no_sense(words: list[str], wanted: bool) -> None:
    assert wants_json(words) is wanted


def test_quiet_prints_no_progress_and_the_result_all_the_same() -> None:
    out = io.StringIO()
    with Story(out, quiet=True) as story:
        story.tell("node", "stepping")
    assert out.getvalue() == ""
    with Story(out) as story:
        story.tell("node", "stepping")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  node: stepping\n", out.getvalue())


def test_in_the_journal_a_line_has_a_priority_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        there = os.fstat(log.fileno())
        journal = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        assert prefix(log, journal) == "<6>"
        assert prefix(log, journal, ERROR) == "<3>"
        assert not in_journal(log, {"JOURNAL_STREAM": "1:2", "NOTIFY_SOCKET": "/run/x"})
        assert prefix(log, {"NOTIFY_SOCKET": "/run/x"}) == "<6>"
        assert prefix(log, {}).endswith(" UTC  ")
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        assert prefix(terminal, journal) == ""
    os.close(outer)


def test_an_error_of_a_service_has_its_priority() -> None:
    command = [sys.executable, "-m", "clockstep", *TEST, "status", "nobody"]
    done = subprocess.run(
        command, env={**os.environ, "NOTIFY_SOCKET": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert [line[:3] for line in done.stderr.splitlines()] == ["<3>", "<3>"]


def test_colors_are_of_verdicts_alone_and_as_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(color: str) -> str:
        out = io.StringIO()
        print_page(PAGE, out, color=color)
        return out.getvalue()

    assert "\x1b" not in printed("auto")  # it is no terminal
    assert "\x1b" not in printed("never")
    assert RED in printed("always")
    assert GREEN not in printed("always")  # a node that is called good
    monkeypatch.setenv("NO_COLOR", "1")
    assert RED in printed("always")


@pytest.mark.parametrize(
    ("words", "variables", "colored"),
    [([], {}, True), ([], {"NO_COLOR": "1"}, False), (["--color", "never"], {}, False)],
)
def test_on_a_terminal_no_color_is_honored(words: list[str], variables: dict[str, str], colored: bool) -> None:
    outer, inner = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "clockstep", *TEST, "status", *words]
    environ |= {"TERM": "xterm", "COLUMNS": "300", **variables}
    with subprocess.Popen(command, env=environ, stdout=inner, stderr=subprocess.DEVNULL) as process:
        os.close(inner)
        shown = b""
        try:
            while chunk := os.read(outer, 4096):
                shown += chunk
        except OSError:  # the other side is closed with the process
            pass
        assert process.wait(20) == 1
    os.close(outer)
    assert b"bad" in shown
    assert (b"\x1b[31m" in shown) is colored


def test_excluded_nodes_are_left_out_and_a_pattern_without_a_node_is_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["nodes", *TEST, "--exclude", "tset"]) == 2
    assert "there is no node 'tset', which --exclude names\n  did you mean test?" in capsys.readouterr().err
    assert run(["nodes", *TEST, "--exclude", "te*"]) == 2
    assert "--exclude leaves no node" in capsys.readouterr().err


def test_the_configuration_that_counts_is_shown_with_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    (tmp_path / "clockstep.toml").write_text("[cluster.mine]\nnodes = ['test']\ntolerance = '5ms'\n")
    (tmp_path / "below").mkdir()
    assert run(["-C", str(tmp_path / "below"), "config", "show"]) == 0
    shown = capsys.readouterr().out
    assert f"configuration: {tmp_path}/clockstep.toml (in a folder above the current one)" in shown
    assert "tolerance=5ms" in shown
    assert run(["-C", str(tmp_path / "below"), "config", "show", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["clusters"][0]["limits"]["tolerance_ns"] == 5_000_000
    monkeypatch.setenv("CLOCKSTEP_CONFIG", str(tmp_path / "none.toml"))
    assert run(["config", "show", "-o", "json"]) == 2
    assert "there is no file" in json.loads(capsys.readouterr().out)["error"]["message"]
