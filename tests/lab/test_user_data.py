"""What `setup print cloud-init` prints, by cloud-init's own checker: Debian's package, unpacked and not installed."""

import os
import subprocess
from pathlib import Path

import pytest

from clockstep.daemons.setup import FILE, script
from clockstep.flows.setup import Wish, text
from clockstep_lab import apt

SUITE = "bookworm"


@pytest.fixture(scope="module")
def cloud_init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cloud-init and the Python packages that it needs, in a folder."""
    folder = tmp_path_factory.mktemp("cloud-init")
    for package in apt.download(SUITE, ["cloud-init"]):
        if package.name.startswith(("cloud-init_", "python3-")):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def checked(cloud_init: Path, data: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(cloud_init / "usr/lib/python3/dist-packages")}
    program = str(cloud_init / "usr/bin/cloud-init")
    command = ["/usr/bin/python3", program, "schema", "--config-file", str(data)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_cloud_init_accepts_it_and_would_run_the_very_script(cloud_init: Path, tmp_path: Path) -> None:
    data = tmp_path / "user-data"
    data.write_text(text(Wish(), "cloud-init"))
    done = checked(cloud_init, data)
    assert done.returncode == 0, done.stdout + done.stderr
    read = f"import yaml; print(yaml.safe_load(open('{data}'))['write_files'][0]['content'], end='')"
    environment = {"PYTHONPATH": str(cloud_init / "usr/lib/python3/dist-packages")}
    printed = subprocess.run(
        ["/usr/bin/python3", "-c", read], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout == script()
    data.write_text(text(Wish(), "cloud-init").replace(f"[sh, {FILE}]", "{sh: 5}"))
    assert checked(cloud_init, data).returncode == 1
