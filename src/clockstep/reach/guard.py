"""The guard: a small process that is in a node before a snapshot is taken, and is therefore in the snapshot.

After a revert it runs already, so it steps the clock at once, where a program would have to be started first. It waits
for lines in a fifo, and ends when its lease of monotonic seconds is over; the snapshot keeps what is left of that.
What it writes when it is ready is its process id and until which second of the uptime its lease runs.
"""

from collections.abc import Callable

from clockstep.errors import ReachError
from clockstep.ports import PLATFORM_PYTHON, Clock, Reach
from clockstep.reach.injection import PERL_STEP, PYTHON_STEP, step_words
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

PERL = (
    PERL_STEP
    + r"""
my ($lease, $till, $fifo) = @ARGV;
$SIG{ALRM} = sub {
    my @own = stat STDIN;
    my @there = stat $fifo;
    unlink $fifo, "$fifo.ready" if @there && $own[1] == $there[1];
    exit;
};
alarm $lease;
syswrite STDOUT, "$$ $till\n";
open STDOUT, ">", "/dev/null";
my $heard = "";
while (sysread STDIN, $heard, 4096, length $heard) {
    while ($heard =~ s/^(.*)\n//) {
        exit if $1 eq "end";
        step(split " ", $1);
    }
}"""
)
PYTHON = (
    PYTHON_STEP
    + r"""
import os, signal
lease, till, fifo = sys.argv[1:]
def over(number, frame):
    try:
        if os.fstat(0).st_ino == os.stat(fifo).st_ino:
            os.unlink(fifo)
            os.unlink(fifo + ".ready")
    finally:
        os._exit(0)
signal.signal(signal.SIGALRM, over)
signal.alarm(int(lease))
os.write(1, b"%d %s\n" % (os.getpid(), till.encode()))
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
for line in open(0, "rb", 0):
    if line == b"end\n":
        break
    step(*line.decode().split())"""
)
START = r"""perl=$1 python=$2 lease=$3 least=$4 fifo=$5
umask 077
read -r up rest </proc/uptime && up=${up%%.*} || exit 69
alive() {
    while read -r line || [ -n "$line" ]; do case $line in *"$fifo"*) return 0;; esac; done <"/proc/$1/cmdline"
    return 1
}
if [ -p "$fifo" ] && read -r pid till <"$fifo.ready" && alive "$pid"; then
    [ $((till - up)) -lt "$least" ] || exit 0
    echo end 1<>"$fifo"
fi
none() { rm -f "$fifo" "$fifo.ready"; exit 69; }
if command -v perl >/dev/null 2>&1; then set -- perl -e "$perl"
elif command -v python3 >/dev/null 2>&1; then set -- python3 -I -S -c "$python"
elif [ -x ENTERPRISE ]; then set -- ENTERPRISE -I -S -c "$python"
else none; fi
mkdir -p "${fifo%/*}" && rm -f "$fifo" "$fifo.ready" && mkfifo "$fifo" || exit 69
"$@" "$lease" $((up + lease)) "$fifo" <>"$fifo" >"$fifo.ready" 2>/dev/null &
tries=0
until [ -s "$fifo.ready" ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || exit 69
    kill -0 $! 2>/dev/null || none
    sleep 0.01
done""".replace("ENTERPRISE", PLATFORM_PYTHON)
"""The fifo is opened for both directions, so that it never ends and opening it never waits (fifo(7)). There is none
without a guard that reads it, since whoever steps would wait for one."""
SEND = r"""[ -p "$1" ] && printf '%s\n' "$2" 1<>"$1" """

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

    def __init__(self, send: Send, glance: Callable[[], int], clock: Clock) -> None:
        self._send = send
        self._glance = glance
        self._clock = clock
        self._unused = True

    def steps(self, by_ns: int, token: str) -> bool:
        """Have the guard step the clock, and return whether it seems to have done so. It does not answer: what became
        of the token has to be asked for."""
        if not self._unused or abs(by_ns) < LEAST_NS:
            return False
        self._unused = False
        sent_ns = self._clock.monotonic_ns()
        if not self._send(" ".join(step_words(token, by_ns, self._clock.realtime_ns() - by_ns, WINDOW_NS))):
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
