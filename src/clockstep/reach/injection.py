"""The step itself, as it is carried out in a node: one adjtimex(2) that adds to the clock, atomically.

A relative step is immune to its own latency: it does not matter when it happens. What could go wrong is that it
happens although something else has moved the clock meanwhile, or that a late one and its repetition both happen. So
each carries the second at which the node's clock is expected to be, and does nothing when the clock is elsewhere.
"""

from clockstep.kernel.timex import pack_step
from clockstep.units import SECOND_NS

WINDOW_NS = 5 * SECOND_NS
"""How far from where it is expected a clock may be and still be stepped; also how long a step may take to begin."""

DONE = 0
UNAVAILABLE = 69
ELSEWHERE = 75
REFUSED = 77
"""Exit codes of the script, after sysexits.h: no tool for it; the clock is elsewhere; adjtimex said no."""

PERL = r"""use Config;
my ($timex, $at, $window) = @ARGV;
my $number = {x86_64 => 159, aarch64 => 171}->{(split /-/, $Config{archname})[0]};
exit 69 unless $number && length(pack("l!", 0)) == 8;
exit 75 if abs(time - $at) > $window;
my $packed = pack("H*", $timex);
exit 0 if syscall($number, $packed) >= 0;
print STDERR "adjtimex: $!\n";
exit 77;"""

PYTHON = r"""import sys, time
try:
    import ctypes
    adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
except (ImportError, OSError, AttributeError):
    sys.exit(69)
if ctypes.sizeof(ctypes.c_long) != 8 or sys.byteorder != "little":
    sys.exit(69)
if abs(time.time() - int(sys.argv[2])) > int(sys.argv[3]):
    sys.exit(75)
if adjtimex(ctypes.create_string_buffer(bytes.fromhex(sys.argv[1]))) < 0:
    import os
    sys.exit(print("adjtimex:", os.strerror(ctypes.get_errno()), file=sys.stderr) or 77)"""

CHOICE = r"""perl=$1 python=$2; shift 2
if command -v perl >/dev/null 2>&1; then perl -e "$perl" "$@"; code=$?; [ $code -eq 69 ] || exit $code; fi
if command -v python3 >/dev/null 2>&1; then exec python3 -I -S -c "$python" "$@"; fi
exit 69"""
"""perl first, because it starts faster and Debian's essential packages have it."""


def injection(by_ns: int, expected_ns: int) -> list[str]:
    """Return the command that steps a node's clock by `by_ns`, if that clock is about at `expected_ns` since 1970."""
    timing = [str(expected_ns // SECOND_NS), str(WINDOW_NS // SECOND_NS)]
    return ["/bin/sh", "-c", CHOICE, "clockstep", PERL, PYTHON, pack_step(by_ns).hex(), *timing]
