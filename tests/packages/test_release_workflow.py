"""The workflow of a release, as far as it can be checked where it does not run."""

import os
import re
import subprocess
from typing import Any

import yaml

from clockstep import __version__
from packages.conftest import HERE

FILE = HERE / ".github/workflows/release.yml"


def steps(job: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(FILE.read_text())["jobs"][job]["steps"])


def test_its_commands_are_shell_and_name_what_is_there() -> None:
    commands = [step["run"] for job in ("build", "publish") for step in steps(job) if "run" in step]
    assert len(commands) >= 8
    for command in commands:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)
        for name in re.findall(r"(?<!\S)(?:script|tests|src)/[\w./-]+", command):
            assert (HERE / name).exists(), name


def test_a_tag_must_be_the_version() -> None:
    (check,) = (step["run"] for step in steps("build") if step.get("name") == "The tag is the version")
    for tag, code in ((f"v{__version__}", 0), ("v0.0.1", 1)):
        environment = {**os.environ, "GITHUB_REF_NAME": tag}
        assert subprocess.run(["bash", "-c", check], cwd=HERE, env=environment, check=False).returncode == code


def test_what_is_published_is_what_was_tested_and_only_the_job_that_publishes_may_write() -> None:
    jobs = yaml.safe_load(FILE.read_text())
    assert jobs["permissions"] == {"contents": "read"}
    assert "permissions" not in jobs["jobs"]["build"]
    assert jobs["jobs"]["publish"]["needs"] == "build"
    assert not any("script/package" in step.get("run", "") for step in steps("publish"))


def test_audits_are_made_there_and_nowhere_else() -> None:
    words = ["git", "-C", str(HERE), "grep", "--untracked", "-l", "-e", "pip-audit", "--", "script", ".ci", ".github"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.split() == [
        ".github/workflows/release.yml"
    ]
