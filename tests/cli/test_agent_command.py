"""`clockstep agent`: the same agent as the small entry's, with the command line's own forms and errors."""

import json
import signal
import subprocess
import sys
from dataclasses import fields

import click
import pytest

from adapters.agents import PATIENCE_S, harmless, line_with, running
from clockstep.agent.options import Options, parse
from clockstep.cli.agent import command
from clockstep.cli.exits import Exit

CLOCKSTEP = [sys.executable, "-m", "clockstep"]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(harmless([*CLOCKSTEP, *words]), capture_output=True, text=True, check=False, cwd="/")


def test_explain_has_all_forms() -> None:
    assert "SIGNAL" in run("agent", "--explain").stdout
    assert "clock-set" in run("agent", "--explain", "-o", "name").stdout.split()
    report = json.loads(run("agent", "--explain", "-o", "json").stdout)
    assert (report["schema_version"], report["steps"]) == (2, False)


def test_it_watches_until_sigterm() -> None:
    with running("agent", "--observe", command=CLOCKSTEP) as agent:
        assert "up" in line_with(agent, "signal clock-set")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_S) == Exit.GOOD


def test_a_second_one_ends_with_the_code_of_a_lock() -> None:
    with running("agent", "--observe", command=CLOCKSTEP) as first:
        line_with(first, "signal clock-set")
        second = run("agent", "--observe")
        assert second.returncode == Exit.LOCKED
        assert "this machine's agent is locked by another clockstep" in second.stderr


@pytest.mark.parametrize(
    "words", [["--metrics", "0.0.0.0:9123"], ["--every", "10ms"], ["--tolerance", "0s"], ["node-1"]]
)
def test_what_cannot_be_meant_is_a_usage_error(words: list[str]) -> None:
    assert run("agent", *words).returncode == Exit.USAGE


@pytest.mark.parametrize("words", [[], ["--every", "5s", "--max-forward", "2d", "--host-error", "1ms"], ["--observe"]])
def test_both_entries_understand_the_same(words: list[str]) -> None:
    typed = command.make_context("agent", list(words)).params
    names = [field.name for field in fields(Options) if field.name != "as_json"]
    own = parse(words)
    assert {name: typed[name] for name in names} == {name: getattr(own, name) for name in names}
    assert isinstance(command, click.Command)
