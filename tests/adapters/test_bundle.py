"""The agent as one file, run by a python3 that has nothing but its standard library."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.agents import harmless, line_with, running
from clockstep.agent.bundle import PACKAGE, START, bundle

LARGEST = 500_000
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def zipapp() -> Iterator[Path]:
    """Yield a zipapp where another user may read it: the tests run it without root's power over the clock."""
    folder = Path(f"/tmp/clockstep-zipapp-{os.getpid()}")
    folder.mkdir(mode=0o755)
    file = folder / "clockstep-agent"
    file.write_bytes(bundle())
    file.chmod(0o755)
    yield file
    shutil.rmtree(folder)


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(harmless(words), capture_output=True, text=True, check=False, cwd="/", env={})


def test_it_is_small_pure_python_and_the_same_each_time(zipapp: Path) -> None:
    assert zipapp.stat().st_size <= LARGEST
    assert zipapp.read_bytes() == bundle()
    assert zipapp.read_bytes().startswith(START)
    with zipfile.ZipFile(zipapp) as archive:
        assert archive.testzip() is None
        assert {Path(name).suffix for name in archive.namelist()} == {".py", ".sh", ".pl"}
        assert "clockstep/wire.py" not in archive.namelist()


def test_the_systems_python_runs_it_with_nothing_installed(zipapp: Path) -> None:
    version = run(PYTHON, "-I", "-S", zipapp, "--version")
    assert version.stdout.startswith("clockstep "), version.stderr
    explained = run(PYTHON, "-I", "-S", zipapp, "--explain")
    assert "signal fork: " in explained.stdout, explained.stderr
    assert run(zipapp, "--version").stdout == version.stdout


def test_it_watches_and_serves_from_the_one_file(zipapp: Path) -> None:
    with running("--metrics", "0", command=[PYTHON, "-I", "-S", zipapp]) as agent:
        assert "127.0.0.1" in line_with(agent, "metrics are served")
        memory = Path(f"/proc/{agent.pid}/status").read_text()
        assert "clockstep-agent" in Path(f"/proc/{agent.pid}/cmdline").read_text()
        assert "VmRSS" in memory


IMPORTED = """import sys
sys.path.insert(0, sys.argv[1])
import importlib, zipfile
for name in zipfile.ZipFile(sys.argv[1]).namelist():
    if name.endswith(".py") and name.startswith("clockstep/") and "/guest/" not in name and "__main__" not in name:
        importlib.import_module(name[:-3].replace("/", ".").removesuffix(".__init__"))
print(len(sys.modules))
"""


def test_all_that_is_in_it_can_be_imported_there(zipapp: Path) -> None:
    done = run(PYTHON, "-I", "-S", "-c", IMPORTED, zipapp)
    assert done.returncode == 0, done.stderr


def test_the_script_makes_it_as_an_installed_clockstep_does(tmp_path: Path) -> None:
    script = PACKAGE.parents[1] / "script/agent-zipapp"
    subprocess.run([script, tmp_path / "agent"], check=True, capture_output=True)
    assert (tmp_path / "agent").read_bytes() == bundle()
    assert os.access(tmp_path / "agent", os.X_OK)
