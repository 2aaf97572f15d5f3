"""The system's own OpenSSH client as a way to a node: it obeys the user's configuration, jump hosts and known hosts.

One connection with one shell is kept open, so that a look costs a round trip instead of a login. Its clock is read by
a small program that runs there meanwhile: starting a process for each look would take longer than the round trip.
"""

import re
import threading
from collections.abc import Sequence
from uuid import UUID

from clockstep.errors import ReachError, cut
from clockstep.model import Reading
from clockstep.ports import Clock, Login, Output
from clockstep.reach.absolute import AbsoluteSet
from clockstep.reach.guard import FIFO, SEND, Guard
from clockstep.reach.injection import PERL_NUMBER, UNAVAILABLE, WINDOW_NS, injection, require_done
from clockstep.reach.logins import SSH
from clockstep.reach.sampling import sampled
from clockstep.reach.shell import Shell, ShellEndedError
from clockstep.units import MILLISECOND_NS, SECOND_NS

NOT_ALLOWED = "root there needs CAP_SYS_TIME, which containers lack"
CONNECT_NS = 10 * SECOND_NS
READ_NS = 2 * SECOND_NS
RETRY_NS = 250 * MILLISECOND_NS
"""How long after a failure the next connection is tried."""

OPTIONS = """
BatchMode=yes ConnectTimeout=10 LogLevel=ERROR ControlMaster=no ControlPath=none RequestTTY=no RemoteCommand=none
PermitLocalCommand=no ClearAllForwardings=yes ForwardAgent=no ForwardX11=no
""".split()
"""What the user's configuration may not decide (ssh_config(5)): nothing is asked, and the connection is nobody else's.
A shared one would outlive a revert on this side only. Host keys are left to the configuration."""

HINTS = {
    "Host key verification failed": "log in once by hand and compare its host key; ssh-keygen -R removes an old one",
    "Permission denied": "clockstep cannot type: give ssh a key without passphrase, or one that ssh-agent holds",
    "Could not resolve hostname": "name the file that has this Host with --ssh-config, or add a guest agent",
    "onfiguration option": "correct the ssh configuration",
    "Can't open user config file": "correct the name after --ssh-config",
    "Bad owner or permissions": "correct the permissions of the ssh configuration",
}
"""By what ssh says; none of these passes by itself."""

PERL = (
    PERL_NUMBER % (228, 113)
    + r"""my $now = "\0" x 16;
syswrite STDOUT, "$ARGV[0]\n";
while (sysread STDIN, my $asked, 1) {
    next if $asked eq "\n";
    last if $asked ne "t" || syscall($number, 0, $now) < 0;
    syswrite STDOUT, sprintf("%d %09d\n", unpack("q2", $now));
}"""
)
PYTHON = r"""import os, sys, time
os.write(1, (sys.argv[1] + "\n").encode())
while True:
    asked = os.read(0, 1)
    if asked == b"t":
        os.write(1, b"%d %09d\n" % divmod(time.time_ns(), 10**9))
    elif asked != b"\n":
        break"""
CLOCK = f"""perl -e '{PERL}' $mark 2>/dev/null || python3 -I -S -c '{PYTHON}' $mark 2>/dev/null || {{
echo $mark; while read -r asked && [ "$asked" = t ]; do date '+%s %N' || break; done; }}"""
"""Answers each `t` by clock_gettime(2), without a module that could be missing. `date` starts a process for each, and
busybox's may have no nanoseconds: then nothing it answers is taken."""

WHO = """id -u
if [ "$(id -u)" = 0 ]; then cat /sys/class/dmi/id/product_uuid 2>/dev/null; else
sudo -n true && { echo sudo; sudo -n cat /sys/class/dmi/id/product_uuid 2>/dev/null; }; fi
true"""
"""Who one is there, and which machine that is: only root may read the UUID that the firmware has of the hypervisor."""

ANSWER = re.compile(r"(\d{1,10}) (\d{9})", re.ASCII)


class SshReach:
    """A node that ssh knows as `host`; the connection is made when it is first needed, and again after an error.

    `uuid` is the machine that must be there, so that no other is taken for it; `command` starts the client, and a login
    may take `connect_ns`.
    """

    source = "ssh"

    def __init__(
        self, login: Login, clock: Clock, uuid: str = "", command: Sequence[str] = SSH, connect_ns: int = CONNECT_NS
    ) -> None:
        options = [word for option in OPTIONS for word in ("-o", option)]
        self._argv = [*command, *login.arguments, *options, "--", login.host, "sh"]
        self._clock = clock
        self._connect_ns = connect_ns
        self._uuid, self._sure = uuid, login.sure
        self._shell: Shell | None = None
        self._as_root: list[str] = []
        self._unprivileged = ""
        self._set = AbsoluteSet(self._set_date, clock)
        self._guard = Guard(self._tell_guard, lambda: self.clock().offset.value_ns, clock)
        self._not_before_ns = 0
        self._closed = False
        self._using = threading.Lock()

    def clock(self, within_ns: int | None = None) -> Reading:
        """Measure the node's clock over the open connection."""
        with self._using:
            shell = self._connected()
            try:
                shell.enter(CLOCK, self._clock.monotonic_ns() + self._connect_ns)
                return sampled(self.source, lambda: self._read(shell), self._clock, 0, within_ns)
            except ReachError as error:
                raise self._failed(error) from error

    def adjust(self, by_ns: int) -> None:
        """Step the node's clock by `by_ns`, relative to where it is, as root."""
        with self._using:
            self._connected()
        if self._unprivileged:
            text = f"the clock is root's to step, and sudo does not let us: {self._unprivileged}"
            raise ReachError(text, "allow sudo without a password there, or log in as root", lasting=True)
        if self._guard.steps(by_ns):
            return
        deadline = self._clock.monotonic_ns() + WINDOW_NS + SECOND_NS
        output = self.run(injection(by_ns, self._clock.realtime_ns() - by_ns), b"", deadline)
        if output.code == UNAVAILABLE:
            self._set(by_ns)
        else:
            require_done(output, NOT_ALLOWED)

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a command, by sudo where the login is not root's and sudo asks no password."""
        with self._using:
            shell = self._connected()
            try:
                return shell.run([*self._as_root, *argv], stdin, deadline_ns)
            except ReachError as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """End the connection for good, also under another thread that waits for an answer."""
        self._closed = True
        if shell := self._shell:
            shell.kill()
        if self._using.acquire(blocking=False):
            self._drop()
            self._using.release()

    def _tell_guard(self, line: str) -> bool:
        deadline = self._clock.monotonic_ns() + SECOND_NS
        return self.run(["/bin/sh", "-c", SEND, "clockstep", FIFO, line], b"", deadline).code == 0

    def _set_date(self, seconds: int, nanoseconds: int) -> None:
        """Set the node's clock by date(1), at the next whole second: a busybox's takes no others."""
        self._clock.sleep_ns(SECOND_NS - nanoseconds)
        output = self.run(["date", "-u", "-s", f"@{seconds + 1}"], b"", self._clock.monotonic_ns() + READ_NS)
        require_done(output, f"install perl or python3 in the node; {NOT_ALLOWED}")

    def _read(self, shell: Shell) -> tuple[int, int]:
        answer = shell.ask(b"t\n", self._clock.monotonic_ns() + READ_NS)
        told = ANSWER.fullmatch(answer)
        if told is None:
            text = f"asked for its clock, the node answers {answer[:80]!r}"
            raise ReachError(text, "install perl or python3 in the node")
        return int(told[1]), int(told[2])

    def _connected(self) -> Shell:
        if self._shell is None and not self._closed:
            self._clock.sleep_ns(max(0, self._not_before_ns - self._clock.monotonic_ns()))
            self._shell = Shell(self._argv, self._clock)
            try:
                self._recognise(self._shell)
            except ReachError as error:
                raise self._failed(error) from error
        if self._closed or self._shell is None:
            self._drop()
            raise ReachError("the connection was closed", lasting=True)
        return self._shell

    def _recognise(self, shell: Shell) -> None:
        """Learn who one is there. Raises ReachError where that is another machine than the one that is meant."""
        who = shell.run(["/bin/sh", "-c", WHO], b"", self._clock.monotonic_ns() + self._connect_ns)
        user, *rest = who.out.split() or [""]
        self._as_root = ["sudo", "-n"] if "sudo" in rest else []
        self._unprivileged = "" if user == "0" or self._as_root else who.err.strip() or "it did not say why"
        there = next((word for word in rest if word != "sudo"), "")
        known = same_machine(self._uuid, there)
        if self._uuid and known is None and not self._sure:
            text = "ssh leads to a machine that does not show root's view of its UUID, so it may be another one"
            raise ReachError(text, "if it is the right one, say so with --ssh-config or --reach ssh", lasting=True)
        if self._uuid and known is False:
            text = f"ssh leads to another machine: its UUID is {there[:40]}, and the domain's is {self._uuid}"
            raise ReachError(text, "correct the host's address or name in the ssh configuration", lasting=True)

    def _drop(self) -> None:
        if self._shell:
            self._shell.end()
        self._shell = None

    def _failed(self, error: ReachError) -> ReachError:
        """Drop a connection whose state nobody knows, and return what is to be said of it."""
        self._drop()
        self._not_before_ns = self._clock.monotonic_ns() + RETRY_NS
        return explained(error) if isinstance(error, ShellEndedError) else error


def same_machine(uuid: str, firmware: str) -> bool | None:
    """Whether a domain's UUID is the one that a guest's firmware shows; None where it shows none.

    Some firmware swaps the bytes of its first three fields (SMBIOS specification, section 7.2.1).
    """
    try:
        meant, there = UUID(uuid), UUID(firmware)
    except ValueError:
        return None
    return there.bytes in {meant.bytes, meant.bytes_le}


def explained(error: ShellEndedError) -> ReachError:
    """Return ssh's own last words as one line, with what to do about them."""
    printable = "".join(letter if letter.isprintable() else " " for letter in error.said)
    said = cut(" ".join(word for word in printable.split() if word.strip("@"))) or "it ended without a word"
    if error.answered:
        return ReachError(f"the connection broke: {said}")
    hint = next((hint for sign, hint in HINTS.items() if sign in said), "")
    return ReachError(f"ssh: {said.removeprefix('ssh: ')}", hint or "see that sshd runs there", lasting=bool(hint))
