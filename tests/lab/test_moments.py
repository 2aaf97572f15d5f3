"""Kept moments: what is restored is right, and what cannot be is booted, with one line about it."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import libvirt
import pytest

from clockstep_lab import lab as labs
from clockstep_lab.cache import UNUSED_S, forget_unused
from clockstep_lab.domain import witness_socket
from clockstep_lab.errors import LabError
from clockstep_lab.kubernetes.moment import KEPT, restore_plane
from clockstep_lab.moments import WITHIN_NS, State, correct, whole
from clockstep_lab.places import account, cache_dir
from clockstep_lab.saved import UnusableError, digest, rewrite
from clockstep_lab.witness import Echo, Look
from conftest import quiet, until
from lab.running import LAB, in_mounts, lab, nothing_left

KIND = "moment-minimal-booted-node-1"
NO_USE = "its saved state is unusable"
QEMU, OTHER_QEMU = "/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-system-i386"
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class FirstStarts:
    """Two labs that came up at once on an empty cache, and what was said."""

    cache: Path
    said: tuple[str, str]


@pytest.fixture(scope="module")
def first() -> Iterator[FirstStarts]:
    """Packages that were fetched before are the one thing that the cache has."""
    cache = new_cache("apt-stable", "apt-stable.lock")
    names = [f"{letter}{os.getpid()}" for letter in "ab"]
    try:
        starts = [start(name, cache) for name in names]
        told = [process.communicate(timeout=400)[1] for process in starts]
        assert [process.returncode for process in starts] == [0, 0], told
        for name in names:
            labs.down(name, quiet)
        yield FirstStarts(cache, (told[0], told[1]))
    finally:
        for name in names:
            labs.down(name, quiet)
        shutil.rmtree(cache)


@pytest.fixture
def cache(first: FirstStarts) -> Iterator[Path]:
    """A cache of the test's own, with a copy of that moment."""
    own = new_cache()
    for path in first.cache.glob("*"):
        if path.name.startswith("moment-") and path.is_dir():
            shutil.copytree(path, own / path.name)
            for copied in (own / path.name, *(own / path.name).iterdir()):
                os.chown(copied, account().uid, account().gid)
        elif path.is_dir():
            (own / path.name).symlink_to(path.resolve())
    yield own
    shutil.rmtree(own)


def new_cache(*linked: str) -> Path:
    cache = Path(tempfile.mkdtemp(prefix="clockstep-cache-", dir="/tmp"))
    cache.chmod(0o755)
    for name in linked:
        if (cache_dir() / name).exists():
            (cache / name).symlink_to(cache_dir() / name)
    return cache


def start(name: str, cache: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a lab of one guest."""
    command = [*LAB, "up", "--name", name, "--nodes", "1", *words]
    environment = {**os.environ, "CLOCKSTEP_LAB_CACHE": str(cache)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def up(name: str, cache: Path, *words: str) -> str:
    """Bring a lab of one guest up; what it said."""
    process = start(name, cache, *words)
    said: str = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


def moment(cache: Path) -> Path:
    (folder,) = cache.glob(f"{KIND}-????????????????")
    return folder


def shell(name: str, command: str) -> str:
    return lab("exec", "--name", name, "node-1", "--", "sh", "-c", command).stdout


@pytest.mark.guests
def test_two_first_starts_at_once_build_and_keep_everything_once(first: FirstStarts) -> None:
    together = "".join(first.said)
    assert together.count("building minimal") == 1
    assert together.count("keeping minimal booted") == 1
    assert together.count("started node-1") == 1
    assert together.count("restored node-1") == 2
    assert not list(first.cache.glob("*.part-*"))


def test_a_restored_guest_is_this_labs_and_in_sync_by_what_was_measured_since(lab_name: str, cache: Path) -> None:
    began = time.time()
    assert "started" not in up(lab_name, cache)
    found = labs.find(lab_name)
    with closing(Echo(witness_socket(found.folder, "node-1", "echo"))) as echo:
        assert min((echo.look(5) for _ in range(20)), key=lambda look: look.error_ns).surely_within(WITHIN_NS)
    tracking = shell(lab_name, "chronyc -c tracking").split(",")
    assert (tracking[2], tracking[-1]) == ("2", "Normal\n")  # one below the lab's own server
    assert float(tracking[3]) >= began
    assert shell(lab_name, "chronyc -n -c sources").split(",")[:5] == ["^", "*", "10.0.2.2", "1", "6"]
    firmware = shell(lab_name, "cat /sys/class/dmi/id/product_uuid").strip()
    with closing(libvirt.open(found.uri)) as connection:
        assert UUID(firmware) == UUID(connection.lookupByName("node-1").UUIDString())
    assert f"{lab_name}\tminimal\tnode-1\trestored\n" in lab("list").stdout


@pytest.mark.guests
def test_what_is_kept_of_a_guest_is_for_the_labs_account_alone(cache: Path) -> None:
    folder = moment(cache)
    assert stat.S_IMODE(moment(cache).stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("memory", "disk.qcow2")} == {0o600}
    assert (folder / "memory").stat().st_uid == account().uid


def test_a_cold_start_boots_and_keeps_nothing(lab_name: str, cache: Path) -> None:
    shutil.rmtree(moment(cache))
    said = up(lab_name, cache, "--cold")
    assert "started node-1" in said
    assert "restored" not in said
    assert f"{lab_name}\tminimal\tnode-1\tbooted\n" in lab("list").stdout
    assert not list(cache.glob(f"{KIND}*"))


def test_a_damaged_moment_costs_a_line_and_a_boot_and_is_kept_no_longer(lab_name: str, cache: Path) -> None:
    with (moment(cache) / "memory").open("r+b") as memory:
        memory.seek(50_000_000)
        byte = memory.read(1)
        memory.seek(50_000_000)
        memory.write(bytes([byte[0] ^ 1]))
    said = up(lab_name, cache)
    assert said.count(NO_USE) == 1
    assert "started node-1" in said
    assert shell(lab_name, "hostname") == "node-1\n"
    assert not list(cache.glob(f"{KIND}-*"))


@pytest.mark.parametrize("lost", ["kept.json", "disk.qcow2"])
def test_a_moment_that_is_half_deleted_is_of_no_use(tmp_path: Path, lost: str) -> None:
    (tmp_path / "disk.qcow2").write_bytes(b"disk")
    (tmp_path / "kept.json").write_text(json.dumps({"disk": digest(tmp_path / "disk.qcow2"), "memory": ""}))
    assert whole(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(UnusableError, match="not whole"):
        whole(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"disk": 5}', "\x00"])
def test_a_record_that_is_none_is_of_no_use(tmp_path: Path, text: str) -> None:
    (tmp_path / "disk.qcow2").write_bytes(b"disk")
    (tmp_path / "kept.json").write_text(text)
    with pytest.raises(UnusableError):
        whole(tmp_path)


@pytest.mark.parametrize("lost", KEPT)
def test_a_control_plane_that_is_half_deleted_is_of_no_use(tmp_path: Path, lost: str) -> None:
    kept, home = tmp_path / "kept", tmp_path / "home"
    for name in KEPT:
        (kept / name).mkdir(parents=True)
        (kept / name / "file").write_text(name)
    restore_plane(kept, home)
    assert [(home / name / "file").read_text() for name in KEPT] == list(KEPT)
    shutil.rmtree(kept / lost)
    with pytest.raises(UnusableError, match="not whole"):
        restore_plane(kept, home)


def test_a_cache_that_was_moved_is_as_good(lab_name: str, cache: Path) -> None:
    moved = cache.with_name(f"{cache.name}-moved")
    cache.rename(moved)
    try:
        assert "started" not in up(lab_name, moved)
        labs.down(lab_name, quiet)
    finally:
        moved.rename(cache)


def test_a_start_that_is_killed_while_it_keeps_a_moment_leaves_none_and_the_next_one_keeps_it(
    lab_name: str, cache: Path
) -> None:
    shutil.rmtree(moment(cache))
    process = start(lab_name, cache)
    until(lambda: bool(list(cache.glob(f"{KIND}-*.part-*/memory"))), 200)
    process.kill()
    process.communicate()
    assert list(cache.glob("*.part-*"))
    assert "restored node-1" in up(lab_name, cache)
    assert moment(cache)
    assert not list(cache.glob("*.part-*"))


def test_another_qemu_makes_another_moment(lab_name: str, cache: Path) -> None:
    kept = moment(cache)
    upgraded = cache / "qemu"
    upgraded.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo QEMU 99.9\nexec {OTHER_QEMU} "$@"\n')
    upgraded.chmod(0o755)
    words = ("up", "--name", lab_name, "--nodes", "1")
    mounts = (
        f"mount --bind {QEMU} {OTHER_QEMU}; mount --bind {upgraded} {QEMU}"  # its modules lie beside its own folder
    )
    done = in_mounts(mounts, *words, CLOCKSTEP_LAB_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "keeping minimal booted" in done.stderr
    assert "restored node-1" in done.stderr
    assert sorted(cache.glob(f"{KIND}-????????????????")) != [kept]
    assert kept.exists()


def test_a_moment_that_finds_no_room_costs_a_line_and_the_guest_is_up(lab_name: str, cache: Path) -> None:
    shutil.rmtree(moment(cache))
    small = cache / "small"
    small.mkdir()
    room = f"""mount -t tmpfs -o size=30m,mode=755 tmpfs {small}
for path in {cache}/*; do [ "$path" = {small} ] || ln -s "$(readlink -f "$path")" {small}; done"""
    words = ("up", "--name", lab_name, "--nodes", "1")
    done = in_mounts(room, *words, after=f"ls {small}", CLOCKSTEP_LAB_CACHE=str(small))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("node-1 is not kept: ") == 1
    assert done.stderr.count("started node-1") == 1
    assert "Leap status     : Normal" in shell(lab_name, "chronyc tracking")
    assert "moment-minimal-booted-node" not in done.stdout
    assert shell(lab_name, "hostname") == "node-1\n"


def test_prune_empties_the_cache_but_for_what_a_running_lab_uses(lab_name: str, cache: Path) -> None:
    (cache / "minimal-0123456789abcdef").mkdir()
    up(lab_name, cache)
    said = lab("prune", CLOCKSTEP_LAB_CACHE=str(cache)).stderr
    assert not (cache / "minimal-0123456789abcdef").exists()
    kept = moment(cache)
    assert f"{kept.name} kept: a running lab uses it" in said
    assert shell(lab_name, "hostname") == "node-1\n"
    labs.down(lab_name, quiet)
    assert nothing_left(lab_name)
    assert lab("prune", CLOCKSTEP_LAB_CACHE=str(cache)).returncode == 0
    assert not kept.exists()


def test_what_was_not_used_for_long_makes_room_for_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOCKSTEP_LAB_CACHE", str(tmp_path))
    old, used_lately = (tmp_path / f"{KIND}-{n}123456789abcdef" for n in (0, 1))
    other = tmp_path / "minimal-0123456789abcdef"
    for folder in (old, used_lately, other):
        folder.mkdir()
    long_ago = time.time() - UNUSED_S - 60
    for folder in (old, other):
        os.utime(folder, (long_ago, long_ago))
    forget_unused(KIND)
    assert (old.exists(), used_lately.exists(), other.exists()) == (False, True, True)


class Clocks:
    """A guest's clock and a host's, both made up: the host's may be set at any look."""

    def __init__(self, offset_ns: int, set_at: Sequence[int] = ()) -> None:
        self.offset_ns, self._set_at, self._looks = offset_ns, set_at, 0
        self.steps: list[int] = []

    def looks(self, count: int) -> list[Look]:
        self._looks += 1
        if self._looks in self._set_at:
            self.offset_ns -= 3600 * SECOND_NS
        return [Look(0, self.offset_ns, 300_000, 1) for _ in range(count)]

    def step(self, by_ns: int) -> None:
        self.steps.append(by_ns)
        self.offset_ns += by_ns


@pytest.mark.parametrize("set_at", [(), (2,), (2, 3), (1, 2, 3)])
def test_a_clock_is_corrected_also_when_the_hosts_is_set_meanwhile(set_at: Sequence[int]) -> None:
    clocks = Clocks(-12 * SECOND_NS, set_at)
    correct(clocks.looks, clocks.step)
    assert abs(clocks.offset_ns) <= WITHIN_NS
    assert len(clocks.steps) == max(1, len(set(set_at) | {1}))


def test_a_clock_that_is_near_enough_is_not_stepped() -> None:
    clocks = Clocks(1_000_000)
    correct(clocks.looks, clocks.step)
    assert clocks.steps == []


def saved(definition: bytes, memory: bytes) -> bytes:
    """A file as libvirt writes it: magic, version 2, the definition's length, was running, not compressed."""
    numbers = b"".join(number.to_bytes(4, "little") for number in (2, len(definition), 1, 0, 0))
    return b"LibvirtQemudSave" + numbers + bytes(56) + definition + memory


def test_another_definition_is_put_before_the_same_memory(tmp_path: Path) -> None:
    kept, to = tmp_path / "kept", tmp_path / "to"
    kept.write_bytes(saved(b"<domain>theirs</domain>\0\0\0\0", b"memory"))
    rewrite(kept, digest(kept), "<domain>ours</domain>", to)
    assert to.read_bytes() == saved(b"<domain>ours</domain>\0", b"memory")


@pytest.mark.parametrize("content", [b"", b"LibvirtQemudSave", saved(b"", b"other"), b"QEVM" + bytes(200)])
def test_a_file_that_is_not_what_was_kept_is_of_no_use(tmp_path: Path, content: bytes) -> None:
    kept, sound = tmp_path / "kept", tmp_path / "sound"
    sound.write_bytes(saved(b"", b"memory"))
    kept.write_bytes(content)
    with pytest.raises(UnusableError):
        rewrite(kept, digest(sound), "<domain/>", tmp_path / "to")


def test_a_state_that_cannot_be_reached_is_an_error_that_shows_why(lab_name: str) -> None:
    impossible = State("impossible", "echo this is why; false")
    with pytest.raises(LabError, match="this is why"):
        labs.up(lab_name, 1, None, quiet, state=impossible)
