"""Running the lab's command line, in mounts of its own where a test needs a broken machine."""

import os
import subprocess
import sys

from clockstep_lab.places import lab_dir
from clockstep_lab.processes import of_lab

LAB = [sys.executable, "-m", "clockstep_lab"]


def nothing_left(name: str) -> bool:
    folder = lab_dir(name)
    return not of_lab(folder) and not folder.exists()


def lab(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the lab's command line to its end."""
    return subprocess.run(
        [*LAB, *words], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300, check=False
    )


def in_mounts(before: str, *words: str, after: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """The same in a mount namespace of its own, between two shell scripts."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    script = f'{before}\n"$@" || code=$?\n{after}\nexit ${{code:-0}}'
    command = ["unshare", "--mount", *user, "sh", "-euc", script, "sh", *LAB, *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300, check=False
    )


def one_clear_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("clockstep lab: ")]
    assert all(word in line for word in words), line
    assert "\n  hint: " in done.stderr
