"""One correction of this machine's clock, from what was noticed to the Episode."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clockstep.agent.limits import Orders, Record, limited, may_act, remarked, why
from clockstep.agent.truth import DaemonReference, apart, ask
from clockstep.core.witness import APART_NS, UNWITNESSED_NS, WITNESSED, holding, time_scale
from clockstep.errors import ClockstepError, InternalError, ReachError
from clockstep.host.phc import Device, Ioctl, Phc, PhcError, kernel_ioctl
from clockstep.host.phc_reference import PhcReference
from clockstep.host.reference import HostReference
from clockstep.loop.episodes import unreached
from clockstep.loop.look import observe
from clockstep.loop.prove import prove
from clockstep.loop.run import begin
from clockstep.loop.settle import settle
from clockstep.model import Claim, Episode, Offset, What
from clockstep.ports import Clock, Kernel, Node, Reach, Reference, Tell
from clockstep.reach.injection import MEMORY
from clockstep.reach.local import LocalReach
from clockstep.units import show_offset

MakeReach = Callable[[Kernel, Clock, Reference, Path], Reach]


@dataclass
class Machine:
    """This machine: its clock, its hypervisor's if there is one, and whom to tell.

    `ahead_ns` is by how much the PHC is ahead of UTC, None as long as that is not known; `host_error_ns` how far the
    hypervisor's own clock may be off, where that is known.
    """

    name: str
    kernel: Kernel
    clock: Clock
    tell: Tell
    device: Device | None = None
    ahead_ns: int | None = None
    host_error_ns: int | None = None
    ioctl: Ioctl = kernel_ioctl
    memory: Path = Path(MEMORY)
    make_reach: MakeReach = LocalReach
    doubted: bool = False

    def phc(self) -> Phc:
        """Return the hypervisor's clock, opened for one use: threads share none. Raises ReachError without one."""
        if self.device is None:
            raise ReachError("this machine has no clock of its hypervisor's", "see clockstep agent --explain")
        return Phc(self.device, self.ioctl)

    def reach(self, reference: Reference) -> Reach:
        """Return the way to this machine's clock, compared with that."""
        return self.make_reach(self.kernel, self.clock, reference, self.memory)

    def reference(self, phc: Phc) -> PhcReference:
        """Return the hypervisor's clock as UTC."""
        return PhcReference(phc, self.kernel, self.ahead_ns or 0, self.host_error_ns)

    def sources(self) -> DaemonReference:
        """Return this machine's chronyd as a reference, which has yet to measure."""
        return DaemonReference(self.reach(HostReference()), self.kernel, self.clock)

    def claim(self) -> Claim | None:
        """Return what this machine's time daemon says of itself; None where there is none, or it does not answer."""
        with suppress(ReachError):
            return ask(self.reach(HostReference()), self.clock)
        return None

    def find_scale(self) -> None:
        """Find out by evidence whether the PHC counts UTC or TAI, and say so; it is asked again until that is known."""
        if self.device is None or self.ahead_ns is not None:
            return
        phc = self.phc()
        try:
            offset = phc.offset()
        except ReachError:
            return
        finally:
            phc.close()
        self.ahead_ns = time_scale(offset, self.claim())
        if self.ahead_ns is not None:
            self.tell("", f"{self.device.path} ({self.device.name}) counts {'TAI' if self.ahead_ns else 'UTC'}")
        elif not self.doubted:
            self.doubted = True
            shown = show_offset(-offset.value_ns, offset.error_ns)
            text = f"is {shown} ahead of this machine's clock, and nothing says which is UTC: it is not used yet"
            self.tell("", f"{self.device.path} ({self.device.name}) {text}")


class Compared:
    """A machine's clock against its hypervisor's, by a PHC that stays open, for the signal that looks all the time."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._phc: Phc | None = None

    def offset(self) -> Offset:
        """Return the clock minus the hypervisor's, as UTC once that is known. Raises ReachError."""
        self._phc = self._phc or self._machine.phc()
        offset = self._phc.offset()
        return Offset(offset.value_ns + (self._machine.ahead_ns or 0), offset.error_ns)

    def scaled(self) -> bool:
        """Whether it is known that this is UTC."""
        return self._machine.ahead_ns is not None

    def rise(self) -> None:
        """Try the best ioctl again, after a disruption."""
        if self._phc:
            self._phc.rise()


class Task(NamedTuple):
    """What is to be worked on: what has happened and when, None for a periodic look; and what is remembered by then.

    `superseded` says whether something has happened since.
    """

    what: What | None
    at_ns: int
    record: Record = Record()
    superseded: Callable[[], bool] = lambda: False


class Result(NamedTuple):
    """What a correction came to, None if nothing can be said; and what holds the next ones, as in `Record`."""

    episode: Episode | None
    held: Offset | None = None


class Worker:
    """Corrects the clock of a machine by what the orders and the record are."""

    def __init__(self, machine: Machine, orders: Orders) -> None:
        self._machine = machine
        self._orders = orders

    def correct(self, task: Task) -> Result:
        """Do what is to be done; whatever goes wrong is an Episode that says so."""
        try:
            return self._corrected(task)
        except ClockstepError as error:
            return self._failed(task, error)
        except Exception as error:  # noqa: BLE001 - a bug in one correction ends no agent
            return self._failed(task, InternalError(error))

    def _failed(self, task: Task, error: ClockstepError) -> Result:
        found = why(task.what, task.at_ns, confirmed=False)
        return Result(unreached(self._machine.name, found, error, HostReference()), task.record.held)

    def _corrected(self, task: Task) -> Result:
        """Correct by the hypervisor's clock, or else by what chronyd measures anew, which takes a reason."""
        self._machine.find_scale()
        if phc := self._phc():
            try:
                return self._by_phc(self._machine.reference(phc), task)
            finally:
                phc.close()
        if task.what is None or not self._orders.act:
            return Result(None, task.record.held)
        sources = self._machine.sources()
        sources.measure()
        return self._worked(sources, task, confirmed=True)

    def _phc(self) -> Phc | None:
        """Return the hypervisor's clock if it can be read now, and it is known what it counts."""
        if self._machine.device is None or self._machine.ahead_ns is None:
            return None
        phc = self._machine.phc()
        try:
            phc.offset()
        except PhcError:
            return None
        return phc

    def _by_phc(self, reference: PhcReference, task: Task) -> Result:
        """Correct by the hypervisor's clock; a jump that it alone tells of is confirmed first, if it is a long one.

        That counts for both directions: a step back that was consented to is no less a step by that clock alone.
        """
        offset = self._machine.reach(reference).clock().offset
        alone = task.what not in WITNESSED and max(-offset.earliest_ns, offset.latest_ns) > UNWITNESSED_NS
        if not (alone and may_act(self._orders, task.record, task.what, task.at_ns)):
            return self._worked(reference, task, confirmed=False)
        difference = self._difference(reference)
        confirmed = difference is not None and not difference.surely_beyond(APART_NS)
        if difference and not confirmed:
            task = task._replace(record=replace(task.record, held=difference))
        return self._worked(reference, task, confirmed=confirmed)

    def _difference(self, reference: PhcReference) -> Offset | None:
        """Return how far the hypervisor's clock is ahead of the sources, measured anew; None if they do not say."""
        sources = self._machine.sources()
        try:
            sources.measure()
            return apart(reference.now(), sources.now())
        except ReachError:
            return None

    def _worked(self, reference: Reference, task: Task, *, confirmed: bool) -> Result:
        machine, record, now_ns = self._machine, task.record, self._machine.clock.monotonic_ns()
        policy, found = limited(self._orders, record, why(task.what, task.at_ns, confirmed=confirmed))
        node = Node(machine.name, machine.reach(reference))
        if may_act(self._orders, record, task.what, now_ns):
            run = begin(node, found, policy, machine.clock, reference, machine.tell)
            prove(run)
            episode = settle(run, task.superseded)
        else:
            episode = observe(node, found, policy, machine.clock, reference)
        held = holding(episode.facts, record.held, policy.tolerance_ns)
        return Result(remarked(self._orders, record, episode, now_ns), held)
