"""The step itself, as it is carried out in a node: one adjtimex(2) that adds to the clock, atomically.

A relative step does not mind being late. What could go wrong is the rest of the world. Something else may have moved
the clock since it was looked at, or a late step and its repetition may both happen: so each step carries what the
node's clock is expected to say, and is not made when the clock is elsewhere. And a daemon that has noticed the offset
may be slewing it away, by up to 83 ms in each second: so what was slewed since then is taken off the step.
"""

from clockstep.errors import NotSteppedError
from clockstep.kernel.timex import pack_step
from clockstep.ports import Output
from clockstep.units import SECOND_NS

WINDOW_NS = 5 * SECOND_NS
"""How far from where it is expected a clock may be and still be stepped; also how long a step may take to begin."""

DONE = 0
UNAVAILABLE = 69
ELSEWHERE = 75
REFUSED = 77
"""Exit codes of the scripts, after sysexits.h: no tool for it; the clock is elsewhere; adjtimex said no."""

PERL_NUMBER = r"""open my $self, "<", "/proc/self/exe" or exit 69;
read $self, my $elf, 20;
my ($class, $order, $machine) = unpack("x4 C C x12 v", $elf);
my $number = {62 => %d, 183 => %d}->{$machine};
exit 69 unless $number && $class == 2 && $order == 1;
"""
"""Perl has no adjtimex(2), only the numbers of system calls: its own ELF header says whether x86_64's (machine 62) or
aarch64's (183) is the one, without a module."""

PERL_STEP = (
    PERL_NUMBER % (159, 171)
    + r"""sub adjtimex { return 1 if syscall($number, $_[0]) >= 0; print STDERR "adjtimex: $!\n"; 0 }
sub step {
    my ($wanted, $at_s, $at_ns, $window) = @_;
    my $now = "\0" x 208;
    adjtimex($now) or return 77;
    my ($status, $s, $ns, $tick) = unpack("x40 l x28 q3", $now);
    $ns *= 1000 unless $status & 0x2000;
    my $elapsed = ($s - $at_s) * 1000000000 + $ns - $at_ns;
    return 75 if abs($elapsed) > $window;
    my $step = pack("H*", $wanted);
    my ($by_s, $by_ns) = unpack("x72 q2", $step);
    $by_ns -= int($elapsed * ($tick - 10000) / $tick);
    if ($by_ns < 0) { $by_s -= 1; $by_ns += 1000000000 }
    if ($by_ns >= 1000000000) { $by_s += 1; $by_ns -= 1000000000 }
    substr($step, 72, 16) = pack("q2", $by_s, $by_ns);
    adjtimex($step) or return 77;
    print "$by_s $by_ns\n";
    return 0;
}
"""
)
PERL = PERL_STEP + "exit step(@ARGV);"

PYTHON_STEP = r"""import sys
try:
    import ctypes, struct
    call = ctypes.CDLL(None, use_errno=True).adjtimex
except (ImportError, OSError, AttributeError):
    sys.exit(69)
if ctypes.sizeof(ctypes.c_long) != 8 or sys.byteorder != "little":
    sys.exit(69)
def adjtimex(packed):
    if call(packed) >= 0:
        return True
    sys.stderr.write("adjtimex: errno %d\n" % ctypes.get_errno())
    return False
def step(wanted, at_s, at_ns, window):
    now = ctypes.create_string_buffer(208)
    if not adjtimex(now):
        return 77
    status, = struct.unpack_from("i", now, 40)
    s, ns, tick = struct.unpack_from("3q", now, 72)
    elapsed = (s - int(at_s)) * 10**9 + (ns if status & 0x2000 else ns * 1000) - int(at_ns)
    if abs(elapsed) > int(window):
        return 75
    step = ctypes.create_string_buffer(bytes.fromhex(wanted), 208)
    by_s, by_ns = struct.unpack_from("2q", step, 72)
    by_ns -= elapsed * (tick - 10000) // tick
    by_s, by_ns = by_s + by_ns // 10**9, by_ns % 10**9
    struct.pack_into("2q", step, 72, by_s, by_ns)
    if not adjtimex(step):
        return 77
    print(by_s, by_ns)
    return 0
"""
PYTHON = PYTHON_STEP + "sys.exit(step(*sys.argv[1:]))"

CHOICE = r"""perl=$1 python=$2; shift 2
command -v perl >/dev/null 2>&1 && exec perl -e "$perl" "$@"
command -v python3 >/dev/null 2>&1 && exec python3 -I -S -c "$python" "$@"
exit 69"""
"""perl first, because it starts faster and Debian's essential packages have it."""


def injection(by_ns: int, expected_ns: int) -> list[str]:
    """Return the command that steps a node's clock by `by_ns`, if that clock is about at `expected_ns` since 1970."""
    return ["/bin/sh", "-c", CHOICE, "clockstep", PERL, PYTHON, *asked(by_ns, expected_ns, WINDOW_NS)]


def by_perl(by_ns: int, expected_ns: int) -> list[str]:
    """Return the same without a shell, for a node that has perl: on a guest that is emulated a shell costs 50 ms."""
    return ["perl", "-e", PERL, *asked(by_ns, expected_ns, WINDOW_NS)]


def asked(by_ns: int, expected_ns: int, window_ns: int) -> list[str]:
    """Return what the scripts' `step` is told: what to add, where the clock is expected, and how far from there."""
    return [pack_step(by_ns).hex(), *(str(part) for part in divmod(expected_ns, SECOND_NS)), str(window_ns)]


def require_done(output: Output, hint: str) -> None:
    """Raise NotSteppedError unless the command made the step; `hint` is for a node that is not allowed to."""
    if output.code == ELSEWHERE:
        raise NotSteppedError("something else moved the clock between the look and the step")
    if output.code != DONE:
        text = f"the clock could not be stepped (exit code {output.code}): {output.err}"
        raise NotSteppedError(text, hint, lasting=True)
