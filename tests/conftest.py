"""Real guests for every test that asks for them: one lab for the whole run, ended with it."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import libvirt
import pytest
from hypothesis import settings

from clockstep_lab import lab as labs
from clockstep_lab.domain import hand_socket
from clockstep_lab.hand import tell
from clockstep_lab.kubernetes.control_plane import ControlPlane
from clockstep_lab.kubernetes.node import NAME as KUBERNETES
from clockstep_lab.lab import Lab
from clockstep_lab.moments import BOOTED, Looks, State
from clockstep_lab.run import run
from clockstep_lab.witness import Look, Witness
from lab.running import nothing_left

LOOKS_S = 20
NEAR_NS = 5_000_000
NEWEST = 10
LOOKS = 5
ECHO_EVERY_S = 0.04


STATE = TemporaryDirectory(prefix="clockstep-state-")
"""What clockstep keeps of its work is kept there, and not among what it has done for whoever runs the tests."""


def pytest_configure() -> None:
    """End as at ^C, labs and all, when told to by a signal, and in the background of a script as well."""
    os.environ["CLOCKSTEP_STATE"] = STATE.name
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real guest."""
    for item in items:
        asked_for = set(getattr(item, "fixturenames", ()))
        marked = any(item.get_closest_marker(name) for name in ("full", "alone", "vagrant"))
        if marked or asked_for & {"three_guests", "debians", "two_kubelets", "lab_name"}:
            item.add_marker(pytest.mark.guests)


@pytest.fixture(autouse=True)
def _same_folder() -> Iterator[None]:
    """Begin each test in the same folder: a command that is called in this process may have gone to another (-C)."""
    folder = Path.cwd()
    yield
    os.chdir(folder)


def quiet(_text: str) -> None:
    """The lab's progress, which nobody reads here."""


class Guests:
    """A lab as the tests use it: its libvirt, its witness, and a shell in each guest."""

    def __init__(self, lab: Lab, witness: Witness, state: State) -> None:
        self.lab, self.state = lab, state
        self.touched: set[str] = set()
        """The guests that something was done to since they were at their kept moment."""
        self.names = [machine.name for machine in lab.machines]
        self.witness = witness
        self.libvirt = libvirt.open(lab.uri)
        self.words: list[str] = []
        """What commands that reach into guests get as well."""

    @cached_property
    def plane(self) -> ControlPlane:
        """The control plane of nodes of Kubernetes."""
        return labs.control_plane(self.lab.name, quiet)

    def domain(self, name: str) -> libvirt.virDomain:
        self.touched.add(name)
        return self.libvirt.lookupByName(name)

    def ssh(self, name: str, command: str, stdin: bytes | None = None) -> str:
        """Run a shell command in a guest and return what it printed."""
        self.touched.add(name)
        config = self.lab.folder / "ssh_config"
        words: list[str | Path] = ["ssh", "-F", config, "-o", "ConnectTimeout=20", name, command]
        return run(words, timeout_s=300, stdin=stdin).decode()

    def tell(self, name: str, script: str) -> str:
        """Run a shell script in a guest by the lab's own hand, which needs no sshd; return what it printed."""
        self.touched.add(name)
        return tell(hand_socket(self.lab.folder, name), script, 60)

    def snapshot(self, name: str, snapshot: str) -> None:
        """Take a snapshot the way virsh does, without clockstep."""
        self.domain(name).snapshotCreateXML(f"<domainsnapshot><name>{snapshot}</name></domainsnapshot>", 0)

    def revert(self, name: str, snapshot: str) -> None:
        """Revert the way virsh does, without clockstep."""
        domain = self.domain(name)
        domain.revertToSnapshot(domain.snapshotLookupByName(snapshot), 0)

    def offset_ns(self, name: str) -> int:
        """The newest echo's offset, asked for now."""
        before = len(self.witness.heard[name].looks)
        until(lambda: len(self.witness.heard[name].looks) > before + 1, 10)
        return self.witness.heard[name].looks[-1].offset_ns

    def is_within(self, name: str, limit_ns: int) -> bool:
        """Whether a guest's clock is not surely beyond a limit: a look's error is what this machine delayed it by."""
        look = self.look(name)
        return abs(look.offset_ns) - look.error_ns <= limit_ns

    def look(self, name: str) -> Look:
        """The best of a few looks at a guest's clock, asked for now."""
        with self.looks(name) as newest:
            return min(newest(LOOKS), key=lambda look: look.error_ns)

    def at(self, state: State) -> "Guests":
        """All guests at their kept moment: clocks right, daemons in sync, nothing left of what others have done."""
        away = [name for name in self.names if name in self.touched or state != self.state or not self._near(name)]
        for heard in self.witness.heard.values():
            heard.forget()
        labs.rewind(self.lab, away, state, self.looks)
        self.state = state
        self.touched.clear()
        return self

    def _near(self, name: str) -> bool:
        return any(look.surely_within(NEAR_NS) for look in self.witness.heard[name].looks[-NEWEST:])

    @contextmanager
    def looks(self, name: str) -> Iterator[Looks]:
        """Looks at a guest's clock by the witness that listens to it."""
        heard = self.witness.heard[name].looks

        def newest(count: int) -> list[Look]:
            before = len(heard)
            until(lambda: len(heard) >= before + count, LOOKS_S)
            return heard[before : before + count]

        yield newest

    def greets(self, name: str) -> bool:
        """Whether a guest's sshd is there: the last of its servers to be, after a boot."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.lab.machine(name).ssh_port), 5) as sshd:
            return sshd.recv(4) == b"SSH-"
        return False


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, which must come within this time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the awaited condition never came"
        time.sleep(0.02)


def pass_time(seconds: float) -> None:
    """Let this much of this machine's time pass: it is what a guest will be behind by."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, seconds + 5)


@contextmanager
def lab_of(name: str, count: int, image: str, state: State = BOOTED) -> Iterator[Guests]:
    """A lab with the witness listening, ended afterwards."""
    lab = labs.up(name, count, image, quiet, state=state)
    try:
        with Witness(lab.folder, [machine.name for machine in lab.machines], ECHO_EVERY_S, streams=False) as witness:
            yield Guests(lab, witness, state)
    finally:
        labs.down(name, quiet)


@pytest.fixture(scope="session")
def three_guests() -> Iterator[Guests]:
    """Three minimal guests that live as long as the test run."""
    with lab_of(f"t{os.getpid()}", 3, "minimal") as lab:
        yield lab


@pytest.fixture
def guests(three_guests: Guests) -> Guests:
    """The three guests at their kept moment: running, with right clocks, chronyd in sync and no snapshots."""
    return three_guests.at(BOOTED)


@pytest.fixture(scope="session")
def debians() -> Iterator[Callable[[str, State], Guests]]:
    """A full guest of each image that is asked for; each lives as long as the test run."""
    up: dict[str, Guests] = {}
    with ExitStack() as ended:

        def lab(image: str, state: State) -> Guests:
            if image not in up:
                name = f"{image.replace('ebian-', '')}-{os.getpid()}"
                up[image] = ended.enter_context(lab_of(name, 1, image, state))
            return up[image]

        yield lab


@pytest.fixture(scope="session")
def two_kubelets() -> Iterator[Guests]:
    """Two nodes of a real Kubernetes cluster, with its control plane on this machine, for the whole test run."""
    with lab_of(f"k{os.getpid()}", 2, KUBERNETES) as lab:
        yield lab


@pytest.fixture
def kubelets(two_kubelets: Guests) -> Guests:
    """The two nodes and their control plane at their kept moment: leases fresh, pods running with valid tokens."""
    return two_kubelets.at(BOOTED)


@pytest.fixture
def full(request: pytest.FixtureRequest, debians: Callable[[str, State], Guests]) -> Guests:
    """A full guest at its kept moment; the parameter is its image and the state."""
    image, state = request.param
    return debians(image, state).at(state)


@pytest.fixture(params=["agent", "ssh"])
def nodes(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Guests]:
    """The three guests reached one way: by the guest agent, or over ssh with the agents stopped."""
    if request.param == "ssh":
        for name in guests.names:
            guests.tell(name, "pkill -STOP qemu-ga")
        guests.words = ["--reach", "ssh", "--ssh-config", str(guests.lab.folder / "ssh_config")]
    yield guests
    guests.words = []


@pytest.fixture
def stamps(guests: Guests) -> Iterator[None]:
    """The witness hears the stamps of the three guests' workloads too; they take much of a small machine."""
    with guests.witness.hear_streams():
        yield


@pytest.fixture
def stamps_of_full(full: Guests) -> Iterator[None]:
    """The same of a full guest's."""
    with full.witness.hear_streams():
        yield


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name for a lab of the test's own, which is ended whatever happens."""
    chosen = f"f{os.getpid()}"
    yield chosen
    labs.down(chosen, quiet)
    assert nothing_left(chosen)


def debian(number: int, *more: int, state: State = BOOTED) -> pytest.MarkDecorator:
    """Have a test run on a full guest of these Debians, from this state on."""
    images = [(f"debian-{each}", state) for each in (number, *more)]
    return pytest.mark.parametrize("full", images, indirect=True, ids=[f"{image}-{state.name}" for image, _ in images])
