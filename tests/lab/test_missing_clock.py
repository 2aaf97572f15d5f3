"""A hardware clock that is missing, before real chronyds: the lines that setup writes keep none from starting."""

import getpass
import subprocess
from pathlib import Path

import pytest

from adapters.machine import Machine
from clockstep_lab import apt, minimal
from conftest import quiet

MISSING = "Could not open PHC"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.fixture(scope="module")
def of_sid(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The chronyd of Debian's unstable, unpacked with its libraries and not installed."""
    tree = tmp_path_factory.mktemp("sid")
    for package in apt.download("sid", ["chrony"]):
        if package.name.startswith(("chrony_", "lib", "zlib1g_")):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    libraries = str(tree / LIBRARIES)
    return [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, str(tree / "usr/sbin/chronyd")]


def refclock(folder: Path, version: str) -> str:
    """The line that setup writes for a chronyd of this version."""
    machine = Machine(folder, version=version)
    machine.clock(0, "KVM virtual PTP", "/dev/ptp_kvm")
    written = "".join(file.after or "" for file in machine.plan().files)
    (line,) = [line for line in written.splitlines() if line.startswith("refclock")]
    return line.replace("/dev/ptp_kvm", "/dev/ptp_of_no_machine")


def started(chronyd: list[str], folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a chronyd for two seconds that touches neither the clock nor a port."""
    conf = folder / "missing.conf"
    conf.write_text(f"{line}\nserver 127.0.0.1\nport 0\ncmdport 0\nbindcmdaddress /\npidfile {folder}/missing.pid\n")
    command = ["timeout", "2", *chronyd, "-x", "-d", "-U", "-u", getpass.getuser(), "-f", str(conf)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_chrony_4_9_starts_without_the_clock_that_it_is_to_follow(of_sid: list[str], tmp_path: Path) -> None:
    said = subprocess.run([*of_sid, "-v"], capture_output=True, text=True, check=True).stdout
    version = said.partition("version ")[2].split()[0]
    assert tuple(map(int, version.split(".")[:2])) >= (4, 9)
    line = refclock(tmp_path, version)
    done = started(of_sid, tmp_path, line)
    assert MISSING in done.stderr
    assert done.returncode == 124  # timeout's own: it ran on until then
    assert started(of_sid, tmp_path, line.replace(" optional", "")).returncode == 1


def test_an_older_one_does_not_which_is_why_it_is_hidden_from_it(tmp_path: Path) -> None:
    done = started(minimal.chronyd(quiet), tmp_path, refclock(tmp_path, "4.3"))
    assert (done.returncode, MISSING in done.stderr) == (1, True)
