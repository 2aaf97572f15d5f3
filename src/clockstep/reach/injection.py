"""The step itself, as it is carried out in a node: one adjtimex(2) that adds to the clock, atomically, and once.

Every step has a token, and the node remembers in its /run, under a lock, which tokens were begun and what was added:
a repetition, by whatever way and however late the first one comes, adds nothing and says what became of it. To ask for
a token that the node does not know closes it, so that whoever asks knows from then on. The memory is gone at boot, and
goes back with the clock when the node is reverted.

A relative step does not mind being late. But something else may have moved the clock since it was looked at: so each
step also carries what the node's clock is expected to say, and is not made when the clock is elsewhere. And a daemon
that has noticed the offset may be slewing it away, by up to 83 ms in each second: so what was slewed since then is
taken off the step, and the slewing is ended.
"""

import re
from pathlib import Path

from clockstep.core.foreign import bounded, understood
from clockstep.errors import NotSteppedError, ReachError
from clockstep.ports import PLATFORM_PYTHON, Clock, Output
from clockstep.units import SECOND_NS

MEMORY = "/run/clockstep/steps"
"""Where a node remembers its steps; a line for each thing that became of one."""

WINDOW_NS = 5 * SECOND_NS
"""How far from where it is expected a clock may be and still be stepped; also how long a step may take to begin."""

DONE = 0
UNAVAILABLE = 69
ELSEWHERE = 75
KNOWN = 76
REFUSED = 77
"""Exit codes of the scripts, after sysexits.h: no tool for it; the clock is elsewhere; the token is known already, or
was asked for; adjtimex or the memory said no."""

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
sub remember {
    my ($memory, $line) = @_;
    my $written = syswrite $memory, "\n$line\n";
    return 1 if defined $written && $written == length($line) + 2;
    print STDERR "a step cannot be remembered: $!\n";
    0
}
sub opened {
    my ($path) = @_;
    umask 077;
    mkdir substr $path, 0, rindex $path, "/";
    if (!open my $memory, "+>>", $path) { print STDERR "$path: $!\n"; return (0, 77) }
    else {
        for (1 .. 100) {
            return $memory if flock $memory, 6;
            select undef, undef, undef, 0.01;
        }
    }
    return (0, 75);
}
sub step {
    my ($path, $token, $by_s, $by_ns, $at_s, $at_ns, $window) = @_;
    my ($memory, $why) = opened($path);
    return $why unless $memory;
    sysseek $memory, 0, 0;
    sysread $memory, my $known, 1 << 17;
    if (my @fate = $known =~ /^$token (.+)$/mg) { print "$fate[-1]\n"; return 76 }
    if (length $known > 1 << 16) { truncate $memory, 0; syswrite $memory, substr $known, -4096 }
    if (!defined $by_s) { remember($memory, "$token closed") or return 77; print "closed\n"; return 76 }
    my $host = substr $token, 0, -16;
    return 75 if grep { $_ gt $token } $known =~ /^($host\w{16}) begun$/mg;
    my $now = "\0" x 208;
    adjtimex($now) or return 77;
    my ($status, $s, $ns, $tick) = unpack("x40 l x28 q3", $now);
    $ns *= 1000 unless $status & 0x2000;
    my $elapsed = ($s - $at_s) * 1000000000 + $ns - $at_ns;
    return 75 if abs($elapsed) > $window;
    my $modes = 0x2100;
    if (abs($tick - 10000) > 10) {
        $modes |= 0x4000;
        $by_ns -= int($elapsed * ($tick - 10000) / $tick);
    }
    if ($by_ns < 0) { $by_s -= 1; $by_ns += 1000000000 }
    if ($by_ns >= 1000000000) { $by_s += 1; $by_ns -= 1000000000 }
    my $step = pack("L x68 q3 x112", $modes, $by_s, $by_ns, 10000);
    remember($memory, "$token begun") or return 77;
    if (!adjtimex($step)) { remember($memory, "$token closed"); return 77 }
    remember($memory, "$token done $by_s $by_ns");
    print "done $by_s $by_ns\n";
    return 0;
}
"""
)
PERL = PERL_STEP + "exit step(@ARGV);"

PYTHON_STEP = r"""import os, re, sys, time
try:
    import ctypes, fcntl, struct
    call = ctypes.CDLL(None, use_errno=True).adjtimex
except (ImportError, OSError, AttributeError):
    sys.exit(69)
if ctypes.sizeof(ctypes.c_long) != 8 or sys.byteorder != "little":
    sys.exit(69)
def adjtimex(packed):
    if call(packed) >= 0:
        return True
    sys.stderr.write("adjtimex: %s\n" % os.strerror(ctypes.get_errno()))
    return False
def remember(memory, line):
    line = ("\n%s\n" % line).encode()
    if os.write(memory, line) != len(line):
        raise OSError("a step cannot be remembered")
def opened(path):
    os.umask(0o77)
    if not os.path.isdir(os.path.dirname(path)):
        os.mkdir(os.path.dirname(path))
    memory = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    for _ in range(100):
        try:
            fcntl.flock(memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return memory
        except BlockingIOError:
            time.sleep(0.01)
    raise BlockingIOError
def step(path, *words):
    memory = None
    try:
        memory = opened(path)
        return carried_out(memory, *words)
    except BlockingIOError:
        return 75
    except OSError as error:
        sys.stderr.write("%s\n" % error)
        return 77
    finally:
        if memory is not None:
            os.close(memory)
def carried_out(memory, token, by_s=None, by_ns=0, at_s=0, at_ns=0, window=0):
    known = os.pread(memory, 1 << 17, 0).decode("ascii", "replace")
    fate = re.findall("^%s (.+)$" % token, known, re.M)
    if fate:
        print(fate[-1])
        return 76
    if len(known) > 1 << 16:
        os.ftruncate(memory, 0)
        os.write(memory, known[-4096:].encode())
    if by_s is None:
        remember(memory, token + " closed")
        print("closed")
        return 76
    if any(one > token for one in re.findall(r"^(%s\w{16}) begun$" % token[:-16], known, re.M)):
        return 75
    now = ctypes.create_string_buffer(208)
    if not adjtimex(now):
        return 77
    status, = struct.unpack_from("i", now, 40)
    s, ns, tick = struct.unpack_from("3q", now, 72)
    elapsed = (s - int(at_s)) * 10**9 + (ns if status & 0x2000 else ns * 1000) - int(at_ns)
    if abs(elapsed) > int(window):
        return 75
    by_s, by_ns, modes = int(by_s), int(by_ns), 0x2100
    if abs(tick - 10000) > 10:
        modes |= 0x4000
        by_ns -= elapsed * (tick - 10000) // tick
    by_s, by_ns = by_s + by_ns // 10**9, by_ns % 10**9
    packed = ctypes.create_string_buffer(struct.pack("I68x3q112x", modes, by_s, by_ns, 10000), 208)
    remember(memory, token + " begun")
    if not adjtimex(packed):
        remember(memory, token + " closed")
        return 77
    done = "done %d %d" % (by_s, by_ns)
    try:
        remember(memory, token + " " + done)
    except OSError:
        pass
    print(done)
    return 0
"""
PYTHON = PYTHON_STEP + "sys.exit(step(*sys.argv[1:]))"

CHOICE = r"""perl=$1 python=$2; shift 2
command -v perl >/dev/null 2>&1 && exec perl -e "$perl" "$@"
for tool in python3 ENTERPRISE; do
    command -v $tool >/dev/null 2>&1 && exec $tool -I -S -c "$python" "$@"
done
exit 69""".replace("ENTERPRISE", PLATFORM_PYTHON)
"""perl first, because it starts faster and Debian's essential packages have it."""

FATE = re.compile(r"done (-?\d{1,11}) (\d{1,9})|begun|closed", re.ASCII)


def new_token(clock: Clock) -> str:
    """Return what a step is known by: this boot of this machine, and then the monotonic clock, so that a node can tell
    which of two steps was asked for later."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")[:12]
    return f"{boot}{clock.monotonic_ns():016x}"


def by_shell(words: list[str]) -> list[str]:
    """Return the command that carries out what these words say, by whatever the node has for it."""
    return ["/bin/sh", "-c", CHOICE, "clockstep", PERL, PYTHON, *words]


def by_perl(words: list[str]) -> list[str]:
    """Return the same without a shell, for a node that has perl: on a guest that is emulated a shell costs 50 ms."""
    return ["perl", "-e", PERL, *words]


def step_words(token: str, by_ns: int, expected_ns: int, window_ns: int = WINDOW_NS) -> list[str]:
    """Return what the scripts' `step` is told to add `by_ns` to a clock that says `expected_ns` since 1970.

    The second half of a negative step is positive nanoseconds, too (timekeeping_validate_timex in the kernel).
    """
    return [
        MEMORY,
        token,
        *(str(part) for ns in (by_ns, expected_ns) for part in divmod(ns, SECOND_NS)),
        str(window_ns),
    ]


def fate_words(token: str) -> list[str]:
    """Return what the scripts' `step` is told to say what became of a step, and to close one that was not begun."""
    return [MEMORY, token]


def added(output: Output, hint: str) -> int | None:
    """Return what the script has added to the clock, now or under the same token before: 0 where the token is closed,
    None where the step was begun and it is not known whether it was made.

    Raises NotSteppedError where nothing was added now; `hint` is for a node that is not allowed to. Any other code, as
    of a script that was killed, leaves open what was done.
    """
    if output.code == ELSEWHERE:
        raise NotSteppedError("something else moved the clock between the look and the step, or is moving it")
    if output.code == REFUSED:
        raise NotSteppedError(f"the clock could not be stepped: {output.err}", hint, lasting=True)
    fate = FATE.fullmatch(output.out.strip()) if output.code in {DONE, KNOWN} else None
    if fate is None:
        said = f"exit code {output.code}: {output.out[:80]!r} {output.err[:200]}"
        raise ReachError(f"asked for a step, the node answers {said}", "look into the guest")
    if fate[1]:
        added_ns = understood(_nanoseconds, fate[0])
        if added_ns is None:
            raise ReachError(f"the node says that it has stepped by {fate[1]} s", "look into the guest")
        return added_ns
    return 0 if fate[0] == "closed" else None


def _nanoseconds(done: str) -> int:
    _, seconds, nanoseconds = done.split()
    return bounded(int(seconds) * SECOND_NS + int(nanoseconds))
