"""What goes wrong with a lab: one clear line with a hint, nothing left behind, and the next `lab up` works."""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from clockstep_lab import lab as labs
from clockstep_lab import minimal
from clockstep_lab.accel import kvm_works, may_open
from clockstep_lab.daemon import hiding, uri
from clockstep_lab.errors import LabError
from clockstep_lab.image import Image
from clockstep_lab.places import Account, account, lab_dir
from clockstep_lab.processes import of_lab
from clockstep_lab.run import run
from conftest import quiet, until

LAB = [sys.executable, "-m", "clockstep_lab"]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a lab of the test's own, which is ended whatever happens."""
    chosen = f"f{os.getpid()}"
    yield chosen
    labs.down(chosen, quiet)
    assert nothing_left(chosen)


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


@pytest.mark.parametrize("program", ["/usr/sbin/libvirtd", "/usr/bin/qemu-system-x86_64"])
def test_a_missing_program_is_named(name: str, program: str) -> None:
    done = in_mounts(f"mount --bind /dev/null {program}", "up", "--name", name)
    one_clear_line(done, "not installed", Path(program).name)
    assert nothing_left(name)


def test_an_unusable_cache_is_named(name: str) -> None:
    one_clear_line(lab("up", "--name", name, CLOCKSTEP_LAB_CACHE="/proc/nowhere"), "can't write", "/proc/nowhere")


def test_a_folder_too_deep_for_a_socket_is_refused(name: str, tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    one_clear_line(lab("up", "--name", name, CLOCKSTEP_LAB_DIR=str(deep)), "too long", "107")


@pytest.mark.parametrize("bad", ["", "../lab", "a b", "Lab", "-x", "x" * 21])
def test_a_name_that_can_be_no_folder_is_refused(bad: str) -> None:
    with pytest.raises(LabError, match="can't name a lab"):
        lab_dir(bad)


@pytest.mark.parametrize("room", ["40m", "260m"])  # too little for the packages, and for what they unpack to
def test_a_full_disk_while_an_image_is_built_leaves_nothing_half_made(name: str, tmp_path: Path, room: str) -> None:
    small = f"mount -t tmpfs -o size={room},mode=755 tmpfs {tmp_path}"
    done = in_mounts(small, "up", "--name", name, after=f"ls -A {tmp_path}", CLOCKSTEP_LAB_CACHE=str(tmp_path))
    one_clear_line(done, "no space left")
    assert "apt-stable" in done.stdout
    assert "minimal-" not in done.stdout
    assert nothing_left(name)


def test_an_interrupted_build_leaves_no_folder(name: str, tmp_path: Path) -> None:
    lab_up = subprocess.Popen(
        [*LAB, "up", "--name", name],
        env={**os.environ, "CLOCKSTEP_LAB_CACHE": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert lab_up.stderr
    for line in lab_up.stderr:
        if "unpacking" in line:
            lab_up.send_signal(signal.SIGINT)
    assert lab_up.wait(60) == 130
    assert not list(tmp_path.glob("minimal-*"))
    assert nothing_left(name)


@pytest.mark.parametrize("moment", ["starting the time server", "starting libvirtd", "started node-1", "answers"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_no_process_and_no_domain(name: str, moment: str, number: signal.Signals) -> None:
    lab_up = subprocess.Popen([*LAB, "up", "--name", name, "--nodes", "2"], stderr=subprocess.PIPE, text=True)
    assert lab_up.stderr
    for line in lab_up.stderr:
        if moment in line:
            lab_up.send_signal(number)
            break
        if "started node-2" in line:  # one that is paused does not answer before the signal is there
            libvirt.open(uri(lab_dir(name))).lookupByName("node-2").suspend()
    lab_up.stderr.read()
    assert lab_up.wait(60) == 128 + number
    assert nothing_left(name)


def test_a_killed_start_is_cleared_away_by_the_next(name: str) -> None:
    lab_up = subprocess.Popen([*LAB, "up", "--name", name, "--nodes", "1"], stderr=subprocess.PIPE, text=True)
    assert lab_up.stderr
    for line in lab_up.stderr:
        if "started node-1" in line:
            lab_up.kill()
    lab_up.wait()
    left = of_lab(lab_dir(name))
    assert left
    found = labs.up(name, 1, None, quiet)
    assert not set(left) & set(of_lab(found.folder))


def test_two_starts_at_once_make_one_lab(name: str) -> None:
    command = [*LAB, "up", "--name", name, "--nodes", "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [start.communicate(timeout=120)[1] for start in both]
    assert [start.returncode for start in both] == [0, 0], told
    assert sum("waiting: somebody else works on lab" in text for text in told) == 1
    assert sum("started node-1" in text for text in told) == 1


def test_a_second_start_changes_nothing_and_a_larger_one_adds_guests(name: str) -> None:
    first = labs.up(name, 1, None, quiet)
    processes = sorted(of_lab(first.folder))
    assert labs.up(name, 1, None, quiet) == first
    assert sorted(of_lab(first.folder)) == processes
    second = labs.up(name, 2, None, quiet)
    assert second.machines[0] == first.machines[0]
    assert set(processes) < set(of_lab(first.folder))
    with pytest.raises(LabError, match="is up with minimal guests"):
        labs.up(name, 1, "debian-12", quiet)


def test_a_guest_that_does_not_boot_shows_the_end_of_its_console(name: str, tmp_path: Path) -> None:
    whole = minimal.image(quiet)
    tmp_path.chmod(0o755)
    for part in ("vmlinuz", "initrd"):
        (tmp_path / part).symlink_to(whole.folder / part)
    run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "root.qcow2", "1M"])
    for folder in tmp_path.parents:
        if folder.owner() == whole.folder.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)

    def empty(_say: object) -> Image:
        return dataclasses.replace(whole, folder=tmp_path, boot_s=15)

    with pytest.raises(LabError, match="node-1 does not boot") as raised:
        labs.up(name, 1, "empty", quiet, {"empty": empty})
    assert "can't mount the root disk" in raised.value.message
    assert nothing_left(name)


def test_a_killed_libvirtd_is_named_and_started_again_with_its_guests_untouched(name: str) -> None:
    found = labs.up(name, 1, None, quiet)
    programs = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0] for pid in of_lab(found.folder)}
    (daemon,) = [pid for pid, program in programs.items() if "libvirtd" in program]
    guests = set(of_lab(found.folder)) - {daemon}
    os.kill(daemon, signal.SIGKILL)
    until(lambda: daemon not in of_lab(found.folder), 10)
    one_clear_line(lab("uri", "--name", name), "libvirtd of lab", "is gone")
    again = labs.up(name, 1, None, quiet)
    assert again.machines == found.machines
    assert guests <= set(of_lab(found.folder))
    assert lab("exec", "--name", name, "node-1", "--", "hostname").stdout == "node-1\n"


def test_down_leaves_nothing_and_says_when_there_was_nothing(name: str) -> None:
    labs.up(name, 1, None, quiet)
    assert lab("down", "--name", name).returncode == 0
    assert nothing_left(name)
    assert "was not up" in lab("down", "--name", name).stderr


def test_two_labs_side_by_side_do_not_meet(name: str) -> None:
    other = f"{name}b"
    try:
        first, second = labs.up(name, 1, None, quiet), labs.up(other, 1, None, quiet)
        assert first.ntp_port != second.ntp_port
        assert {first.name, second.name} <= {line.split("\t")[0] for line in lab("list").stdout.splitlines()}
        labs.down(other, quiet)
        assert lab("exec", "--name", name, "node-1", "--", "hostname").stdout == "node-1\n"
    finally:
        labs.down(other, quiet)


def test_a_guest_reaches_nothing_but_this_machine(name: str) -> None:
    labs.up(name, 1, None, quiet)
    command = "ip route; ip -6 route show default; cat /etc/resolv.conf"
    routes = lab("exec", "--name", name, "node-1", "--", "sh", "-c", command)
    assert routes.stdout.split("\n")[0].startswith("10.0.2.0/24 dev eth0")
    assert "default" not in routes.stdout
    assert "nameserver" not in routes.stdout


def test_a_kvm_that_does_not_work_is_hidden_from_libvirt() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, owner = Path(place), account()
        device, cover = folder / "kvm", folder / "cover"
        for path, mode in ((device, 0o666), (cover, 0), (folder, 0o755)):
            if path != folder:
                path.touch()
            path.chmod(mode)
            os.chown(path, owner.uid, owner.gid)
        run(owner.command(["sh", "-c", f"test -r {device}"]))
        unseen = f"test -e {device} && ! test -r {device} && ! test -w {device}"
        run(owner.command(hiding(["sh", "-c", unseen], device, cover)))


def test_kvm_is_believed_only_when_a_kernel_booted_under_it(tmp_path: Path) -> None:
    whole = minimal.image(quiet)
    me = Account("me", os.geteuid(), os.getegid())
    booted = may_open(me) and "Linux version" in trial_boot(whole)
    assert kvm_works(whole, me) is booted
    (tmp_path / "vmlinuz").write_bytes(b"no kernel")
    assert kvm_works(dataclasses.replace(whole, folder=tmp_path), me) is False


def trial_boot(image: Image) -> str:
    """The same question, asked in another way: QEMU on its own, with its console in a file."""
    command = ["qemu-system-x86_64", "-accel", "kvm", "-m", "256", "-display", "none", "-serial", "stdio"]
    command += ["-kernel", str(image.kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1", "-no-reboot"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except subprocess.TimeoutExpired as slow:
        return (slow.stdout or b"").decode(errors="replace")
