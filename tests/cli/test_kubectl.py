"""The same program as a plugin of kubectl, which runs whatever it finds in PATH as kubectl-NAME."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTALLED = Path(sys.executable).parent


def plugin(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run the plugin as kubectl does: by its path, found by its name."""
    found = shutil.which("kubectl-clockstep", path=str(INSTALLED))
    assert found, "script/setup installs it"
    return subprocess.run([found, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [(), ("service",), ("service", "install"), ("kubernetes", "remove")])
def test_its_help_shows_what_is_typed(words: tuple[str, ...]) -> None:
    done = plugin(*words, "--help")
    usage, *lines = done.stdout.splitlines()
    assert usage.startswith(" ".join(["Usage: kubectl clockstep", *words, "[OPTIONS]"]))
    examples = [line.strip() for line in lines[lines.index("  Examples:") + 1 :]] if "  Examples:" in lines else []
    assert all(line.startswith("kubectl clockstep ") for line in examples)
    assert bool(examples) is (len(words) == 2)


def test_it_is_the_same_program() -> None:
    assert (
        plugin("--version").stdout
        == subprocess.run(
            [INSTALLED / "clockstep", "--version"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    )
    done = plugin("status", "--deadline", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Try 'kubectl clockstep status --help'" in done.stderr
