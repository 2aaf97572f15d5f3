"""The system's own OpenSSH client as a way to a node: it obeys the user's configuration, jump hosts and known hosts.

One connection with one shell is kept open, so that a look costs a round trip instead of a login. Its clock is read by
a small program that runs there meanwhile: starting a process for each look would take longer than the round trip.
"""

import re
import shlex
import sys
import threading
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from clockstep.errors import NotSteppedError, ReachError, cut
from clockstep.guest import program
from clockstep.model import Reading
from clockstep.ports import Clock, Login, Output, Reference
from clockstep.reach.absolute import AbsoluteSet
from clockstep.reach.guard import FIFO, SEND, Guard
from clockstep.reach.injection import UNAVAILABLE, WINDOW_NS, added, by_shell, fate_words, step_words
from clockstep.reach.logins import SSH, configured
from clockstep.reach.sampling import sampled
from clockstep.reach.shell import Shell, ShellEndedError
from clockstep.units import MILLISECOND_NS, SECOND_NS

NOT_ALLOWED = "root there needs CAP_SYS_TIME, which containers lack, and a /run that can be written"
CONNECT_NS = 10 * SECOND_NS
READ_NS = 2 * SECOND_NS
STALE_NS = SECOND_NS
PROBE_NS = SECOND_NS // 2
"""After how long without a word an open connection is first tried, and how long that may take: it outlives a pause of
the node, but not a revert, which nobody tells this side of."""
RETRY_NS = 250 * MILLISECOND_NS
"""How long after a failure the next connection is tried."""

OPTIONS = """
BatchMode=yes ConnectTimeout=10 LogLevel=ERROR ControlMaster=no ControlPath=none RequestTTY=no RemoteCommand=none
PermitLocalCommand=no ClearAllForwardings=yes ForwardAgent=no ForwardX11=no
""".split()
"""What the user's configuration may not decide (ssh_config(5)): nothing is asked, and the connection is nobody else's.
A shared one would outlive a revert on this side only. Host keys are left to the configuration."""

DIAL = r"""import errno, os, select, socket, sys, time
host, port = sys.argv[1:]
try:
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
except OSError as error:
    sys.exit(f"Could not resolve hostname {host}: {error.strerror}")
until, pending, why = time.monotonic() + 4.5, [], errno.ETIMEDOUT
while time.monotonic() < until:
    for family, kind, protocol, _, address in found:
        line = socket.socket(family, kind, protocol)
        line.setblocking(False)
        line.connect_ex(address)
        pending.append(line)
    again = time.monotonic() + 0.25
    while (left := again - time.monotonic()) > 0 and pending:
        for line in select.select([], pending, [], left)[1]:
            why = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not why:
                line.setblocking(True)
                socket.send_fds(socket.socket(fileno=1), [b"0"], [line.fileno()])
                sys.exit()
            pending.remove(line)
    if why == errno.ECONNREFUSED and not pending:
        break
    time.sleep(max(0, again - time.monotonic()))
sys.exit(f"connect to host {host} port {port}: {os.strerror(why)}")"""
"""Makes the connection for ssh (ProxyUseFdpass in ssh_config(5)). A node that does not answer yet, as after a revert,
is asked four times a second, and whichever is answered first counts: the kernel alone asks after 1, 3 and 7 s. It ends
after what a spanning tree takes, and before the deadline of a look at a node, so that it is known why."""
PLAIN_HOST = re.compile(r"[A-Za-z0-9._:%-]+", re.ASCII)
"""What may stand in a command line of the shell's: ssh puts the host's name there as it is."""
DIALLER = f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(DIAL)}".replace("%", "%%")
DIALLED = ["-o", f"ProxyCommand={DIALLER} %h %p", "-o", "ProxyUseFdpass=yes"]
UNDIALLED = re.compile(r"mm_receive_fd: \S+ .*|proxy dialer did not pass back a connection")
"""What ssh says besides of a connection that was not made."""

HINTS = {
    "Host key verification failed": "log in once by hand and compare its host key; ssh-keygen -R removes an old one",
    "Permission denied": "clockstep cannot type: give ssh a key without passphrase, or one that ssh-agent holds",
    "Could not resolve hostname": "name the file that has this Host with --ssh-config, or add a guest agent",
    "onfiguration option": "correct the ssh configuration",
    "Can't open user config file": "correct the name after --ssh-config",
    "Bad owner or permissions": "correct the permissions of the ssh configuration",
}
"""By what ssh says; none of these passes by itself."""

PERL = program("clock/clock.pl", X86_64=228, AARCH64=113)
"""By the numbers of clock_gettime(2)."""
CLOCK = program("clock/clock.sh", PERL=PERL, PYTHON=program("clock/clock.py"))
WHO = program("survey/who.sh")

ANSWER = re.compile(r"(\d{1,10})(?: (\d{9})| ?%?N?)", re.ASCII)


class SshReach:
    """A node that ssh knows as `host`; the connection is made when it is first needed, and again after an error.

    `uuid` is the machine that must be there, so that no other is taken for it; `command` starts the client, and a login
    may take `connect_ns`. After `stale_ns` without a word it is tried first whether the connection lives.
    """

    source = "ssh"

    def __init__(
        self,
        login: Login,
        clock: Clock,
        reference: Reference,
        uuid: str = "",
        command: Sequence[str] = SSH,
        connect_ns: int = CONNECT_NS,
        stale_ns: int = STALE_NS,
    ) -> None:
        self._command = command
        self._login = login
        self._argv: list[str] = []
        self._again = login.again
        self._clock = clock
        self._reference = reference
        self._connect_ns, self._stale_ns = connect_ns, stale_ns
        self._uuid, self._sure = uuid, login.sure
        self._shell: Shell | None = None
        self._as_root: list[str] = []
        self._unprivileged = ""
        self._resolution_ns = 0
        self._set = AbsoluteSet(self._set_date, clock, reference)
        self._guard = Guard(self._tell_guard, lambda: self.clock().offset.value_ns, clock, reference)
        self._not_before_ns = self._heard_ns = 0
        self._closed = False
        self._using = threading.Lock()

    def clock(self, within_ns: int | None = None) -> Reading:
        """Measure the node's clock over the open connection."""
        with self._using:
            self._drop_if_dead()
            shell = self._connected()
            try:
                shell.enter(CLOCK, self._clock.monotonic_ns() + self._connect_ns)
                reading = self._sampled(shell, within_ns)
            except ReachError as error:
                raise self._failed(error) from error
            self._heard_ns = self._clock.monotonic_ns()
            return reading

    def _sampled(self, shell: Shell, within_ns: int | None) -> Reading:
        while True:
            resolution_ns = self._resolution_ns
            read = partial(self._read, shell)
            reading = sampled(self.source, read, self._clock, self._reference, resolution_ns, within_ns)
            if resolution_ns == self._resolution_ns:
                return reading

    def step(self, by_ns: int, token: str) -> int | None:
        """Step the node's clock by `by_ns`, relative to where it is, as root."""
        with self._using:
            self._connected()
        if self._unprivileged:
            text = f"only root may step the clock, and sudo is not allowed: {self._unprivileged}"
            raise NotSteppedError(text, "allow sudo without a password there, or log in as root", lasting=True)
        if self._guard.steps(by_ns, token):
            return None
        output = self._carried_out(step_words(token, by_ns, self._reference.now().at_ns - by_ns))
        return self._set(by_ns, token) if output.code == UNAVAILABLE else added(output, NOT_ALLOWED)

    def fate(self, token: str) -> int | None:
        """Ask the node what became of a step; of a set only the clock tells, once it cannot come any more."""
        if self._set.knows(token):
            return None
        output = self._carried_out(fate_words(token))
        return None if output.code == UNAVAILABLE else added(output, NOT_ALLOWED)

    def run(self, argv: Sequence[str], stdin: bytes, deadline_ns: int) -> Output:
        """Run a command, by sudo where the login is not root's and sudo asks no password."""
        with self._using:
            shell = self._connected()
            try:
                output = shell.run([*self._as_root, *argv], stdin, deadline_ns)
            except ReachError as error:
                raise self._failed(error) from error
            self._heard_ns = self._clock.monotonic_ns()
            return output

    def close(self) -> None:
        """End the connection for good, also under another thread that waits for an answer."""
        self._closed = True
        if shell := self._shell:
            shell.kill()
        if self._using.acquire(blocking=False):
            self._drop()
            self._using.release()

    def _carried_out(self, words: list[str]) -> Output:
        return self.run(by_shell(words), b"", self._clock.monotonic_ns() + WINDOW_NS + SECOND_NS)

    def _tell_guard(self, line: str) -> bool:
        deadline = self._clock.monotonic_ns() + SECOND_NS
        return self.run(["/bin/sh", "-c", SEND, "clockstep", FIFO, line], b"", deadline).code == 0

    def _set_date(self, seconds: int, nanoseconds: int) -> None:
        """Set the node's clock by date(1), at the next whole second: a busybox's takes no others."""
        self._clock.sleep_ns(SECOND_NS - nanoseconds)
        output = self.run(["date", "-u", "-s", f"@{seconds + 1}"], b"", self._clock.monotonic_ns() + READ_NS)
        if output.code:
            text = f"the clock could not be set (exit code {output.code}): {output.err}"
            raise NotSteppedError(text, f"install perl or python3 in the node; {NOT_ALLOWED}", lasting=True)

    def _drop_if_dead(self) -> None:
        """Drop a connection that was idle, and that does not answer soon: a new one is made at once then."""
        shell, now_ns = self._shell, self._clock.monotonic_ns()
        if shell is None or now_ns - self._heard_ns < self._stale_ns:
            return
        try:
            if not shell.entered:  # it takes a slow node longer to start the program than to answer
                shell.enter(CLOCK, now_ns + READ_NS)
            self._read(shell, PROBE_NS)
        except ReachError:
            self._drop()

    def _read(self, shell: Shell, within_ns: int = READ_NS) -> tuple[int, int]:
        answer = shell.ask(b"t\n", self._clock.monotonic_ns() + within_ns)
        told = ANSWER.fullmatch(answer)
        if told is None:
            text = f"asked for its clock, the node answers {answer[:80]!r}"
            raise ReachError(text, "install perl or python3 in the node")
        if told[2] is None:
            self._resolution_ns = SECOND_NS
        return int(told[1]), int(told[2] or 0)

    def _connected(self) -> Shell:
        if self._shell is None and not self._closed:
            self._clock.sleep_ns(max(0, self._not_before_ns - self._clock.monotonic_ns()))
            self._connect()
        if self._closed or self._shell is None:
            self._drop()
            raise ReachError("the connection was closed", lasting=True)
        return self._shell

    def _connect(self) -> None:
        """Log in; if the kept login leads nowhere, ask for a new one and retry once."""
        try:
            self._argv = self._argv or self._arguments(self._login)
            self._shell = Shell(self._argv, self._clock)
            self._recognise(self._shell)
        except ReachError as error:
            failed, again = self._failed(error), self._again
            if again is None or not isinstance(error, ShellEndedError):
                raise failed from error
            self._again = None
            self._login, self._argv = again(), []
            self._connect()

    def _arguments(self, login: Login) -> list[str]:
        options = [word for option in OPTIONS for word in ("-o", option)]
        dial = [] if is_proxied(login, self._command) else DIALLED
        return [*self._command, *dial, *login.arguments, *options, "--", login.host, "sh"]

    def _recognise(self, shell: Shell) -> None:
        """Learn who one is there. Raises ReachError where that is another machine than the one that is meant."""
        who = shell.run(["/bin/sh", "-c", WHO], b"", self._clock.monotonic_ns() + self._connect_ns)
        user, *rest = who.out.split() or [""]
        self._as_root = ["sudo", "-n"] if "sudo" in rest else []
        self._unprivileged = "" if user == "0" or self._as_root else who.err.strip() or "it did not say why"
        there = next((word for word in rest if word != "sudo"), "")
        known = same_machine(self._uuid, there)
        if self._uuid and known is None and not self._sure:
            text = "ssh reaches a machine that does not show its UUID, so it may be another one"
            raise ReachError(text, "if it is the intended one, confirm with --ssh-config or --reach ssh", lasting=True)
        if self._uuid and known is False:
            text = f"ssh reaches another machine: its UUID is {there[:40]}, and the domain's is {self._uuid}"
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


def is_proxied(login: Login, command: Sequence[str]) -> bool:
    """Whether ssh would reach a host by a jump host or another command, or does not say (`ssh -G`)."""
    said = dict(line.partition(" ")[::2] for line in configured(login, command))
    others = {"proxyjump", "proxycommand", "bindaddress", "bindinterface"} & said.keys()
    family, canonical = said.get("addressfamily", "any"), said.get("canonicalizehostname", "false")
    plain = PLAIN_HOST.fullmatch(said.get("hostname", "")) and family == "any" and canonical in {"false", "no"}
    return bool(others) or not plain


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
    words = " ".join(word for word in printable.split() if word.strip("@"))
    said = cut(UNDIALLED.sub("", words)) or "it ended without an error message"
    if error.answered:
        return ReachError(f"the connection broke: {said}")
    hint = next((hint for sign, hint in HINTS.items() if sign in said), "")
    return ReachError(f"ssh: {said.removeprefix('ssh: ')}", hint or "check that sshd runs there", lasting=bool(hint))
