"""The guard: a small process that is in a node before a snapshot is taken, and is therefore in the snapshot.

After a revert it runs already, so it steps the clock at once, where a program would have to be started first. It waits
for lines in a fifo, and ends when its lease of monotonic seconds is over; the snapshot keeps what is left of that.
What it writes when it is ready is its process id and until which second of the uptime its lease runs.
"""

from collections.abc import Callable

from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.ports import Clock, Reach, Reference
from clockstep.reach.injection import ADJTIMEX, step_words
from clockstep.units import MILLISECOND_NS, SECOND_NS

FIFO = "/run/clockstep/guard"
LEASE_S = 60
"""What `snapshot create` gives it."""
START_NS = 20 * SECOND_NS
"""Ten nodes that share two cores need more than five; one that is not ready before the pause is half-started in the
snapshot, and goes on starting after each revert, when the processor is needed most."""
WINDOW_NS = 2 * SECOND_NS
"""How long after it was sent a step may still be made; see WINDOW_NS in injection.py."""
GIVE_UP_NS = WINDOW_NS + 200 * MILLISECOND_NS
LEAST_NS = 100 * MILLISECOND_NS
"""That a clock was stepped by less than this cannot be told for sure from how it reads."""
POLL_NS, SLOWEST_POLL_NS = 10 * MILLISECOND_NS, 80 * MILLISECOND_NS
"""Each poll takes processor time from the guard, and from other nodes on a busy machine: fewer the longer it takes."""

PERL = program("guard/guard.pl", **ADJTIMEX)
PYTHON = program("guard/guard.py")
START = program("guard/start.sh")
SEND = program("guard/send.sh")

Send = Callable[[str], bool]
"""Writes a line into the fifo; whether there is one."""


def start(reach: Reach, deadline_ns: int, lease_s: int = LEASE_S, least_s: int = LEASE_S) -> bool:
    """Have a node have a guard, and wait until it listens; whether it does.

    One that is there stays if `least_s` seconds are left of its lease; otherwise a new one takes its place. A node
    without one is only slower, so nothing is raised.
    """
    command = ["/bin/sh", "-c", START, "clockstep", PERL, PYTHON, str(lease_s), str(least_s), FIFO]
    try:
        return reach.run(command, b"", deadline_ns).code == 0
    except ReachError:
        return False


class Guard:
    """A node's guard, if it has one, as its reach uses it: once, because a clock that is near needs no haste.

    `glance` says about how far off the clock is, in nanoseconds, by one question.
    """

    def __init__(self, send: Send, glance: Callable[[], int], clock: Clock, reference: Reference) -> None:
        self._send = send
        self._glance = glance
        self._clock = clock
        self._reference = reference
        self._unused = True

    def steps(self, by_ns: int, token: str) -> bool:
        """Have the guard step the clock, and return whether it seems to have done so. It does not answer: what became
        of the token has to be asked for."""
        if not self._unused or abs(by_ns) < LEAST_NS:
            return False
        self._unused = False
        sent_ns = self._clock.monotonic_ns()
        if not self._send(" ".join(step_words(token, by_ns, self._reference.now().at_ns - by_ns, WINDOW_NS))):
            return False
        poll_ns = POLL_NS
        while True:
            late = self._clock.monotonic_ns() - sent_ns > GIVE_UP_NS
            if self._moved(by_ns):
                return True
            if late:  # since before that look, so it saw all that the guard has done
                return False
            self._clock.sleep_ns(poll_ns)
            poll_ns = min(2 * poll_ns, SLOWEST_POLL_NS)

    def _moved(self, by_ns: int) -> bool:
        try:
            return abs(self._glance()) < abs(by_ns) // 2
        except ReachError:
            return False
