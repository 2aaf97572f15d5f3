"""A real Vagrant project: two Debian machines that Vagrant has made, with no guest agent, reached by its own keys.

Its libvirtd is at `qemu:///system`, as vagrant-libvirt wants it, and has a network with a bridge, DHCP and firewall
rules. So all of it lives in mount, network and PID namespaces of its own: this machine's libvirt, bridges and
firewall are not touched, and everything ends with the first process there. That needs root.

What takes minutes, the box and `vagrant up`, is kept in the cache, with the memory of the machines.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from .apt import download
from .cache import Say, built
from .domain import EMULATED, hand_socket, witness_socket
from .errors import LabError
from .hand import tell
from .image import GUEST_FILES, PROGRAMS, Image
from .lab import kvm_runs
from .minimal import chronyd, httpd
from .moments import correct
from .processes import reaping
from .repository import write_index
from .run import OUTPUT_SHOWN, need, run
from .threads import side_by_side
from .witness import Echo, Look

FILES = GUEST_FILES / "vagrant"
FOLDER = Path("/srv/k8s-lab")
NAMES = ("k8s1", "k8s2")
HOST = "192.168.121.1"
INSECURE_KEY = "/usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub"
NETWORK = """\
<network ipv6='no'>
  <name>vagrant-libvirt</name>
  <forward mode='nat'/>
  <bridge name='virbr1' stp='on' delay='0'/>
  <ip address='192.168.121.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.121.2' end='192.168.121.254'><lease expiry='0'/></range></dhcp>
  </ip>
</network>
"""
"""As vagrant-libvirt itself defines it; defined before, because the servers need its address. Leases do not end: the
machines are kept for longer than an hour, and Vagrant knows of no address whose lease is over."""
CONFIGURATION = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
"""
CHRONYD = "local stratum 1\nallow all\ncmdport 0\nbindcmdaddress /\npidfile /run/lab-chronyd.pid\n"
IMAGES = "var/lib/libvirt/images"
SETTLE = (GUEST_FILES / "kept/settle").read_text().partition("sync\n/usr")[0] + "sync\n"
UP_S, START_S, ECHO_S = 900, 60, 30


def project(image: Image, into: Path, say: Say) -> "Project":
    """A project that is up, its machines with right clocks, and all that it writes in the folder `into`.

    Raises LabError, also where this is not root's.
    """
    if os.geteuid():
        raise LabError("a Vagrant project of the lab's needs root: it has a libvirt and a network of its own")
    need("vagrant", "dnsmasq", "iptables", "ip", "libvirtd", "nsenter", "unshare")
    kvm = kvm_runs(image, say)
    kept = built("vagrant", _ingredients(image, kvm), lambda part: _make(part, image, kvm, say), say)
    run(["cp", "-a", "--reflink=auto", f"{kept}/.", into])
    up = Project(into, image, kvm, say)
    try:
        up.restore()
    except BaseException:
        up.down()
        raise
    return up


def _ingredients(image: Image, kvm: bool) -> list[bytes]:
    sources = [Path(__file__), *PROGRAMS, GUEST_FILES / "port.h", *sorted(FILES.iterdir())]
    versions = run(["dpkg-query", "-W", "vagrant", "vagrant-libvirt", "libvirt-daemon", "qemu-system-x86"])
    return [
        str(image.folder).encode(),
        repr(kvm).encode(),
        SETTLE.encode(),
        versions,
        *(path.read_bytes() for path in sources),
    ]


def _make(into: Path, image: Image, kvm: bool, say: Say) -> None:
    """Make the box, the project and its machines, and leave them saved."""
    packages, folder = into / "srv/vagrant/packages", into / FOLDER.relative_to("/")
    for path in (packages, folder / "boot", folder / "run"):
        path.mkdir(parents=True)
    for package in {*(image.packages or into).glob("*.deb"), *download("bookworm", ["qemu-guest-agent"])}:
        shutil.copy(package, packages)
    write_index(packages)
    shutil.copy(image.kernel, folder / "boot/vmlinuz")
    shutil.copy(image.initrd, folder / "boot/initrd")
    shutil.copy(FILES / "Vagrantfile", folder)
    say("making a box for Vagrant")
    _make_box(into, image)
    made = Project(into, image, kvm, say)
    try:
        made.make()
    finally:
        made.down()
    for leftover in (into / "srv/vagrant/lab.box", *(folder / "run").iterdir()):
        leftover.unlink()


def _make_box(into: Path, image: Image) -> None:
    """A tar of a disk, of what provides it, and of an empty Vagrantfile (vagrant-libvirt's README, "Box Format")."""
    work, (key,) = into / "box", sorted(Path("/").glob(INSECURE_KEY[1:]))
    work.mkdir()
    raw, disk, tree = work / "box.raw", work / "box.img", work / "tree"
    tree.mkdir()
    run(["qemu-img", "convert", "-O", "raw", image.root, raw])
    script = f"mount -o loop {raw} {tree} && cd {tree} && sh -eu {FILES}/box {key} {HOST} && cd / && umount {tree}"
    run(["unshare", "--mount", "sh", "-euc", script])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk])
    (work / "metadata.json").write_text('{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}')
    (work / "Vagrantfile").write_text('Vagrant.configure("2") { |config| }\n')
    run(["tar", "-cf", into / "srv/vagrant/lab.box", "-C", work, "metadata.json", "Vagrantfile", "box.img"])
    shutil.rmtree(work)


class Project:
    """The project and the namespaces that it lives in; a context manager that ends all of it."""

    names = NAMES
    folder = FOLDER

    def __init__(self, home: Path, image: Image, kvm: bool, say: Say) -> None:
        self.home, self.kvm, self._image, self._say = home, kvm, image, say
        mode = "kvm" if kvm else "tcg"
        libvirtd = reaping(["libvirtd", "--config", "/etc/libvirt/libvirtd.conf"])
        first = ["sh", "-eu", str(FILES / "inside"), mode, *libvirtd]
        for path in ("etc/libvirt", "var/lib/libvirt"):
            (home / path).mkdir(parents=True, exist_ok=True)
        (home / "etc/libvirt/qemu.conf").write_text(CONFIGURATION)
        (home / "etc/libvirt/libvirtd.conf").write_text('log_outputs = "3:stderr"\nauth_unix_rw = "none"\n')
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._log = (home / "libvirtd.log").open("ab")
        self._process = subprocess.Popen(
            [*apart, *first],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.environment,
            start_new_session=True,
        )
        try:
            self._until(lambda: self.inside_code("virsh", "version") == 0, START_S, "libvirtd does not answer")
        except BaseException:
            self.down()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def environment(self) -> dict[str, str]:
        """What a command in the project's namespaces gets."""
        mine = {"VAGRANT_HOME": "/srv/vagrant/home", "LAB_KERNEL": "" if self.kvm else f"{EMULATED} quiet"}
        mine |= {"VAGRANT_DEFAULT_PROVIDER": "libvirt", "LC_ALL": "C.UTF-8", "HOME": "/root", "VAGRANT_NO_PARALLEL": ""}
        left = {name: value for name, value in os.environ.items() if not name.startswith(("VAGRANT_", "LIBVIRT_"))}
        return left | mine | ({"LAB_KVM": "1"} if self.kvm else {})

    @property
    def root(self) -> Path:
        """The root folder of the namespaces, as it is seen from here."""
        return Path(f"/proc/{self._first()}/root")

    def _first(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(OSError, ValueError, IndexError):
            return int(children.read_text().split()[0])
        raise LabError(f"the project's namespaces are gone: {self._said()}")

    def inside(self, words: Sequence[str | Path], folder: Path = FOLDER) -> list[str]:
        """How this process runs a command in the namespaces, in a folder there."""
        entered = ["nsenter", f"--target={self._first()}", "--mount", "--net", "--pid", f"--wdns={folder}"]
        return [*entered, "--", *map(str, words)]

    def inside_code(self, *words: str) -> int:
        """Run a command in the namespaces and return its exit code, whatever it says."""
        with suppress(LabError):
            done = subprocess.run(
                self.inside(words, Path("/")), env=self.environment, capture_output=True, timeout=START_S, check=False
            )
            return done.returncode
        return -1

    def run(self, *words: str | Path, timeout_s: float = UP_S, env: Mapping[str, str] | None = None) -> str:
        """Run a command in the project's folder and return what it printed. Raises LabError when it fails."""
        return run(self.inside(words), env=self.environment | dict(env or {}), timeout_s=timeout_s).decode()

    def vagrant(self, *words: str) -> str:
        """Run Vagrant in the project's folder. Raises LabError when it fails."""
        return self.run("vagrant", *words)

    def ssh(self, name: str, command: str) -> str:
        """Run a shell command in a machine by Vagrant's own login, as root."""
        return self.run("vagrant", "ssh", name, "--", "-T", f"sudo sh -c '{command}'", timeout_s=120)

    def domain(self, name: str) -> str:
        """What libvirt calls a machine."""
        return f"{FOLDER.name}_{name}"

    def tell(self, name: str, script: str) -> str:
        """Run a script in a machine by the lab's own hand, as root."""
        return tell(hand_socket(self.root / FOLDER.relative_to("/"), name), script, 60)

    def witness_folder(self) -> Path:
        """The folder in which the witnesses' sockets are (witness.py)."""
        return self.root / FOLDER.relative_to("/")

    def make(self) -> None:
        """Make the machines by `vagrant up` and save them."""
        (self.home / "srv/vagrant/network.xml").write_text(NETWORK)
        self.run("virsh", "net-define", "/srv/vagrant/network.xml")
        self._start_servers()
        self.vagrant("box", "add", "--name", "lab", "/srv/vagrant/lab.box")
        self._say("vagrant up, which takes a minute or two")
        self.vagrant("up")
        side_by_side(self._settle, NAMES)
        for name in NAMES:
            self.run("virsh", "managedsave", self.domain(name))
        self.run("virsh", "net-destroy", "vagrant-libvirt")
        (box,) = (self.home / "srv/vagrant/home/boxes").rglob("box.img")  # which libvirt has a copy of
        (copy,) = (self.home / IMAGES).glob("*_box_image_*")
        box.unlink()
        box.symlink_to(Path("/") / IMAGES / copy.name)

    def _settle(self, name: str) -> None:
        """Bring a machine to where it is kept: booted, and its time daemon stopped with all that it has under way.

        What a daemon makes of servers on a loaded emulator is tens of milliseconds, which no test is about.
        """
        self.tell(name, SETTLE)

    def restore(self) -> None:
        """Restore the saved machines and set their clocks, by the lab's own means."""
        self._start_servers()
        for name in NAMES:
            self.run("virsh", "start", self.domain(name))
        side_by_side(self._adopt, NAMES)

    def _adopt(self, name: str) -> None:
        self._until(lambda: self._greets(name), ECHO_S, f"the witness of {name} does not answer")
        correct(partial(self._looks, name), partial(self._step, name))

    def _step(self, name: str, by_ns: int) -> None:
        self.tell(name, f"step {by_ns}")

    def _greets(self, name: str) -> bool:
        with suppress(OSError):
            return bool(self._looks(name, 1))
        return False

    def _looks(self, name: str, count: int) -> list[Look]:
        echo = Echo(witness_socket(self.witness_folder(), name, "echo"))
        try:
            return [echo.look(5) for _ in range(count)]
        finally:
            echo.close()

    def look(self, name: str) -> Look:
        """How a machine's clock reads now, by the witness. Raises OSError where it does not answer."""
        return min(self._looks(name, 5), key=lambda look: look.error_ns)

    def _start_servers(self) -> None:
        """The network, and what the machines need on it: the time, and packages."""
        self.run("virsh", "net-start", "vagrant-libvirt")
        (self.home / "srv/vagrant/chronyd.conf").write_text(CHRONYD)
        self._start([*chronyd(self._say), "-x", "-d", "-u", "root", "-f", "/srv/vagrant/chronyd.conf"])
        self._start([*httpd(self._say), "-f", "-p", f"{HOST}:80", "-h", "/srv/vagrant/packages"])

    def _start(self, words: Sequence[str]) -> None:
        subprocess.Popen(
            self.inside(words, Path("/")),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.environment,
            start_new_session=True,
        )

    def _until(self, ready: Callable[[], bool], seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end or self._process.poll() is not None:
                raise LabError(f"{otherwise}: {self._said()}")
            time.sleep(0.05)

    def _said(self) -> str:
        return (self.home / "libvirtd.log").read_text(errors="replace")[-OUTPUT_SHOWN:].strip() or "no output"

    def down(self) -> None:
        """End everything: the kernel ends all processes of a PID namespace with its first one."""
        with suppress(LabError, ProcessLookupError):
            os.kill(self._first(), 9)
        self._process.kill()
        self._process.wait()
        self._log.close()
