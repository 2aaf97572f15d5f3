"""Kept moments: a guest that has booted and settled, memory and disk, to be restored instead of booted again.

One is kept for each image, state and node number, in the cache, by the hash of all that it depends on. It knows no lab:
which server it follows, who may log in and what its clock says comes after each restore (guest/kept/adopt).
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import libvirt

from .cache import filling, forget_unused, place, used
from .domain import Machine, disk, domain_xml, hand_socket
from .errors import LabError
from .hand import tell
from .image import GUEST_FILES, Image
from .places import account
from .run import find, run
from .saved import UnusableError, digest, rewrite
from .seed import HOST_KEY, host_key
from .witness import Look

MILLISECOND_NS = 1_000_000
WITHIN_NS = 2 * MILLISECOND_NS
"""How near to this machine's clock a restored guest's must be, as the witness sees it."""
LOOKS = 8
SETTLE_S, ADOPT_S, ADOPTED_S, CORRECT_S, NEAR_S = 300, 90, 120, 20, 4
SETTLE, ADOPT, SYNC = ((GUEST_FILES / "kept" / name).read_text() for name in ("settle", "adopt", "sync"))

Looks = Callable[[int], Sequence[Look]]
"""Asks the witness of one guest this many times, now. Raises OSError while nobody answers."""


@dataclass(frozen=True)
class State:
    """What a guest has come to when its moment is kept: its boot, and then what this shell script did in it.

    With `older_s` the moment is made to look that many seconds older than it is: its clock is set back at last.
    """

    name: str = "booted"
    script: str = ""
    older_s: int = 0


BOOTED = State()


@dataclass(frozen=True)
class Moments:
    """Where the moments of an image in a state are kept, by the name of the guest."""

    image: Image
    kvm: bool
    state: State = BOOTED

    @property
    def kind(self) -> str:
        return f"moment-{self.image.name}-{self.state.name}"

    def folder(self, name: str) -> Path:
        """Where this guest's moment is, or would be."""
        return place(f"{self.kind}-{name}", [*self._ingredients, name.encode()])

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Those of these guests whose moment is not kept."""
        return [name for name in names if not (self.folder(name) / "kept.json").exists()]

    def forget(self, name: str) -> None:
        """Remove a moment that is of no use."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

    @cached_property
    def _ingredients(self) -> list[bytes]:
        """All that a moment depends on: change one, and it is another moment."""
        nobody = Machine("node", 0, "")
        definition = domain_xml(Path("/lab"), nobody, self.image, self.kvm).replace(str(self.image.folder), "/image")
        key = (host_key(lambda _: None) / f"{HOST_KEY}.pub").read_text()
        parts = [definition, self.image.folder.name, _versions(self.kvm), key, SETTLE, self.state.script]
        return [part.encode() for part in parts]


def _versions(kvm: bool) -> str:
    qemu = run([find("qemu-system-x86_64") or "qemu-system-x86_64", "--version"]).decode()
    processor = f"{_processor()} under {platform.release()}" if kvm else "emulated"
    return f"{qemu} {libvirt.getVersion()} {processor}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith(("model", "flags", "stepping")))


def keep(connection: libvirt.virConnect, folder: Path, machine: Machine, moments: Moments) -> None:
    """Bring a running guest to its state and keep that moment; it is shut off then.

    The cache's lock of this kind is held meanwhile. Raises LabError, also when the disk is full; then it may still run.
    """
    name = machine.name
    forget_unused(f"{moments.kind}-{name}")
    try:
        settle(folder, name, moments.state)
        with filling(moments.folder(name)) as part:
            store(connection, folder, name, moments.image, part)
    except (libvirt.libvirtError, OSError) as error:
        raise LabError(f"{name} could not be kept: {error}") from error


def settle(folder: Path, name: str, state: State) -> None:
    """Bring a running guest to its state, with all that it started at rest. Raises LabError and OSError."""
    tell(hand_socket(folder, name), f"set -e\n{state.script}\n{SETTLE}", SETTLE_S)
    if state.older_s:
        _step(hand_socket(folder, name), -state.older_s * 1000 * MILLISECOND_NS)


def store(connection: libvirt.virConnect, folder: Path, name: str, image: Image, into: Path) -> None:
    """Put a guest's memory and disk into a folder, readable for the account alone; it is shut off then.

    Raises LabError, libvirtError and OSError.
    """
    owner = account()
    os.chown(into, owner.uid, owner.gid)
    into.chmod(0o700)  # a guest's memory is for nobody else
    connection.lookupByName(name).save(str(into / "memory"))
    _keep_disk(disk(folder, name), into / "disk.qcow2", image)
    for file in into.iterdir():
        os.chown(file, owner.uid, owner.gid)
        file.chmod(0o600)
    record = {"memory": digest(into / "memory"), "disk": digest(into / "disk.qcow2")}
    (into / "kept.json").write_text(json.dumps(record))


def _keep_disk(made: Path, kept: Path, image: Image) -> None:
    """Move the guest's disk to the cache, where it names its image by a relative path: a cache can be moved."""
    run(["qemu-img", "rebase", "-q", "-F", "qcow2", "-b", image.root, made])
    shutil.move(made, kept)
    root = os.path.relpath(image.root, kept.parent)
    run(["qemu-img", "rebase", "-q", "-u", "-F", "qcow2", "-b", root, kept])


def restore(connection: libvirt.virConnect, folder: Path, machine: Machine, moments: Moments, *, again: bool) -> None:
    """Start a guest from its kept moment, on a disk of its own. Its clock is that of the moment.

    A guest that is to be restored `again` and again keeps a file with its memory, which is trusted the next time.
    Raises UnusableError, LabError, libvirtError and OSError.
    """
    name, kept = machine.name, moments.folder(machine.name)
    saved = folder / "run" / f"{name}.{machine.uuid}.{moments.state.name}.saved"
    record = whole(kept)
    new_disk(folder, name, kept / "disk.qcow2")
    definition = connection.defineXML(domain_xml(folder, machine, moments.image, moments.kvm)).XMLDesc()
    try:
        if not saved.exists():
            give_away(saved)
            rewrite(kept / "memory", record["memory"], definition, saved)
        connection.restore(str(saved))
    except BaseException:
        saved.unlink(missing_ok=True)
        raise
    if not again:
        saved.unlink()


def whole(kept: Path) -> dict[str, str]:
    """The digests of a kept moment's files, of which the disk's is right. Raises UnusableError."""
    try:
        record: dict[str, str] = json.loads((kept / "kept.json").read_text())
        whole = digest(kept / "disk.qcow2") == record["disk"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableError("it is not whole") from error
    if not whole:
        raise UnusableError("its disk is damaged")
    used(kept)
    return record


def adopt(folder: Path, name: str, told: str, looks: Looks) -> None:
    """Make a restored guest one of its lab: the clock right, then keys, servers and a daemon in sync, then a last look.

    `told` is the script that writes what is the lab's.

    Raises LabError when its clock does not become right, and OSError.
    """
    hand = hand_socket(folder, name)
    script = told + ADOPT
    until = time.monotonic() + ADOPTED_S
    while True:
        correct(looks, lambda by_ns: _step(hand, by_ns))
        tell(hand, script + SYNC, ADOPT_S)
        script = ""
        look = _await_near(looks)
        if look.surely_within(WITHIN_NS):
            return
        if time.monotonic() > until:  # a daemon that believes one answer, on a machine where answers come late
            raise LabError(f"its time daemon keeps its clock off by {_shown(look)}")


def _await_near(looks: Looks) -> Look:
    """Return how near the clock comes in time: what the daemon has left to slew takes a while."""
    until = time.monotonic() + NEAR_S
    while not (look := _best(looks)).surely_within(WITHIN_NS) and time.monotonic() < until:
        pass
    return look


def _shown(look: Look) -> str:
    return f"{look.offset_ns / MILLISECOND_NS:.1f} ms ± {look.error_ns / MILLISECOND_NS:.1f} ms"


def _step(hand: Path, by_ns: int) -> None:
    tell(hand, f"step {by_ns}", ADOPT_S)


def correct(looks: Looks, step: Callable[[int], None]) -> None:
    """Step a clock by what it is off until a look says that it is near enough; this machine's may be set meanwhile.

    A look that cannot tell is followed by another. Raises LabError when none ever says so.
    """
    until = time.monotonic() + CORRECT_S
    while not (look := _best(looks)).surely_within(WITHIN_NS):
        if time.monotonic() > until:
            raise LabError(f"its clock is still off by {_shown(look)}")
        if abs(look.offset_ns) > look.error_ns:
            step(-look.offset_ns)


def _best(looks: Looks) -> Look:
    return min(looks(LOOKS), key=lambda look: look.error_ns)


def new_disk(folder: Path, name: str, backing: Path) -> None:
    """A new disk for a guest, on top of another."""
    disk(folder, name).unlink(missing_ok=True)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, disk(folder, name)])
    give_away(disk(folder, name))


def give_away(path: Path) -> None:
    """Make a file the account's own, and only its."""
    path.touch()
    owner = account()
    os.chown(path, owner.uid, owner.gid)
    path.chmod(0o600)
