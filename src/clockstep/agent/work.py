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
from clockstep.host.phc import Device, Ioctl, Phc, kernel_ioctl
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
    said: str = ""

    def phc(self) -> Phc:
        """Return the hypervisor's clock, opened for one use: threads share none. Raises ReachError without one."""
        if self.device is None:
            raise ReachError("this machine has no clock of its hypervisor's", "see clockstep agent --explain")
        return Phc(self.device, self.ioctl)

    def reach(self, reference: Reference) -> Reach:
        """Return the way to this machine's clock, compared with that."""
        return self.make_reach(self.kernel, self.clock, reference, self.memory)

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
        if self.ahead_ns is None:
            shown = show_offset(-offset.value_ns, offset.error_ns)
            said = f"is {shown} ahead of this machine's clock, and nothing says which is UTC: it is not used yet"
        else:
            said = f"counts {'TAI' if self.ahead_ns else 'UTC'}"
        before, self.said = self.said, said.partition(":")[0][:2]
        if before != self.said:
            self.tell("", f"{self.device.path} ({self.device.name}) {said}")


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


class Result(NamedTuple):
    """What a correction came to, None if nothing can be said; and what holds the next ones, as in `Record`."""

    episode: Episode | None
    held: Offset | None = None


class Worker:
    """Corrects the clock of a machine by what the orders and the record are."""

    def __init__(self, machine: Machine, orders: Orders) -> None:
        self._machine = machine
        self._orders = orders

    def correct(
        self, what: What | None, at_ns: int, record: Record, superseded: Callable[[], bool] = lambda: False
    ) -> Result:
        """Do what is to be done after a happening; None is a periodic look. What goes wrong is an Episode, too."""
        found = why(what, at_ns, confirmed=False)
        try:
            return self._corrected(what, at_ns, record, superseded)
        except ClockstepError as error:
            return Result(unreached(self._machine.name, found, error, HostReference()), record.held)
        except Exception as error:  # noqa: BLE001 - a bug in one correction ends no agent
            return Result(unreached(self._machine.name, found, InternalError(error), HostReference()), record.held)

    def _corrected(self, what: What | None, at_ns: int, record: Record, superseded: Callable[[], bool]) -> Result:
        machine = self._machine
        machine.find_scale()
        if machine.device is not None and machine.ahead_ns is not None:
            phc = machine.phc()
            try:
                reference = PhcReference(phc, machine.kernel, machine.ahead_ns, machine.host_error_ns)
                return self._by_phc(reference, what, at_ns, record, superseded)
            finally:
                phc.close()
        if what is None:
            return Result(None, record.held)  # to have chronyd measure anew without a reason would cost its servers
        sources = machine.sources()
        sources.measure()
        return self._worked(sources, what, at_ns, record, superseded, confirmed=True)

    def _by_phc(
        self, reference: PhcReference, what: What | None, at_ns: int, record: Record, superseded: Callable[[], bool]
    ) -> Result:
        """Correct by the hypervisor's clock; a jump that it alone tells of is confirmed first, if it is a long one."""
        behind_ns = -self._machine.reach(reference).clock().offset.earliest_ns
        confirmed = False
        if what not in WITNESSED and behind_ns > UNWITNESSED_NS and may_act(self._orders, record, what, at_ns):
            difference = self._confirmed(reference)
            confirmed = difference is not None and not difference.surely_beyond(APART_NS)
            if difference and not confirmed:
                record = replace(record, held=difference)
        return self._worked(reference, what, at_ns, record, superseded, confirmed=confirmed)

    def _confirmed(self, reference: PhcReference) -> Offset | None:
        """Return how far the hypervisor's clock is ahead of the sources, measured anew; None if they do not say."""
        sources = self._machine.sources()
        try:
            sources.measure()
            return apart(reference.now(), sources.now())
        except ReachError:
            return None

    def _worked(
        self,
        reference: Reference,
        what: What | None,
        at_ns: int,
        record: Record,
        superseded: Callable[[], bool],
        *,
        confirmed: bool,
    ) -> Result:
        machine, now_ns = self._machine, self._machine.clock.monotonic_ns()
        policy, found = limited(self._orders, record, why(what, at_ns, confirmed=confirmed))
        node = Node(machine.name, machine.reach(reference))
        if may_act(self._orders, record, what, now_ns):
            run = begin(node, found, policy, machine.clock, reference, machine.tell)
            prove(run)
            episode = settle(run, superseded)
        else:
            episode = observe(node, found, policy, machine.clock, reference)
        held = holding(episode.facts, record.held, policy.tolerance_ns)
        return Result(remarked(self._orders, record, episode, now_ns), held)
