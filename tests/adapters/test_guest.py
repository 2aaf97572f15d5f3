"""The programs that run inside a node: how they are put together, and that they are whole."""

import re
import subprocess

import pytest

from clockstep.daemons import DAEMONS, ask_all, inside
from clockstep.daemons.setup import EMBEDDED, STORE, script
from clockstep.flows.agent import SCRIPT
from clockstep.guest import FOLDER, INCLUSION, NOTE, PLACEHOLDER, program
from clockstep.reach import guard, injection, ssh
from clockstep.workloads import certificates, freezer, survey

FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/**/*") if path.suffix in {".sh", ".pl", ".py"})
SHELL = {
    "step": injection.CHOICE,
    "a guard's start": guard.START,
    "a guard's line": guard.SEND,
    "the clock": ssh.CLOCK,
    "who": ssh.WHO,
    "the time daemon": ask_all(),
    "inside": inside.ASK,
    "setup": script("/dev/ptp0", trust=True),
    "storing the setup": STORE,
    "agent": SCRIPT,
    "workloads": survey.LOOK,
    "certificates": certificates.READ,
    "a freezer's guard": freezer.GUARD,
    "prepare": freezer.PREPARE,
    "freeze": freezer.FREEZE,
    "thaw": freezer.THAW,
    "renew": freezer.RENEW,
    "frozen": freezer.FROZEN,
    **{f"resync {name}": daemon.resync for name, daemon in DAEMONS.items()},
}
EMBEDDED_FILES = ["clock/clock.py", *(f"setup/{name}.{kind}" for name in EMBEDDED for kind in ("pl", "py"))]


@pytest.mark.parametrize("what", SHELL)
def test_what_is_sent_is_whole_and_without_what_only_readers_need(what: str) -> None:
    text = SHELL[what]
    assert not NOTE.search(text)
    assert not PLACEHOLDER.search(text)
    assert not INCLUSION.search(text)
    checked = subprocess.run(["/bin/sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "text", [ssh.PERL, program("survey/tai.pl", CALL=159), *(program(name) for name in EMBEDDED_FILES)]
)
def test_what_a_shell_quotes_has_no_single_quote(text: str) -> None:
    assert text
    assert "'" not in text


def test_a_placeholder_without_a_value_and_a_value_without_a_placeholder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"daemons/ask_one\.sh: ASK"):
        program("daemons/ask_one.sh", NAME="chrony")
    with pytest.raises(ValueError, match=r"step/choose\.sh: LEASE_S"):
        program("step/choose.sh", LEASE_S=60)


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    assert program("daemons/ask_one.sh", NAME="__ASK__", ASK="true").startswith("say __ASK__; { true; }")


def test_no_file_is_left_that_nothing_uses() -> None:
    source = "\n".join(path.read_text() for path in FOLDER.parent.rglob("*.py") if FOLDER not in path.parents)
    named = set(re.findall(r'program\(\s*"([^"]+)"', source))
    named |= {f"setup/{name}.{kind}" for name in EMBEDDED for kind in ("pl", "py")}
    for name in FILES:
        found = INCLUSION.findall((FOLDER / name).read_text())
        named |= {shell or perl or f"{python.replace('.', '/')}.py" for shell, perl, python in found}
    assert sorted(named) == FILES
