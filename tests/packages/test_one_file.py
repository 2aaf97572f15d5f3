"""clockstep.pyz in Debians where nothing of this project, and no library of its, is installed."""

import json
from pathlib import Path

import pytest

from clockstep import __version__
from packages.roots import Root

pytestmark = pytest.mark.packages

PYZ = "/dist/clockstep.pyz"
SSH = """#!/bin/sh
for word; do [ "$word" != -G ] || exit 0; done
exec sh
"""
"""An ssh that leads to where it is called."""


def test_it_needs_python_alone_and_no_folder_that_is_writable(bare: Root) -> None:
    bare.must("chmod 1755 /tmp")
    assert bare.must(f"{PYZ} --version", user="user", HOME="/nonexistent") == f"clockstep {__version__}\n"
    assert "Correct the clocks" in bare.must(f"{PYZ} --help", user="user", HOME="/nonexistent")


def test_it_measures_a_host_over_ssh(bare: Root) -> None:
    (bare.layers[0] / "usr/bin").mkdir(parents=True, exist_ok=True)
    ssh = bare.layers[0] / "usr/bin/ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    (episode,) = json.loads(bare.must(f"{PYZ} -o json status --ssh db"))["episodes"]
    assert (episode["node"], episode["verdict"]) == ("db", "good")


def test_libvirt_takes_the_systems_binding_and_is_asked_for_in_a_sentence(bare: Root, debian_with: Root) -> None:
    without = bare.run(f"{PYZ} -c test:///default status")
    assert without.returncode == 3
    assert "libvirt's Python binding cannot be used: No module named 'libvirt'" in without.stderr
    assert "python3-libvirt" in without.stderr
    found = debian_with.run(f"{PYZ} -c test:///default -o name status")
    assert (found.returncode, found.stdout) == (1, "test\n")


@pytest.mark.parametrize("words", ["lab up", "status -c lab", "-c test:///default service install --all --yes"])
def test_what_it_has_no_part_for_is_refused_in_a_sentence(debian_with: Root, words: str) -> None:
    done = debian_with.run(f"mkdir -p /tmp/empty; cd /tmp/empty; {PYZ} {words}")
    assert done.returncode == 2
    assert "clockstep.pyz has no part for" in done.stderr or "systemd does not run here" in done.stderr


def test_another_python_is_named(bare: Root, dist: Path) -> None:
    pretend = "import sys, runpy; sys.version_info = (3, 10, 1); sys.argv = ['x']; runpy.run_path(sys.path.pop())"
    done = bare.run(f"python3 -c \"import sys; sys.path.append('{PYZ}'); {pretend}\"")
    assert done.stderr == "clockstep.pyz needs Python 3.11 or newer, and this is 3.10\n"
