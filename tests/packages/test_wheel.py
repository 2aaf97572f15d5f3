"""The wheel in a virtual environment as pipx makes one, without libvirt's library or its binding."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from adapters.far_shell import fake, real
from carried import wheels
from clockstep import __version__
from packages.conftest import HERE

pytestmark = pytest.mark.packages
NEEDED = ("click", "markdown-it-py", "mdurl", "msgspec", "prometheus-client", "pygments", "rich")


@pytest.fixture(scope="module")
def environment(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environment's commands. pip finds nothing but the wheel and what is locked."""
    folder = tmp_path_factory.mktemp("venv")
    (wheel,) = dist.glob("*.whl")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = {path.parent for path in wheels(NEEDED, version, os.uname().machine)}
    links = [f"--find-links={one}" for one in found]
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    words: list[str | Path] = [
        folder / "bin/pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--no-index",
        "--no-compile",
    ]
    subprocess.run([*words, *links, wheel], check=True)
    return folder / "bin"


def run(environment: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **more}
    return subprocess.run(
        [environment / "clockstep", *words], env=variables, capture_output=True, text=True, check=False
    )


def test_it_answers_without_libvirt(environment: Path) -> None:
    assert run(environment, "--version").stdout == f"clockstep {__version__}\n"
    assert run(environment, "revert", "--help").returncode == 0
    listed = subprocess.run([environment / "pip", "list", "--format=json"], capture_output=True, check=True).stdout
    assert {one["name"]: one["version"] for one in json.loads(listed)}["clockstep"] == __version__


def test_where_libvirt_is_needed_it_says_so_and_how_to_get_it(environment: Path) -> None:
    done = run(environment, "-c", "qemu:///system", "status")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "clockstep: libvirt's Python binding cannot be used: No module named 'libvirt'",
        "  install your system's python3-libvirt, or pip install 'clockstep[libvirt]'; hosts of --ssh, and the agent, "
        "need neither",
    ]


def test_hosts_are_measured_over_ssh(environment: Path, tmp_path: Path) -> None:
    tools, there = tmp_path / "tools", tmp_path / "there"
    tools.mkdir()
    there.mkdir()
    real(there, "date")
    fake(there, "id", "echo 0")
    fake(tools, "ssh", f"for word; do [ \"$word\" != -G ] || exit 0; done\nexec /usr/bin/env PATH='{there}' /bin/sh")
    done = run(environment, "-o", "json", "status", "--ssh", "db", PATH=f"{tools}:/usr/bin:/bin")
    (episode,) = json.loads(done.stdout)["episodes"]
    assert (done.returncode, episode["node"], episode["verdict"]) == (0, "db", "good")


def test_the_agent_says_what_it_sees(environment: Path) -> None:
    assert "\nsteps: " in run(environment, "agent", "--explain").stdout


def test_wheel_and_sdist_have_all_files_of_the_sources(dist: Path) -> None:
    words = ["git", "-C", str(HERE), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "src"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")
    sources = {name for name in listed if (HERE / name).is_file()}
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert {f"src/{name}" for name in wheel.namelist()} >= sources
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        assert {name.partition("/")[2] for name in sdist.getnames()} >= sources


@pytest.mark.parametrize("extra", ["kubernetes", "libvirt"])
def test_it_has_an_extra(environment: Path, extra: str) -> None:
    show = "from importlib.metadata import metadata; print(metadata('clockstep').get_all('Provides-Extra'))"
    python = environment / "python"
    assert extra in subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout
