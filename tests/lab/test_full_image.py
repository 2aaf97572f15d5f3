"""What full images rest on and no guest is needed for: the repository's index, commands that end with all of theirs."""

import subprocess
import time
from pathlib import Path

import pytest

from clockstep_lab.errors import LabError
from clockstep_lab.repository import write_index
from clockstep_lab.run import run
from conftest import until

CONTROL = """\
Package: tiny
Version: 1:2.0~a+b
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: a package with nothing in it
 and a second line.
"""


def apt(home: Path, repository: Path, *words: str) -> str:
    """Run apt-get with settings and state of its own, and this repository as the only source."""
    for folder in ("lists/partial", "archives/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    (home / "sources.list").write_text(f"deb [trusted=yes] copy:{repository} ./\n")
    settings = {
        "Dir::Etc::SourceList": home / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": home / "lists",
        "Dir::State::status": home / "status",
        "Dir::Cache": home,
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "true",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    return run(["apt-get", *options, *words]).decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with one package, indexed."""
    (tmp_path / "tree/DEBIAN").mkdir(parents=True)
    (tmp_path / "tree/DEBIAN/control").write_text(CONTROL)
    folder = tmp_path / "repository"
    folder.mkdir()
    run(["dpkg-deb", "--root-owner-group", "--build", tmp_path / "tree", folder / "tiny_1%3a2.0~a+b_all.deb"])
    write_index(folder)
    return folder


def test_apt_finds_and_fetches_a_package_by_the_index(repository: Path, tmp_path: Path) -> None:
    apt(tmp_path / "apt", repository, "update")
    apt(tmp_path / "apt", repository, "install", "--yes", "--download-only", "tiny")
    (fetched,) = (tmp_path / "apt/archives").glob("*.deb")
    (served,) = repository.glob("*.deb")
    assert fetched.read_bytes() == served.read_bytes()


def test_apt_refuses_a_package_that_is_not_the_one_in_the_index(repository: Path, tmp_path: Path) -> None:
    (served,) = repository.glob("*.deb")
    served.write_bytes(bytes(served.stat().st_size))
    apt(tmp_path / "apt", repository, "update")
    with pytest.raises(LabError, match="Hash Sum mismatch"):
        apt(tmp_path / "apt", repository, "install", "--yes", "--download-only", "tiny")


def test_a_command_that_is_ended_takes_what_it_started_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clockstep_lab.run.GRACE_S", 0.5)
    seconds = f"3{time.time_ns()}"
    with pytest.raises(LabError, match="no end after"):
        run(["sh", "-c", f"trap '' INT; sleep {seconds} & sleep {seconds}"], timeout_s=0.2)
    found = ["pgrep", "-f", seconds]
    until(lambda: not subprocess.run(found, stdout=subprocess.PIPE, check=False).stdout, 10)
