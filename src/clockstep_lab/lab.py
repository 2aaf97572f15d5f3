"""A lab: some guests, a libvirt and a time server of their own, in one folder. Up, down, what is there."""

import json
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from . import daemon, guests
from .accel import kvm_works, may_open
from .cache import Say, built, locked
from .domain import Machine
from .errors import LabError
from .image import Image
from .images import IMAGES, Images, image_named
from .kubernetes import node
from .kubernetes.control_plane import ControlPlane
from .kubernetes.up import ClusterStarter
from .moments import BOOTED, Moments, State
from .places import account, lab_dir, labs_dir
from .ports import free_tcp_port, free_udp_port
from .processes import end_all, of_lab
from .repository import serve
from .seed import Files, files_of, make_keys, write_ssh_config
from .starting import LookAt, Starter, echo
from .timeserver import answers, start_server


@dataclass(frozen=True)
class Lab:
    """What is written down of a lab that is up; `lab.json` in its folder. The ports are on loopback.

    `uses` are the folders of the cache that its guests' disks stand on.
    """

    name: str
    image: str
    kvm: bool
    ntp_port: int
    packages_port: int | None
    machines: tuple[Machine, ...] = ()
    uses: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return lab_dir(self.name)

    @property
    def uri(self) -> str:
        return daemon.uri(self.folder)

    @property
    def is_cluster(self) -> bool:
        """Whether its guests are nodes of a Kubernetes cluster."""
        return self.image == node.NAME

    def machine(self, name: str) -> Machine:
        """The guest of this name. Raises LabError when there is none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise LabError(f"lab {self.name} has no node {name}", f"it has {', '.join(m.name for m in self.machines)}")


def load(name: str) -> Lab | None:
    """The lab of this name as it was written down, or None when there is none that this version can read."""
    try:
        record = json.loads((lab_dir(name) / "lab.json").read_text())
        machines = tuple(Machine(**machine) for machine in record["machines"])
        return Lab(**{**record, "machines": machines, "uses": tuple(record["uses"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def find(name: str) -> Lab:
    """The lab of this name, with its libvirt running. Raises LabError when it is not up."""
    lab = load(name)
    if not lab:
        raise LabError(f"lab {name} is not up", _how_to_start(name))
    if not daemon.alive(lab.folder):
        raise LabError(f"the libvirtd of lab {name} is gone", f"{_how_to_start(name)} starts it again")
    return lab


def _how_to_start(name: str) -> str:
    return "clockstep lab up" + (f" --name {name}" if name != "lab" else "")


def control_plane(name: str, say: Say) -> ControlPlane:
    """The control plane of the lab of this name. Raises LabError when there is none."""
    lab = find(name)
    if not lab.is_cluster:
        raise LabError(
            f"lab {name} has no Kubernetes", "clockstep lab up --kubernetes --name OTHER starts one that has"
        )
    return ControlPlane(lab.folder, say)


def all_labs() -> list[Lab]:
    """Every lab there is, by name."""
    found = (load(path.parent.name) for path in sorted(labs_dir().glob("*/lab.json")))
    return [lab for lab in found if lab]


def up(
    name: str,
    count: int,
    image_name: str | None,
    say: Say,
    images: Images = IMAGES,
    state: State | None = BOOTED,
) -> Lab:
    """Bring a lab up with at least this many guests, all answering; what is up already stays as it is.

    Guests are restored from the moments that are kept of them in this state, and those that are not kept yet are booted
    and kept. Without a state they are just booted. When it fails or is interrupted, what this call started is ended
    again. Raises LabError.
    """
    folder = lab_dir(name)
    with locked(labs_dir() / f".{name}.lock", lambda: say(f"lab {name} is in use; waiting")):
        before = load(name)
        if before and image_name and before.image != image_name:
            raise LabError(f"lab {name} is up with {before.image} guests", f"clockstep lab down --name {name} first")
        try:
            image = image_named(image_name or (before.image if before else "minimal"), say, images)
            return _up(before, folder, count, image, say, state)
        except BaseException:
            if before:
                _remove_new(before, count)
            else:
                _remove(folder)
            raise


def _remove_new(before: Lab, count: int) -> None:
    there = {machine.name for machine in before.machines}
    with suppress(LabError), closing(guests.connect(before.uri)) as connection:
        for name in guests.numbered(count):
            if name not in there:
                guests.remove(connection, name)


def _up(before: Lab | None, folder: Path, count: int, image: Image, say: Say, state: State | None) -> Lab:
    owner = account()
    if not before:
        _remove(folder)  # what a killed `up` may have left
    for path in (folder, folder / "run", folder / "etc", folder / "etc/libvirt"):
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, owner.uid, owner.gid)
    make_keys(folder, say)
    kvm = before.kvm if before else kvm_runs(image, say)
    ntp_port, packages_port = _servers(before, folder, image, say)
    if not daemon.alive(folder):
        say("starting libvirtd")
        daemon.start_libvirtd(folder, owner, kvm)
    lab = Lab(folder.name, image.name, kvm, ntp_port, packages_port)
    if before:
        lab = replace(lab, machines=before.machines, uses=before.uses)
    return _with_guests(lab, count, image, say, state)


def _servers(before: Lab | None, folder: Path, image: Image, say: Say) -> tuple[int, int | None]:
    ntp_port = before.ntp_port if before else free_udp_port()
    if not answers(ntp_port):
        say("starting the time server")
        start_server(folder, account(), ntp_port, say)
    if not image.packages:
        return ntp_port, None
    packages_port = before.packages_port if before and before.packages_port else free_tcp_port()
    serve(image.packages, folder, account(), packages_port, say)
    return ntp_port, packages_port


def kvm_runs(image: Image, say: Say) -> bool:
    """Whether guests run under KVM: tried once for this kernel and this start of the machine."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    owner = account()
    if not may_open(owner):
        return False

    def ask(into: Path) -> None:
        (into / "works").write_text("yes" if kvm_works(image, owner) else "no")

    asked = built("kvm", [boot_id, repr(owner).encode(), str(image.kernel).encode()], ask, lambda _: say("trying KVM"))
    return (asked / "works").read_text() == "yes"


def _with_guests(lab: Lab, count: int, image: Image, say: Say, state: State | None) -> Lab:
    off = guests.restart(lab.uri, lab.machines)
    if off:
        guests.await_all(lab.uri, lab.folder, off, image.boot_s, say)
    there = {machine.name for machine in lab.machines}
    names = [name for name in guests.numbered(count) if name not in there]
    starter = _starter(lab, image, partial(echo, lab.folder), say)
    if lab.is_cluster:
        new, uses = _cluster(lab, starter, names, state)
    else:
        new = starter.restored(names, state) if state else starter.booted(names)
        uses = [Moments(image, lab.kvm, state).folder(m.name) for m in new if m.warm] if state else []
    stands_on = {*lab.uses, str(image.folder), *map(str, uses)}
    lab = replace(lab, machines=(*lab.machines, *new), uses=tuple(sorted(stands_on)))
    write_ssh_config(lab.folder, list(lab.machines))
    _write_down(lab)
    return lab


def _cluster(lab: Lab, starter: Starter, names: Sequence[str], state: State | None) -> tuple[list[Machine], list[Path]]:
    """The new nodes of a cluster, all of them at once, and the kept moment that they stand on."""
    if lab.machines:
        if names:
            raise LabError(f"the cluster of lab {lab.name} gets no more nodes", f"clockstep lab down --name {lab.name}")
        ControlPlane(lab.folder, starter.say).start()
        return [], []
    cluster = ClusterStarter(starter, tuple(names), state or BOOTED)
    machines = cluster.restored() if state else cluster.booted()
    return machines, [cluster.kept.whole] if any(machine.warm for machine in machines) else []


def _starter(lab: Lab, image: Image, look_at: LookAt, say: Say) -> Starter:
    def told(machine: Machine) -> Files:
        return files_of(lab.folder, machine, lab.ntp_port, lab.packages_port)

    return Starter(lab.uri, lab.folder, image, lab.kvm, told, look_at, say)


def rewind(lab: Lab, names: Sequence[str], state: State, look_at: LookAt) -> None:
    """Put guests of a lab back to their kept moment, on new disks, with right clocks and daemons in sync.

    Nothing stays of what was done in them, nor of their domains' definitions and snapshots. A cluster goes back as a
    whole. `look_at` is the witness. Raises LabError.
    """
    starter = _starter(lab, image_named(lab.image, _quiet), look_at, _quiet)
    if not lab.is_cluster:
        starter.rewind([lab.machine(name) for name in names], state)
    elif names:
        ClusterStarter(starter, tuple(machine.name for machine in lab.machines), state).rewind(lab.machines)


def _quiet(_text: str) -> None:
    pass


def _write_down(lab: Lab) -> None:
    part = lab.folder / "lab.json.part"
    part.write_text(json.dumps(asdict(lab)))
    part.rename(lab.folder / "lab.json")


def down(name: str, say: Say) -> bool:
    """End everything of this lab and remove its folder; whether there was anything."""
    folder = lab_dir(name)
    lock = labs_dir() / f".{name}.lock"
    with locked(lock, lambda: say(f"lab {name} is in use; waiting")):
        was = folder.exists() or bool(of_lab(folder))
        _remove(folder)
        lock.unlink(missing_ok=True)
    return was


def _remove(folder: Path) -> None:
    """End what runs and delete what is stored; a second Ctrl-C must not stop it half-way."""
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
