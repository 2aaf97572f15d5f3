"""What goes wrong with a lab: one clear line with a hint, nothing left behind, and the next `lab up` works."""

import dataclasses
import os
import signal
import subprocess
import tempfile
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
from lab.running import LAB, in_mounts, lab, nothing_left, one_clear_line


@pytest.mark.parametrize("program", ["/usr/sbin/libvirtd", "/usr/bin/qemu-system-x86_64"])
def test_a_missing_program_is_named(lab_name: str, program: str) -> None:
    done = in_mounts(f"mount --bind /dev/null {program}", "up", "--name", lab_name)
    one_clear_line(done, "not installed", Path(program).name)
    assert nothing_left(lab_name)


def test_an_unusable_cache_is_named(lab_name: str) -> None:
    one_clear_line(lab("up", "--name", lab_name, CLOCKSTEP_LAB_CACHE="/proc/nowhere"), "can't write", "/proc/nowhere")


def test_a_folder_too_deep_for_a_socket_is_refused(lab_name: str, tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    one_clear_line(lab("up", "--name", lab_name, CLOCKSTEP_LAB_DIR=str(deep)), "too long", "107")


@pytest.mark.parametrize("bad", ["", "../lab", "a b", "Lab", "-x", "x" * 21])
def test_a_name_that_can_be_no_folder_is_refused(bad: str) -> None:
    with pytest.raises(LabError, match="can't name a lab"):
        lab_dir(bad)


@pytest.mark.parametrize("room", ["40m", "260m"])  # too little for the packages, and for what they unpack to
def test_a_full_disk_while_an_image_is_built_leaves_nothing_half_made(lab_name: str, tmp_path: Path, room: str) -> None:
    small = f"mount -t tmpfs -o size={room},mode=755 tmpfs {tmp_path}"
    done = in_mounts(small, "up", "--name", lab_name, after=f"ls -A {tmp_path}", CLOCKSTEP_LAB_CACHE=str(tmp_path))
    one_clear_line(done, "no space left")
    assert "apt-stable" in done.stdout
    assert "minimal-" not in done.stdout
    assert nothing_left(lab_name)


def test_an_interrupted_build_leaves_no_folder(lab_name: str, tmp_path: Path) -> None:
    lab_up = subprocess.Popen(
        [*LAB, "up", "--name", lab_name],
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
    assert nothing_left(lab_name)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("starting the time server", []),
        ("starting libvirtd", []),
        ("restored", []),
        ("started node-1", ["--cold"]),
        ("answers", ["--cold"]),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_no_process_and_no_domain(
    lab_name: str, moment: str, words: list[str], number: signal.Signals
) -> None:
    if moment == "restored":  # what is not kept would be booted first
        labs.up(lab_name, 2, None, quiet)
        labs.down(lab_name, quiet)
    command = [*LAB, "up", "--name", lab_name, "--nodes", "2", *words]
    lab_up = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert lab_up.stderr
    for line in lab_up.stderr:
        if moment in line:
            lab_up.send_signal(number)
            break
        if ("started node-2" if words else "starting libvirtd") in line:
            until(lambda: suspended(lab_name, "node-2"), 60)  # so that the start is not over before the signal is there
    lab_up.stderr.read()
    assert lab_up.wait(60) == 128 + number
    assert nothing_left(lab_name)


def suspended(lab_name: str, node: str) -> bool:
    """Pause a guest of a lab that is coming up; whether it was there already."""
    try:
        libvirt.open(uri(lab_dir(lab_name))).lookupByName(node).suspend()
    except libvirt.libvirtError:
        return False
    return True


def test_a_killed_start_is_cleared_away_by_the_next(lab_name: str) -> None:
    command = [*LAB, "up", "--name", lab_name, "--nodes", "1", "--cold"]
    lab_up = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert lab_up.stderr
    for line in lab_up.stderr:
        if "started node-1" in line:
            lab_up.kill()
    lab_up.wait()
    left = of_lab(lab_dir(lab_name))
    assert left
    found = labs.up(lab_name, 1, None, quiet)
    assert not set(left) & set(of_lab(found.folder))


def test_two_starts_at_once_make_one_lab(lab_name: str) -> None:
    command = [*LAB, "up", "--name", lab_name, "--nodes", "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [start.communicate(timeout=120)[1] for start in both]
    assert [start.returncode for start in both] == [0, 0], told
    assert sum("is in use; waiting" in text for text in told) == 1
    assert sum("restored node-1" in text for text in told) == 1


def test_a_second_start_changes_nothing_and_a_larger_one_adds_guests(lab_name: str) -> None:
    first = labs.up(lab_name, 1, None, quiet)
    processes = sorted(of_lab(first.folder))
    assert labs.up(lab_name, 1, None, quiet) == first
    assert sorted(of_lab(first.folder)) == processes
    second = labs.up(lab_name, 2, None, quiet)
    assert second.machines[0] == first.machines[0]
    assert set(processes) < set(of_lab(first.folder))
    with pytest.raises(LabError, match="is up with minimal guests"):
        labs.up(lab_name, 1, "debian-12", quiet)


def test_a_guest_that_does_not_boot_shows_the_end_of_its_console(lab_name: str, tmp_path: Path) -> None:
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
        labs.up(lab_name, 1, "empty", quiet, {"empty": empty})
    assert "can't mount the root disk" in raised.value.message
    assert nothing_left(lab_name)


def test_a_killed_libvirtd_is_named_and_started_again_with_its_guests_untouched(lab_name: str) -> None:
    found = labs.up(lab_name, 1, None, quiet)
    programs = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0] for pid in of_lab(found.folder)}
    (daemon,) = [pid for pid, program in programs.items() if "libvirtd" in program]
    guests = set(of_lab(found.folder)) - {daemon}
    os.kill(daemon, signal.SIGKILL)
    until(lambda: daemon not in of_lab(found.folder), 10)
    one_clear_line(lab("uri", "--name", lab_name), "libvirtd of lab", "is gone")
    again = labs.up(lab_name, 1, None, quiet)
    assert again.machines == found.machines
    assert guests <= set(of_lab(found.folder))
    assert lab("exec", "--name", lab_name, "node-1", "--", "hostname").stdout == "node-1\n"


def test_down_leaves_nothing_and_says_when_there_was_nothing(lab_name: str) -> None:
    labs.up(lab_name, 1, None, quiet)
    assert lab("down", "--name", lab_name).returncode == 0
    assert nothing_left(lab_name)
    assert "was not up" in lab("down", "--name", lab_name).stderr


def test_two_labs_side_by_side_do_not_meet(lab_name: str) -> None:
    other = f"{lab_name}b"
    try:
        first, second = labs.up(lab_name, 1, None, quiet), labs.up(other, 1, None, quiet)
        assert first.ntp_port != second.ntp_port
        assert {first.name, second.name} <= {line.split("\t")[0] for line in lab("list").stdout.splitlines()}
        labs.down(other, quiet)
        assert lab("exec", "--name", lab_name, "node-1", "--", "hostname").stdout == "node-1\n"
    finally:
        labs.down(other, quiet)


def test_a_guest_reaches_nothing_but_this_machine(lab_name: str) -> None:
    labs.up(lab_name, 1, None, quiet)
    command = "ip route; ip -6 route show default; cat /etc/resolv.conf"
    routes = lab("exec", "--name", lab_name, "node-1", "--", "sh", "-c", command)
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


@pytest.mark.guests
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
