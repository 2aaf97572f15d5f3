"""What a node takes for the time: its hypervisor's clock, or else its chronyd's, after that has measured anew."""

from clockstep.core.anchoring import anchored
from clockstep.core.offset import widened
from clockstep.daemons import DAEMONS, ask_all, parse_all
from clockstep.errors import ReachError
from clockstep.host.phc_reference import APART_PPM
from clockstep.loop.look import COMMAND_NS
from clockstep.model import Claim, HostClock, Offset
from clockstep.ports import Clock, Instant, Kernel, Reach
from clockstep.units import MILLISECOND_NS, SECOND_NS, show_duration

MEASURES_NS = 15 * SECOND_NS
"""How long chronyd may take to measure anew: 4.6 s at the default polls."""
AGAIN_NS = 100 * MILLISECOND_NS


def ask(reach: Reach, clock: Clock) -> Claim | None:
    """Return what this machine's time daemon claims; None where there is none. Raises ReachError."""
    return parse_all(reach.run(["/bin/sh", "-c", ask_all()], b"", clock.monotonic_ns() + COMMAND_NS).out)


class DaemonReference:
    """The time as chronyd measures it of its sources, once it has dropped what it had measured before.

    What it claimed before is no evidence: after a revert it goes on saying that all is well. From the moment of the
    measurement the time goes on by CLOCK_MONOTONIC_RAW, which neither a step nor slewing touches.
    """

    name = "chrony"

    def __init__(self, reach: Reach, kernel: Kernel, clock: Clock) -> None:
        self._reach = reach
        self._kernel = kernel
        self._clock = clock
        self._ahead = Offset(0, 0)
        self._measured_ns = 0

    def measure(self, within_ns: int = MEASURES_NS) -> None:
        """Have chronyd drop what it has and measure anew. Raises ReachError where it cannot, or comes to nothing."""
        until_ns = self._clock.monotonic_ns() + within_ns
        command = ["/bin/sh", "-c", DAEMONS["chrony"].resync]
        output = self._reach.run(command, b"", self._clock.monotonic_ns() + COMMAND_NS)
        if output.code:
            raise ReachError(
                f"chronyd did not measure again: {output.out.strip()} {output.err.strip()}", "check chronyd"
            )
        while not self._taken():
            if self._clock.monotonic_ns() >= until_ns:
                text = f"chronyd had no answer from its sources within {show_duration(within_ns)}"
                raise ReachError(text, "check that the node reaches its time servers")
            self._clock.sleep_ns(AGAIN_NS)

    def _taken(self) -> bool:
        """Take what chronyd says of its selected source, if it has selected one since."""
        before_ns = self._kernel.raw_ns()
        realtime_ns, monotonic_ns = self._kernel.realtime_ns(), self._clock.monotonic_ns()
        claim = ask(self._reach, self._clock)
        passed_ns = self._kernel.realtime_ns() - realtime_ns
        stepped_ns = passed_ns - (self._clock.monotonic_ns() - monotonic_ns)
        slewed_ns = passed_ns - (self._kernel.raw_ns() - before_ns)
        if not (claim and claim.daemon == self.name and claim.synchronised and claim.offset):
            return False
        if abs(stepped_ns) > MILLISECOND_NS:  # chronyd has stepped the clock meanwhile: of which one did it speak?
            return False
        distance_ns = (claim.root_delay_ns or 0) // 2 + (claim.root_dispersion_ns or 0)
        error_ns = claim.offset.error_ns + distance_ns + abs(slewed_ns)
        self._ahead = Offset(realtime_ns - before_ns - claim.offset.value_ns, error_ns)
        self._measured_ns = before_ns
        return True

    def now(self) -> Instant:
        """Return the time, with an error that grows with the age of the measurement."""
        raw_ns = self._kernel.raw_ns()
        aged_ns = (raw_ns - self._measured_ns) * APART_PPM // 10**6
        return Instant(raw_ns + self._ahead.value_ns, self._ahead.error_ns + aged_ns)

    def anchor(self) -> Offset:
        """Return where CLOCK_MONOTONIC_RAW is: a machine that is reverted goes back with all that it remembers."""
        before_ns, raw_ns = self._clock.monotonic_ns(), self._kernel.raw_ns()
        return anchored(before_ns, raw_ns, self._clock.monotonic_ns())

    def moved_since(self, anchor: Offset) -> int:  # noqa: ARG002 - what nobody sets is never moved
        """Return 0: nobody sets it."""
        return 0

    def quality(self) -> HostClock:
        """Return that it is synchronised, with the bound that chronyd gives."""
        return HostClock(synchronised=True, max_error_ns=self.now().error_ns)


def apart(one: Instant, other: Instant) -> Offset:
    """Return how far one time is ahead of another that was read at the same moment."""
    return widened(Offset(one.at_ns - other.at_ns, one.error_ns), other.error_ns)
